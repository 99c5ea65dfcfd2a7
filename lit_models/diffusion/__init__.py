"""Gaussian diffusion with a noise level of its own for each token, for any network."""
