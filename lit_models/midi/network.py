"""Backbones by name."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from litmotif.errors import ArgumentError

from .residual import ResidualBlock
from .stack import LayerStack

Backbone = Literal["requirement", "gru", "tcn", "residual_tcn", "mlp", "transformer", "pitch_tcn"]
Kind = Literal["tanh", "relu", "lstm"]
Hidden = tuple[tuple[Kind, int], ...]
"""Hidden layers in order: dense with an activation, or recurrent, and the size of each."""


@dataclass(frozen=True)
class Network:
    """Layers of a causal model.

    Attributes:
        backbone: ``requirement`` has the sizes of the class, all others those given here. ``gru`` is dense-GRU-dense;
            ``tcn`` dense, then causal convolutions of dilation 1, 2, 4, ... with batch normalisation and PReLU (Bai et
            al., arXiv:1803.01271, without the residual adds), dense; ``residual_tcn`` with them and two convolutions a
            block, without batch normalisation; ``mlp`` dense layers with tanh; ``transformer`` and ``pitch_tcn`` are
            for ``MelodyTransformer``.
        hidden_size: width.
        num_layers: recurrent, convolutional, attention or hidden dense layers.
        kernel_size: taps of a convolution.
        dropout: rate behind each hidden layer, in training.
    """

    backbone: Backbone = "requirement"
    hidden_size: int = 128
    num_layers: int = 1
    kernel_size: int = 3
    dropout: float = 0.0


@dataclass(frozen=True)
class MelodyNetwork(Network):
    """The same, and what two more backbones need.

    Attributes:
        num_heads: attention heads of ``transformer``.
        channels: units of each key of ``pitch_tcn``, see ``pitch``; its other units are ``hidden_size``.
        reach: semitones to either side that a layer of ``pitch_tcn`` sees.
    """

    num_heads: int = 4
    channels: int = 16
    reach: int = 12


_ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


def make_stack(network: Network, hidden: Hidden, input_size: int, output_size: int) -> LayerStack:
    """A backbone from F columns to K numbers before the last activation.

    Args:
        network: which, and its sizes.
        hidden: layers of ``requirement``.
        input_size: F.
        output_size: K.

    Raises:
        ValueError: a backbone that is not for every model.
    """
    backbone, hidden_size, dropout = network.backbone, network.hidden_size, network.dropout
    layers: list[nn.Module] = []
    width = input_size

    def add(size: int, *parts: nn.Module) -> None:
        nonlocal width
        layers.extend([*parts, nn.Dropout(dropout)] if dropout else parts)
        width = size

    if backbone == "requirement":
        for kind, size in hidden:
            if kind == "lstm":
                add(size, nn.LSTM(width, size, batch_first=True))
            else:
                add(size, nn.Linear(width, size), _ACTIVATIONS[kind]())
    elif backbone == "gru":
        add(hidden_size, nn.Linear(width, hidden_size), nn.Tanh())
        for _ in range(network.num_layers):
            add(hidden_size, nn.GRU(width, hidden_size, batch_first=True))
    elif backbone == "tcn":  # the dense layer takes up the input's mean, so that zeros before the start stay zeros
        add(hidden_size, nn.Linear(width, hidden_size), nn.PReLU(hidden_size))
        for level in range(network.num_layers):
            conv = nn.Conv1d(width, hidden_size, network.kernel_size, dilation=2**level)
            add(hidden_size, conv, nn.BatchNorm1d(hidden_size), nn.PReLU(hidden_size))
    elif backbone == "residual_tcn":
        layers.append(nn.Linear(width, hidden_size))
        width = hidden_size
        for level in range(network.num_layers):
            first, second = (nn.Conv1d(width, hidden_size, network.kernel_size, dilation=2**level) for _ in range(2))
            layers.append(ResidualBlock(first, second, dropout))
    elif backbone == "mlp":
        for _ in range(network.num_layers):
            add(hidden_size, nn.Linear(width, hidden_size), nn.Tanh())
    else:
        raise ArgumentError(f"backbone={backbone!r}: choose 'requirement', 'gru', 'tcn', 'residual_tcn' or 'mlp'.")
    return LayerStack([*layers, nn.Linear(width, output_size)])
