"""Block-diagonal chain: several chains of layers of one kind beside each other, and the mean of their outputs.

The first matrix stacks theirs, each later one is block-diagonal, so that no member sees another, and the last one takes
the mean. Every member keeps its state and its activations, so this is no approximation. What follows the last matrix
decides of what it is the mean:

- nothing: of the outputs;
- an activation, mean of ``logits``: of what goes into the activation;
- an activation of each column by itself, mean of ``outputs``: one more matrix behind it takes the mean;
- a softmax, mean of ``outputs``: no chain computes that, for it divides by the sum of each member's columns.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from litmotif.errors import LitmotifError

Of = Literal["logits", "outputs"]
Chain = list[nn.Module]

MATRIX = (nn.Linear, nn.LSTM, nn.GRU, nn.Conv1d)
PER_COLUMN = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU)
DROPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.AlphaDropout)
_INPUT = ("weight", "weight_ih_l0")
"""Weights that meet the frame where a matrix is the first of its chain."""


class EnsembleError(LitmotifError, ValueError):
    """Members that have no mean, or none that one chain computes; the message says why."""


def block_diagonal(
    members: Sequence[Sequence[nn.Module]],
    of: Of = "logits",
    normalisers: Sequence[tuple[Tensor, Tensor]] | None = None,
) -> Chain:
    """One chain that computes the mean of several.

    Args:
        members: chains of Linear, LSTM, GRU and Conv1d, with BatchNorm1d, PReLU and activations between them; of the
            same kinds in the same order, of any widths but the first and the last. In evaluation mode.
        of: what the mean is taken of, see above.
        normalisers: mean and standard deviation (F,) of the input of each member, where they are not the same:
            (x - mean) / std goes into the first matrix.

    Returns:
        New layers, in evaluation mode; the weights are theirs.

    Raises:
        EnsembleError: there is no such chain; says which layer and why.
    """
    chains = [[layer for layer in chain if not isinstance(layer, DROPPED)] for chain in members]
    _require_alike(chains)
    end = 1 + max(place for place, layer in enumerate(chains[0]) if isinstance(layer, MATRIX))
    behind = chains[0][end:]
    if of == "outputs" and not all(isinstance(layer, PER_COLUMN) for layer in behind):
        names = ", ".join(type(layer).__name__ for layer in behind)
        raise EnsembleError(
            f"Behind the last matrix stands {names}: no chain computes the mean of what comes out of it. Take the mean "
            "of the logits, or export the members one by one."
        )
    if not all(isinstance(layer, (*PER_COLUMN, nn.Softmax)) for layer in behind):
        raise EnsembleError(f"{behind} behind the last matrix: only activations may follow it.")
    if normalisers is not None:
        chains = [[_normalised(c[0], *of_one), *c[1:]] for c, of_one in zip(chains, normalisers, strict=True)]
    joined: Chain = []
    widths: list[int] = []
    for layers in zip(*(chain[:end] for chain in chains), strict=True):
        joined.append(_join(layers, widths))
        widths = [_sizes(layer)[1] or width for layer, width in zip(layers, widths or [0] * len(layers), strict=True)]
    if of == "outputs" and behind:
        joined = [*joined, *behind, _averaging(widths)]
    elif isinstance(joined[-1], nn.Linear):
        joined = [*joined[:-1], _merged(joined[-1], widths), *behind]
    else:
        joined = [*joined, _averaging(widths), *behind]
    return [layer.eval() for layer in joined]


def _require_alike(chains: Sequence[Chain]) -> None:
    if len(chains) < 2:
        raise EnsembleError("An ensemble has at least 2 members.")
    first = chains[0]
    for number, chain in enumerate(chains):
        kinds = [[_kind(layer) for layer in c] for c in (first, chain)]
        if kinds[0] != kinds[1]:
            raise EnsembleError(f"Member {number} is {kinds[1]}, member 0 {kinds[0]}: blocks need the same layers.")
        if not chain or not isinstance(chain[0], MATRIX):
            raise EnsembleError(f"Member {number} does not begin with a Linear, LSTM, GRU or Conv1d.")
        ends = [
            (_sizes(c[0])[0], next(s[1] for layer in reversed(c) if (s := _sizes(layer))[1])) for c in (first, chain)
        ]
        for what, wanted, size in zip(("columns come in", "columns come out"), *ends, strict=True):
            if size != wanted:
                raise EnsembleError(f"Member {number}: {size} {what}, {wanted} of member 0.")


def _kind(layer: nn.Module) -> str:
    """Signature that must be equal: the class, and options that change what it computes but not its width."""
    name = type(layer).__name__
    if isinstance(layer, nn.LSTM | nn.GRU):
        if layer.bidirectional or layer.proj_size:
            raise EnsembleError(f"{layer}: no block-diagonal form with two directions or a projection.")
        return f"{name} x {layer.num_layers}"
    if isinstance(layer, nn.Conv1d):
        if layer.stride != (1,) or layer.padding_mode != "zeros":
            raise EnsembleError(f"{layer}: only stride 1 and zeros before the start.")
        return f"{name} k={layer.kernel_size[0]} d={layer.dilation[0]} p={layer.padding}"
    if isinstance(layer, nn.ELU | nn.LeakyReLU | nn.Softmax):
        return repr(layer)
    if isinstance(layer, (nn.Linear, nn.BatchNorm1d, nn.PReLU, *PER_COLUMN)):
        return name
    raise EnsembleError(f"{layer}: no block-diagonal form of this layer.")


def _sizes(layer: nn.Module) -> tuple[int, int]:
    """Columns that go into and come out of a matrix; 0 where as many as come in."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, nn.LSTM | nn.GRU):
        return layer.input_size, layer.hidden_size
    return (layer.in_channels, layer.out_channels) if isinstance(layer, nn.Conv1d) else (0, 0)


