"""Diffusion of states and actions, steered by costs."""
