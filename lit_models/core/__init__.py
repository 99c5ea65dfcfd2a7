"""Core of every module: the base module, optimisers and schedules, checkpoints."""
