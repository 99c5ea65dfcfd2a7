"""The embedded default: what a simulated mobile base did under analytic controllers, and tasks to try plans in."""
