"""Random chains of every layer that RTNeural's format has, on which writer, interpreter and runtime are proven."""

import torch
from torch import Tensor, nn


class Chain(nn.Module):
    """Layers over frames, computed by PyTorch for whole sequences.

    Args:
        layers: the chain; recurrent layers with ``batch_first``, convolutions without padding.
        input_size: columns F of a raw frame.
        mean: subtracted first (F,); None for no normalisation.
        std: divides then (F,).
    """

    def __init__(
        self, layers: list[nn.Module], input_size: int, mean: Tensor | None = None, std: Tensor | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.input_size, self.mean, self.std = input_size, mean, std

    def export_layers(self) -> list[nn.Module]:
        """The chain."""
        return list(self.layers)

    def export_normaliser(self) -> tuple[Tensor | None, Tensor | None]:
        """Mean and standard deviation (F,), or None."""
        return self.mean, self.std

    def forward(self, x: Tensor) -> Tensor:
        """Raw frames (B, T, F) to (B, T, K)."""
        if self.mean is not None and self.std is not None:
            x = (x - self.mean) / self.std  # (B, T, F)
        for layer in self.layers:
            if isinstance(layer, nn.LSTM | nn.GRU):
                x = layer(x)[0]  # (B, T, H)
            elif isinstance(layer, nn.Conv1d):
                past = (layer.kernel_size[0] - 1) * layer.dilation[0]
                x = layer(nn.functional.pad(x.transpose(1, 2), (past, 0))).transpose(1, 2)  # (B, T, C)
            elif isinstance(layer, nn.BatchNorm1d | nn.PReLU):
                x = layer(x.transpose(1, 2)).transpose(1, 2)  # channels are dimension 1
            else:
                x = layer(x)
        return x


class _Draw:
    """Numbers of one chain."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def below(self, end: int) -> int:
        return int(torch.randint(end, (), generator=self.generator))

    def among(self, *choices: int) -> int:
        return choices[self.below(len(choices))]

    def fill(self, module: nn.Module) -> None:
        """Weights as PyTorch draws them, and statistics of a norm that was trained."""
        for name, values in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                values.data.uniform_(0.25, 2.0, generator=self.generator)
            elif values.is_floating_point():
                bound = 1.0 if values.dim() < 2 else (6 / (values.shape[0] + values[0].numel())) ** 0.5
                values.data.uniform_(-bound, bound, generator=self.generator)


def random_chain(seed: int, input_size: int | None = None) -> Chain:
    """A small chain of two to five layers with weights, each perhaps with a norm and an activation.

    Args:
        seed: of everything.
        input_size: columns F; None draws 1 to 8.
    """
    draw = _Draw(seed)
    size = first = input_size or 1 + draw.below(8)
    layers: list[nn.Module] = []
    for _ in range(2 + draw.below(4)):
        layer, size = _with_weights(draw, size)
        layers += [layer, *_behind(draw, size)]
    if draw.below(3) == 0:
        layers.append(nn.Softmax(dim=-1))
    for layer in layers:
        draw.fill(layer)
    mean = std = None
    if draw.below(2):
        mean = torch.randn(first, generator=draw.generator)
        std = torch.rand(first, generator=draw.generator) + 0.5
    return Chain(layers, first, mean, std).eval()


def _with_weights(draw: _Draw, size: int) -> tuple[nn.Module, int]:
    out, kind = 1 + draw.below(10), draw.below(4)
    if kind == 0:
        return nn.Linear(size, out, bias=draw.below(4) > 0), out
    if kind == 1:
        groups = draw.among(*(g for g in range(1, size + 1) if size % g == 0))
        out = groups * (1 + draw.below(3))
        taps, dilation = 1 + draw.below(4), 1 + draw.below(5)
        return nn.Conv1d(size, out, taps, dilation=dilation, groups=groups, bias=draw.below(4) > 0), out
    recurrent = nn.LSTM if kind == 2 else nn.GRU
    return recurrent(size, out, 1 + draw.below(2), bias=draw.below(4) > 0, batch_first=True), out


def _behind(draw: _Draw, size: int) -> list[nn.Module]:
    norm = [[], [], [nn.BatchNorm1d(size)], [nn.BatchNorm1d(size, affine=False)]][draw.below(4)]
    bends = [
        nn.Tanh(),
        nn.ReLU(),
        nn.Sigmoid(),
        nn.ELU(),
        nn.PReLU(),
        nn.PReLU(size),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.5),
        nn.Identity(),
    ]
    return [*norm, bends[draw.below(len(bends))]]
