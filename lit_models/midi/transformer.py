"""Causal transformer with rotary positions: a teacher, which no RTNeural file can hold."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from .network import MelodyNetwork
from .stack import State


def rotate(x: Tensor, start: int = 0) -> Tensor:
    """Turn each pair of features by its position times a frequency (Su et al., arXiv:2104.09864, eq. 34).

    Args:
        x: queries or keys (B, H, T, D), D even.
        start: position of the first.
    """
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-torch.arange(half, device=x.device) / half)  # (D/2,)
    angle = torch.arange(start, start + x.shape[-2], device=x.device)[:, None] * frequency  # (T, D/2)
    a, b = x[..., :half], x[..., half:]  # each (B, H, T, D/2)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1).to(x.dtype)


class Block(nn.Module):
    """Pre-norm causal self-attention, then a perceptron.

    Args:
        hidden_size: token width D.
        num_heads: attention heads.
        dropout: rate behind attention and inside the perceptron.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm1, self.norm2 = nn.LayerNorm(hidden_size), nn.LayerNorm(hidden_size)
        self.qkv, self.out = nn.Linear(hidden_size, 3 * hidden_size), nn.Linear(hidden_size, hidden_size)
        self.mlp = nn.Sequential(
            nn.Linear(hidden_size, 4 * hidden_size), nn.GELU(), nn.Linear(4 * hidden_size, hidden_size)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map tokens (B, T, D), given keys and values (B, H, N, D/H) of the tokens before; gives back both."""
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # three of (B, H, T, D/H)
        start = 0 if past is None else past[0].shape[2]
        query, key = rotate(query, start), rotate(key, start)
        if past is not None:
            key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)  # (B, H, N + T, D/H)
        visible = torch.ones(length, start + length, dtype=torch.bool, device=x.device).tril(start)  # (T, N + T)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)  # (B, H, T, D/H)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))  # (B, T, D)
        return x + self.dropout(self.mlp(self.norm2(x))), (key, value)  # (B, T, D)


class CausalTransformer(nn.Module):
    """Dense, blocks, norm, dense; the same calls as ``LayerStack``.

    Args:
        input_size: columns F.
        output_size: numbers K, before the last activation.
        network: token width D, blocks, attention heads (D / heads is even), and dropout in the blocks.

    Raises:
        ValueError: the heads do not divide the width into even parts.
    """

    def __init__(self, input_size: int, output_size: int, network: MelodyNetwork) -> None:
        super().__init__()
        size, heads = network.hidden_size, network.num_heads
        if size % (2 * heads):
            raise ArgumentError(f"hidden_size={size} does not divide by 2 * num_heads={2 * heads}.")
        self.embed = nn.Linear(input_size, size)
        self.blocks = nn.ModuleList([Block(size, heads, network.dropout) for _ in range(network.num_layers)])
        self.norm = nn.LayerNorm(size)
        self.head = nn.Linear(size, output_size)

    def forward(self, x: Tensor, state: State | None = None, valid: Tensor | None = None) -> tuple[Tensor, State]:
        """Run over frames (B, T, F), given the state after those before; ``valid`` is of no use here."""
        x = self.embed(x)  # (B, T, D)
        after = []
        for block, past in zip(self.blocks, (None,) * len(self.blocks) if state is None else state, strict=True):
            x, now = block(x, past)  # (B, T, D)
            after.append(now)
        return self.head(self.norm(x)), tuple(after)  # (B, T, K)
