"""Expert plans from MiniGrid and BabyAI, and the real environments to try plans in."""