def _join(layers: Sequence[Any], widths: Sequence[int]) -> nn.Module:
    """One layer of several of one kind.

    Args:
        layers: of each member.
        widths: columns of each member that reach it; empty where all take the same input.
    """
    first = layers[0]
    if isinstance(first, MATRIX):
        return _matrix(layers, widths)
    if isinstance(first, nn.BatchNorm1d):
        return _batch_norm(layers, widths)
    if isinstance(first, nn.PReLU):
        slopes = [_values(layer, "weight").expand(width) for layer, width in zip(layers, widths, strict=True)]
        return _filled(nn.PReLU(sum(widths)), {"weight": torch.cat(slopes)})
    if isinstance(first, PER_COLUMN):
        return first
    raise EnsembleError(f"{first} between matrices mixes the columns of the members.")


def _matrix(layers: Sequence[Any], widths: Sequence[int]) -> nn.Module:
    """Gate by gate: PyTorch stacks the gates of a recurrent layer, so that the blocks lie within each."""
    first, sizes = layers[0], [_sizes(layer)[1] for layer in layers]
    taken, size, gates = sum(widths) or _sizes(first)[0], sum(sizes), _gates(first)
    options: dict[str, Any] = {}
    if isinstance(first, nn.Conv1d):
        options = {name: getattr(first, name) for name in ("kernel_size", "padding", "dilation")}
    elif gates > 1:
        options = {"num_layers": first.num_layers, "batch_first": first.batch_first}
    joined, state = type(first)(taken, size, **options), {}
    for name in joined.state_dict():
        parts = [_values(layer, name, gates * width).chunk(gates) for layer, width in zip(layers, sizes, strict=True)]
        if isinstance(first, nn.Conv1d) and name == "weight":  # a group of its own is a block of its own
            parts = [(_diagonal(part.chunk(layer.groups)),) for (part,), layer in zip(parts, layers, strict=True)]
        stacked = name.startswith("bias") or (name in _INPUT and not widths)
        state[name] = torch.cat([torch.cat(gate) if stacked else _diagonal(gate) for gate in zip(*parts, strict=True)])
    return _filled(joined, state)


def _batch_norm(layers: Sequence[nn.BatchNorm1d], widths: Sequence[int]) -> nn.Module:
    """All as scale and shift: members may differ in epsilon, and in having either."""
    scales, shifts = [], []
    for layer, width in zip(layers, widths, strict=True):
        if layer.running_mean is None or layer.running_var is None:
            raise EnsembleError(f"{layer}: statistics of the batch depend on what else is in it; keep running ones.")
        gain = _values(layer, "weight", width, 1.0) / (layer.running_var.double() + layer.eps).sqrt()
        scales.append(gain)
        shifts.append(_values(layer, "bias", width) - layer.running_mean.double() * gain)
    norm = nn.BatchNorm1d(sum(widths), eps=0.0)  # its statistics are 0 and 1
    return _filled(norm, {**norm.state_dict(), "weight": torch.cat(scales), "bias": torch.cat(shifts)})


def _merged(last: nn.Linear, widths: Sequence[int]) -> nn.Module:
    """The last matrix with the mean in it: the blocks lie beside each other instead of below."""
    state = {n: torch.stack(_values(last, n).chunk(len(widths))).mean(dim=0) for n in ("weight", "bias")}
    return _filled(nn.Linear(last.in_features, widths[0]), state)


def _averaging(widths: Sequence[int]) -> nn.Module:
    weight = torch.eye(widths[0], dtype=torch.float64).repeat(1, len(widths)) / len(widths)
    return _filled(nn.Linear(sum(widths), widths[0]), {"weight": weight, "bias": torch.zeros(widths[0])})


def _normalised(layer: nn.Module, mean: Tensor, std: Tensor) -> nn.Module:
    """The first matrix, taking (x - mean) / std of what it is given."""
    if isinstance(layer, nn.Conv1d):
        raise EnsembleError(
            "The members begin with a Conv1d and normalise their inputs differently: the zeros before the first frame "
            "would not be zeros of each. Train them with the same input_mean and input_std."
        )
    scale = 1 / std.double().cpu()
    again = _matrix([layer], [])  # with a bias
    state = {name: _values(layer, name, _gates(layer) * _sizes(layer)[1]) for name in again.state_dict()}
    weight, bias = ("weight", "bias") if isinstance(layer, nn.Linear) else ("weight_ih_l0", "bias_ih_l0")
    state[bias] = state[bias] + state[weight] @ (-mean.double().cpu() * scale)
    state[weight] = state[weight] * scale
    return _filled(again, state)


def _gates(layer: nn.Module) -> int:
    return 4 if isinstance(layer, nn.LSTM) else 3 if isinstance(layer, nn.GRU) else 1


def _values(layer: nn.Module, name: str, size: int = 0, default: float = 0.0) -> Tensor:
    """A parameter in float64 on the CPU; ``default`` (size,) where the layer has none."""
    given: Tensor | None = getattr(layer, name, None)
    if given is None:
        return torch.full((size,), default, dtype=torch.float64)
    return given.detach().cpu().double()


def _diagonal(parts: Sequence[Tensor]) -> Tensor:
    """Blocks (out, in, ...) down the diagonal."""
    rows = []
    for number, part in enumerate(parts):
        beside = [p.new_zeros(len(part), *p.shape[1:]) if k != number else part for k, p in enumerate(parts)]
        rows.append(torch.cat(beside, dim=1))
    return torch.cat(rows)


def _filled(layer: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    layer.load_state_dict(state)
    return layer.requires_grad_(False)
