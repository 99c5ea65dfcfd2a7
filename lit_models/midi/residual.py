"""Residual block of temporal convolutional networks, and the plain chain of layers that equals it."""

from typing import Any

import torch
from torch import Tensor, nn

Past = tuple[Tensor, Tensor]


class ResidualBlock(nn.Module):
    """relu(x + relu(conv(relu(conv(x))))), causal (Bai et al., arXiv:1803.01271, figure 1, without weight norm).

    RTNeural's file format has no add across layers. But a chain can carry x beside the convolutions: channels that a
    convolution only copies, and that a PReLU of slope 1 leaves alone. ``chain`` is that, exactly.

    Args:
        first: causal ``nn.Conv1d`` of C channels without padding, or what ``plain()`` writes out as one.
        second: another one of the same taps.
        dropout: rate behind each, in training.
    """

    def __init__(self, first: Any, second: Any, dropout: float) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Run over frames.

        Args:
            x: (B, T, C).
            past: what both convolutions saw before, (k - 1) * dilation frames each; None for zeros.

        Returns:
            (B, T, C), and what they will have seen.
        """
        before = (None, None) if past is None else past
        y, first = convolve(self.first, x, before[0])  # (B, T, C)
        y, second = convolve(self.second, self.dropout(y.relu()), before[1])  # (B, T, C)
        return (x + self.dropout(y.relu())).relu(), (first, second)

    @torch.no_grad()
    def chain(self) -> list[nn.Module]:
        """Two convolutions of 2 C channels, each with a PReLU, a sum, a ReLU: equal to ``forward`` in evaluation."""
        narrow = [layer if isinstance(layer, nn.Conv1d) else layer.plain() for layer in (self.first, self.second)]
        size, reach = narrow[0].in_channels, narrow[0].kernel_size[0]
        copy = torch.eye(size)
        rectified = nn.PReLU(2 * size)
        rectified.weight.copy_(torch.cat([torch.zeros(size), torch.ones(size)]))
        options: Any = {"kernel_size": reach, "dilation": narrow[0].dilation}
        first, second = nn.Conv1d(size, 2 * size, **options), nn.Conv1d(2 * size, 2 * size, groups=2, **options)
        for wide, layer in zip((first, second), narrow, strict=True):
            assert wide.bias is not None and layer.bias is not None  # noqa: S101, PT018  # for mypy
            wide.weight.zero_()
            wide.bias.zero_()
            wide.weight[:size].copy_(layer.weight)
            wide.bias[:size].copy_(layer.bias)
            wide.weight[size:, :, -1].copy_(copy)
        total = nn.Linear(2 * size, size)
        total.weight.copy_(torch.cat([copy, copy], dim=1))
        total.bias.zero_()
        return [first, rectified, second, rectified, total, nn.ReLU()]


def convolve(layer: Any, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """A causal convolution of (B, T, C) behind what it saw before (zeros where that is None), and what it has seen."""
    reach = (layer.kernel_size[0] - 1) * layer.dilation[0]
    past = x.new_zeros(len(x), reach, x.shape[2]) if past is None else past
    seen = torch.cat([past, x], dim=1)  # (B, reach + T, C)
    return layer(seen.transpose(1, 2)).transpose(1, 2), seen[:, seen.shape[1] - reach :]
