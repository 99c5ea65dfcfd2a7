"""Frames through a plain chain: what ``export`` needs of an ``nn.Sequential`` that is no module of ours."""

from typing import Any

from torch import Tensor, nn

from .errors import ExportError

_PER_CHANNEL = nn.BatchNorm1d | nn.PReLU
"""Layers that take their columns in dimension 1."""


class FrameChain(nn.Module):
    """An ``nn.Sequential`` over frames, as RTNeural runs it: one frame after the other, layers remember the past.

    Convolutions are causal, whatever their padding; recurrent layers give what they put out, not their state.

    Args:
        layers: the chain; Sequentials within it are walked through.
        input_size: numbers F of a frame; None takes it from the first layer that says it.

    Raises:
        ExportError: no layer says how many numbers a frame has.
    """

    def __init__(self, layers: nn.Sequential, input_size: int | None = None) -> None:
        super().__init__()
        self.layers = layers
        self.input_size = input_size or _input_size(self.export_layers())

    def export_layers(self) -> list[nn.Module]:
        """The layers one after another."""
        return _flat(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Run frames (B, T, F), or indices (B, T) of an Embedding, to (B, T, K)."""
        for layer in self.export_layers():
            x = _run(layer, x)
        return x


def _flat(layers: nn.Sequential) -> list[nn.Module]:
    return [one for layer in layers for one in (_flat(layer) if isinstance(layer, nn.Sequential) else [layer])]


def _input_size(layers: list[nn.Module]) -> int:
    for layer in layers:
        for name in ("in_features", "input_size", "in_channels", "num_embeddings", "num_features"):
            if isinstance(size := getattr(layer, name, None), int):
                return size
    raise ExportError("No layer of this Sequential says how many numbers a frame has: give input_size.")


def _run(layer: Any, x: Tensor) -> Tensor:
    if isinstance(layer, nn.LSTM | nn.GRU):
        outputs: Tensor = layer(x)[0] if layer.batch_first else layer(x.transpose(0, 1))[0].transpose(0, 1)
        return outputs
    if isinstance(layer, nn.Conv1d):
        reach = (layer.kernel_size[0] - 1) * layer.dilation[0]
        seen = nn.functional.pad(x.transpose(1, 2), (reach, 0))  # (B, C, reach + T)
        out = nn.functional.conv1d(seen, layer.weight, layer.bias, dilation=layer.dilation, groups=layer.groups)
        return out.transpose(1, 2)
    if isinstance(layer, _PER_CHANNEL):
        return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # type: ignore[no-any-return]
    return layer(x)  # type: ignore[no-any-return]
