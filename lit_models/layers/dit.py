"""The DiT block and its time embedding: attention and a perceptron in adaLN-zero (Peebles & Xie, arXiv:2212.09748)."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litmotif.errors import ArgumentError


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


class KeyValue(NamedTuple):
    """Keys and values of tokens that others attend to: each (B, heads, N, D / heads)."""

    key: Tensor
    value: Tensor


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm without its own gain, then ``x * (1 + scale) + shift``: x (B, L, D), shift and scale (B, 1, D)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


class DiTBlock(nn.Module):
    """Pre-norm attention and perceptron; shift, scale and gate come from the condition.

    Args:
        hidden_size: token width D.
        num_heads: attention heads; divides D.
        mlp_ratio: width of the perceptron over D.
        dropout: rate inside attention's output and the perceptron.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, hidden_size: int, num_heads: int, mlp_ratio: float = 4.0, dropout: float = 0.0) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ArgumentError(f"hidden_size={hidden_size} does not divide by num_heads={num_heads}.")
        self.num_heads = num_heads
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)
        self.out = nn.Linear(hidden_size, hidden_size)
        width = int(mlp_ratio * hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, width), nn.GELU(approximate="tanh"), nn.Linear(width, hidden_size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, modulation: Tensor, prefix: KeyValue | None = None, visible: Tensor | None = None
    ) -> tuple[Tensor, KeyValue]:
        """One block.

        Args:
            x: tokens (B, L, D).
            modulation: shift, scale, gate of attention, then of the perceptron (B, 6, D).
            prefix: keys and values of N other tokens that ``x`` attends to besides itself.
            visible: which of the N + L tokens may be attended to, bool, broadcasts to (B, heads, L, N + L).

        Returns:
            The tokens (B, L, D), and their own keys and values.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = modulation[:, :, None].unbind(1)  # six of (B, 1, D)
        mixed, own = self._attend(modulate(x, shift1, scale1), prefix, visible)  # (B, L, D)
        x = torch.addcmul(x, gate1, self.dropout(mixed))  # (B, L, D)
        update = self.mlp(modulate(x, shift2, scale2))  # (B, L, D)
        return torch.addcmul(x, gate2, self.dropout(update)), own  # (B, L, D)

    def _attend(self, x: Tensor, prefix: KeyValue | None, visible: Tensor | None) -> tuple[Tensor, KeyValue]:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, width // self.num_heads)  # (B, L, 3, H, D/H)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # three of (B, H, L, D/H)
        own = KeyValue(key, value)
        if prefix is not None:
            key = torch.cat([prefix.key, key], dim=2)  # (B, H, N + L, D/H)
            value = torch.cat([prefix.value, value], dim=2)  # (B, H, N + L, D/H)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)  # (B, H, L, D/H)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width)), own


class Modulations(nn.Module):
    """The adaLN parameters of all blocks and of the head from one condition, in one matrix product, zero at the start.

    Args:
        hidden_size: width D of condition and tokens.
        num_layers: blocks; each takes six vectors, the head takes two (shift, scale).
    """

    def __init__(self, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.linear = nn.Linear(hidden_size, (6 * num_layers + 2) * hidden_size)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> tuple[list[Tensor], Tensor]:
        """Map the condition (B, D) to one (B, 6, D) a block, and (B, 2, D) for the head."""
        batch, width = condition.shape
        vectors = self.linear(F.silu(condition)).view(batch, -1, width)  # (B, 6 * layers + 2, D)
        *blocks, head = vectors.split([6] * self.num_layers + [2], dim=1)
        return blocks, head
