"""Embeddings of continuous time."""

import math

import torch
from torch import Tensor, nn


class TimeEmbedding(nn.Module):
    """Sinusoids of a time in [0, 1], then a two-layer perceptron (Peebles & Xie, arXiv:2212.09748, section 3.2).

    Args:
        hidden_size: width D of the result.
        frequencies: number of sines and of cosines.
    """

    def __init__(self, hidden_size: int, frequencies: int = 64) -> None:
        super().__init__()
        omega = torch.exp(torch.linspace(0.0, -math.log(10_000.0), frequencies))
        self.register_buffer("omega", 1000.0 * omega, persistent=False)
        self.omega: Tensor
        self.mlp = nn.Sequential(
            nn.Linear(2 * frequencies, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Embed ``t`` (B,) in [0, 1] as (B, D)."""
        angle = t[:, None] * self.omega  # (B, F)
        return self.mlp(torch.cat([angle.sin(), angle.cos()], dim=-1))  # type: ignore[no-any-return]  # (B, D)
