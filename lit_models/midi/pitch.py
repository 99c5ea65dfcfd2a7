"""Pitch-convolutional TCN: its weights are shared by the keys; and the plain layers that equal it.

A frame is H free units, and C channels of each of K keys. What a channel of a key takes from another key depends on how
many semitones lie between them, not on where they are: a filter over pitch as over time. The free units see all keys
and tell each channel of what they saw, and both together make the outputs: what holds for all keys alike is learned
once, what does not is still learned (a soft equivariance; Finzi et al., arXiv:2112.01388).

All of it is linear between its activations, so a layer can be written out as a matrix: its response to each unit alone,
in double precision, so that single weights come out as they are.
"""

import copy

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from .network import MelodyNetwork
from .residual import ResidualBlock
from .stack import LayerStack

SMALL = 0.01
"""Deviation of the free weights at first, as Bai et al. (arXiv:1803.01271) draw them."""


class PitchInput(nn.Module):
    """Frames whose first K columns are keys -> H free units that see all columns, C channels that see the keys near by.

    Args:
        columns: F, at least the keys.
        keys: K.
        size: H.
        channels: C.
        reach: semitones that a channel sees to either side.
    """

    def __init__(self, columns: int, keys: int, size: int, channels: int, reach: int) -> None:
        super().__init__()
        self.columns, self.keys = columns, keys
        self.free = nn.Linear(columns, size)
        self.near = nn.Conv1d(1, channels, 2 * reach + 1, padding=reach)
        self.place = nn.Parameter(torch.zeros(channels * keys))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, F) to (B, T, H + C K)."""
        near = self.near(x[..., : self.keys].flatten(0, 1)[:, None])  # (B T, C, K)
        return torch.cat([self.free(x), near.flatten(1).unflatten(0, x.shape[:2]) + self.place], dim=-1)

    def plain(self) -> nn.Linear:
        """The same as a matrix."""
        return _dense(self, self.columns)


class PitchConv(nn.Module):
    """A causal convolution: free units to free units, channels to those of keys near by, free units to channels.

    Args:
        keys: K.
        size: H.
        channels: C.
        reach: semitones that a channel sees to either side.
        kernel_size: taps k.
        dilation: frames from tap to tap.
    """

    def __init__(self, keys: int, size: int, channels: int, reach: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.shape = channels, keys
        self.in_channels = size + channels * keys
        self.free = nn.Conv1d(size, size, kernel_size, dilation=dilation)
        taps = (kernel_size, 2 * reach + 1)
        self.near = nn.Conv2d(channels, channels, taps, dilation=(dilation, 1), padding=(0, reach))
        self.tell = nn.Linear(size, channels, bias=False)
        self.kernel_size, self.dilation = self.free.kernel_size, self.free.dilation
        nn.init.normal_(self.free.weight, std=SMALL)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H + C K, T + (k - 1) d), all frames that the taps reach, to (B, H + C K, T)."""
        free, keyed = x[:, : self.free.in_channels], x[:, self.free.in_channels :]
        near: Tensor = self.near(keyed.reshape(len(x), *self.shape, -1).transpose(2, 3))  # (B, C, T, K)
        context = self.tell(free[..., x.shape[2] - near.shape[2] :].transpose(1, 2)).transpose(1, 2)  # (B, C, T)
        near = (near + context[..., None]).transpose(2, 3).flatten(1, 2)  # (B, C K, T)
        return torch.cat([self.free(free), near], dim=1)

    @torch.no_grad()
    def plain(self) -> nn.Conv1d:
        """The same as a convolution of all units."""
        size, (taps,), (dilation,) = self.in_channels, self.kernel_size, self.dilation
        layer, exact = nn.Conv1d(size, size, taps, dilation=dilation), copy.deepcopy(self).double()
        units = torch.zeros(size, size, (taps - 1) * dilation + 1, dtype=torch.float64)
        silent = exact(units[:1])[0, :, 0]
        assert layer.bias is not None  # noqa: S101  # for mypy
        layer.bias.copy_(silent)
        for tap in range(taps):
            units[..., tap * dilation] = torch.eye(size)
            layer.weight[..., tap] = (exact(units)[..., 0] - silent).T
            units[..., tap * dilation] = 0
        return layer


class PitchOutput(nn.Module):
    """H free units and C channels -> a number a key, from all free units and from the channels of keys near by.

    Args:
        keys: K.
        size: H.
        channels: C.
        reach: semitones that a key sees to either side.
    """

    def __init__(self, keys: int, size: int, channels: int, reach: int) -> None:
        super().__init__()
        self.shape = channels, keys
        self.free = nn.Linear(size, keys)
        self.near = nn.Conv1d(channels, 1, 2 * reach + 1, padding=reach, bias=False)
        nn.init.normal_(self.free.weight, std=SMALL)
        with torch.no_grad():
            self.near.weight.mul_(0.1)

    @property
    def bias(self) -> Tensor:
        """Of each key (K,)."""
        return self.free.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, T, H + C K) to (B, T, K)."""
        free, keyed = x[..., : self.free.in_features], x[..., self.free.in_features :]
        near = self.near(keyed.reshape(-1, *self.shape))  # (B T, 1, K)
        found: Tensor = self.free(free) + near.reshape(*x.shape[:2], -1)  # (B, T, K)
        return found

    def plain(self) -> nn.Linear:
        """The same as a matrix."""
        return _dense(self, self.free.in_features + self.shape[0] * self.shape[1])


@torch.no_grad()
def _dense(layer: nn.Module, size: int) -> nn.Linear:
    exact = copy.deepcopy(layer).double()
    silent = exact(torch.zeros(1, 1, size, dtype=torch.float64))[0, 0]
    dense = nn.Linear(size, len(silent))
    dense.bias.copy_(silent)
    dense.weight.copy_((exact(torch.eye(size, dtype=torch.float64)[None])[0] - silent).T)
    return dense


def pitch_stack(input_size: int, output_size: int, network: MelodyNetwork) -> LayerStack:
    """The whole network: residual blocks of dilation 1, 2, 4, ... between input and output.

    Args:
        input_size: columns F, of which the first are the keys.
        output_size: keys K.
        network: its sizes; a block has two convolutions, and dropout behind each.

    Raises:
        ValueError: fewer columns than keys, or no channel.
    """
    size, channels, reach = network.hidden_size, network.channels, network.reach
    if input_size < output_size or channels < 1 or reach < 0:
        raise ArgumentError(
            f"backbone='pitch_tcn' takes the {output_size} keys of a frame first, and {input_size} columns reach it "
            f"(channels={channels}, at least 1; reach={reach}, at least 0). Choose a task whose inputs are keys, such "
            "as polyphony, or another backbone."
        )
    blocks = []
    for level in range(network.num_layers):
        taps = (network.kernel_size, 2**level)
        first, second = (PitchConv(output_size, size, channels, reach, *taps) for _ in range(2))
        blocks.append(ResidualBlock(first, second, network.dropout))
    last = PitchOutput(output_size, size, channels, reach)
    return LayerStack([PitchInput(input_size, output_size, size, channels, reach), *blocks, last])
