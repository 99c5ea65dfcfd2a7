"""Denoising diffusion of trajectories and of motion."""
