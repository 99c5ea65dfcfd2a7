"""Transposition equivariance: layers whose weights are tied over the twelve pitch classes.

A melody moved by k semitones has chords moved by k. With R_k for the move of every group of twelve columns, a layer
with W R_k = R_k W keeps that exactly (Cohen and Welling, arXiv:1602.07576, for this group of twelve). Such a W has one
free number an orbit of (output, input) pairs under the move: a twelfth of the parameters, and still a plain matrix.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from litmotif.errors import ArgumentError

from ..core.normalizer import Standardizer
from .residual import ResidualBlock
from .stack import LayerStack

TONIC = re.compile("[A-G][b#]?")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "b": -1}
STILL = -1
"""Pitch class of a column that a transposition leaves alone."""


def pitch_classes(names: Sequence[str]) -> list[int]:
    """Pitch class 0-11 of each column, from names such as ``melody_now:C`` and ``class3:Eb:maj``; else ``STILL``."""
    tonics = (next(filter(TONIC.fullmatch, name.split(":")[1:]), None) for name in names)
    return [STILL if t is None else (_LETTERS[t[0]] + _ACCIDENTALS[t[1:]]) % 12 for t in tonics]


def of_hidden(size: int) -> list[int]:
    """Pitch classes of hidden units: as many twelves as there are, the rest stands still."""
    return [k % 12 if k < size // 12 * 12 else STILL for k in range(size)]


class Tied(nn.Module):
    """From one number an orbit (N, ...) to a weight (O, I, ...) or bias (O,) that holds each wherever it belongs.

    Args:
        orbit: number of the orbit of each entry, (O, I) or (O,).
    """

    def __init__(self, orbit: Tensor) -> None:
        super().__init__()
        self.register_buffer("orbit", orbit, persistent=False)
        self.orbit: Tensor

    def forward(self, free: Tensor) -> Tensor:
        """Spread (N, ...) to (O, ...)."""
        return free.index_select(0, self.orbit.flatten()).view(*self.orbit.shape, *free.shape[1:])

    def right_inverse(self, weight: Tensor) -> Tensor:
        """One entry of each orbit: what is drawn at random keeps its size."""
        orbit = self.orbit.flatten()
        first = orbit.new_full((int(orbit.max()) + 1,), len(orbit))
        first.scatter_reduce_(0, orbit, torch.arange(len(orbit), device=orbit.device), "amin")
        return weight.flatten(0, self.orbit.dim() - 1)[first]


def orbits(rows: Sequence[int], columns: Sequence[int] | None = None) -> Tensor:
    """Numbers (O, I), or (O,) without ``columns``: equal where a transposition takes one entry to another.

    Args:
        rows: pitch class of each output, or ``STILL``; every pitch class as often as every other.
        columns: of each input.
    """
    out, into = _labels(rows), _labels(columns if columns is not None else [STILL])
    moves = (out[1] >= 0)[:, None] & (into[1] >= 0)
    interval = torch.where(moves, (out[1][:, None] - into[1]) % 12, 0)
    number = (out[0][:, None] * (len(into[0]) + 1) + into[0]) * 12 + interval  # (O, I)
    orbit: Tensor = torch.unique(number, return_inverse=True)[1]
    return orbit if columns is not None else orbit[:, 0]


def _labels(classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """A number (n,) a group of twelve columns or still column, and the pitch classes (n,)."""
    seen, labels = [0] * 12, []
    still = len(classes)
    for pitch_class in classes:
        if pitch_class == STILL:
            labels.append(still)
            still -= 1
        else:
            labels.append(seen[pitch_class])
            seen[pitch_class] += 1
    if len(set(seen)) > 1:
        raise ArgumentError(f"columns of the twelve pitch classes: {seen} of each; a transposition needs equally many.")
    return torch.tensor(labels), torch.tensor(list(classes))


def average(values: Tensor, classes: Sequence[int]) -> Tensor:
    """Each of (n,) replaced by the mean of its orbit."""
    orbit = orbits(classes)
    number = int(orbit.max()) + 1
    total = values.new_zeros(number).index_add(0, orbit, values)
    return (total / orbit.bincount(minlength=number))[orbit]


def commute(network: nn.Module, normalizer: Standardizer, features: Sequence[str], outputs: Sequence[str]) -> None:
    """Let a stack of dense layers and residual blocks commute with transposition.

    Args:
        network: changed in place; of the weights it has one an orbit stays.
        normalizer: of its inputs; its statistics become those of all transpositions.
        features: names of the inputs.
        outputs: names of the outputs.

    Raises:
        ValueError: a layer is of another kind, or columns have no names, or pitch classes are not equally many.
    """
    if not (features and outputs):
        raise ArgumentError("equivariant=True: features and outputs must name the columns, as the data do.")
    before, last = pitch_classes(features), pitch_classes(outputs)
    for statistic in (normalizer.mean, normalizer.std):
        statistic.copy_(average(statistic, before))
    layers = list(network.layers) if isinstance(network, LayerStack) else [network]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            after = last if layer is layers[-1] else of_hidden(layer.out_features)
            with torch.no_grad():
                layer.bias.copy_(average(layer.bias, after))
            _tie(layer, before, after)
            before = after
        elif isinstance(layer, ResidualBlock):
            _tie(layer.first, before, before)
            _tie(layer.second, before, before)
        elif not isinstance(layer, nn.Dropout | nn.Tanh | nn.ReLU):
            raise ArgumentError(
                f"equivariant=True: a {type(layer).__name__} does not commute with transposition. Choose backbone "
                "requirement, residual_tcn or mlp."
            )


def _tie(layer: nn.Linear | nn.Conv1d, before: Sequence[int], after: Sequence[int]) -> None:
    parametrize.register_parametrization(layer, "weight", Tied(orbits(after, before)))
    parametrize.register_parametrization(layer, "bias", Tied(orbits(after)))
