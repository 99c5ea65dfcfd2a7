"""Layer stack: a chain of plain torch layers over time, whose state can be carried from frame to frame.

Only layers that RTNeural's file format has, and no adds across layers: an exporter can read the chain off it.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .residual import ResidualBlock, convolve

State = tuple[Any, ...]
"""One entry a layer: (h, c) of an LSTM, h of a GRU, the past (B, (k - 1) d, C) of a convolution, a pair of those of a
residual block, else None."""

_PER_CHANNEL = nn.BatchNorm1d | nn.PReLU
"""Layers that take their channels in dimension 1."""


class LayerStack(nn.Module):
    """Layers one after another, on (B, T, F).

    Convolutions are causal: they see zeros before the first frame. Batch normalisation learns from frames that exist.

    Args:
        layers: recurrent layers with ``batch_first``; convolutions without padding.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, state: State | None = None, valid: Tensor | None = None) -> tuple[Tensor, State]:
        """Run over frames.

        Args:
            x: (B, T, F).
            state: what came out after the frames before; None before the first frame.
            valid: frames that exist (B, T) bool, for batch statistics in training; None for all.

        Returns:
            (B, T, K), and the state after the last frame.
        """
        before = (None,) * len(self.layers) if state is None else state
        after = []
        for layer, past in zip(self.layers, before, strict=True):
            x, now = _run(layer, x, past, valid)  # (B, T, C)
            after.append(now)
        return x, tuple(after)

    def chain(self, last: nn.Module) -> list[nn.Module]:
        """The layers, residual blocks and tied weights written out as plain ones, and the last activation."""
        parts = (layer.chain() if isinstance(layer, ResidualBlock) else [_plain(layer)] for layer in self.layers)
        return [*(layer for part in parts for layer in part), last]


@torch.no_grad()
def _plain(layer: Any) -> nn.Module:
    if hasattr(layer, "plain"):
        written: nn.Module = layer.plain()
        return written
    if not isinstance(layer, nn.Linear) or not is_parametrized(layer):
        return layer  # type: ignore[no-any-return]
    plain = nn.Linear(layer.in_features, layer.out_features)
    plain.weight.copy_(layer.weight)
    plain.bias.copy_(layer.bias)
    return plain


def _run(layer: nn.Module, x: Tensor, past: Any, valid: Tensor | None) -> tuple[Tensor, Any]:
    if isinstance(layer, nn.LSTM | nn.GRU | ResidualBlock):
        out, now = layer(x, past)  # (B, T, H)
        return out, now
    if isinstance(layer, nn.Conv1d):
        return convolve(layer, x, past)
    if isinstance(layer, nn.BatchNorm1d) and layer.training and valid is not None:
        scaled = torch.zeros_like(x)
        scaled[valid] = layer(x[valid]).to(x.dtype)
        return scaled, None
    if isinstance(layer, _PER_CHANNEL):
        return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]), None
    return layer(x), None
