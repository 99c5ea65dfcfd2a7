"""Geometry of moving bodies, batched and differentiable: rotations, frames, trees of bodies, steps over the ground."""
