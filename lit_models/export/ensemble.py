"""The mean of several models: of their numbers, and as one chain of layers that computes it.

Chains of the same kind lie beside each other in one: the first matrix stacks theirs, each later one is block-diagonal,
so that no member sees another, and the last one takes the mean. Every member keeps its state and its activations, so
this is no approximation. What follows the last matrix decides of what it is the mean:

- nothing: of the outputs;
- an activation, mean of ``logits``: of what goes into the activation;
- an activation of each column by itself, mean of ``outputs``: one more matrix behind it takes the mean;
- a softmax, mean of ``outputs``: no chain computes that, for it divides by the sum of each member's columns.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Of = Literal["logits", "outputs"]
Chain = list[nn.Module]

MATRIX = (nn.Linear, nn.LSTM, nn.GRU, nn.Conv1d)
PER_COLUMN = (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.ELU, nn.LeakyReLU)
DROPPED = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.AlphaDropout)


class EnsembleError(ValueError):
    """Members that have no mean, or none that one chain computes; the message says why."""


# ---------------------------------------------------------------------- numbers
def mean_logits(logits: Tensor, activation: nn.Module, of: Of) -> Tensor:
    """Logits whose activation is the mean that is asked for.

    Args:
        logits: of M members (M, ..., K).
        activation: Softmax (over the last dimension), Sigmoid, Tanh or Identity.
        of: ``logits``, or the ``outputs`` behind the activation.

    Returns:
        (..., K).

    Raises:
        EnsembleError: the mean of the outputs of another activation is asked for.
    """
    if of == "logits" or isinstance(activation, nn.Identity):
        return logits.mean(dim=0)
    if isinstance(activation, nn.Softmax):
        return _log_mean(logits.log_softmax(dim=-1))
    if isinstance(activation, nn.Sigmoid):
        return _log_mean(F.logsigmoid(logits)) - _log_mean(F.logsigmoid(-logits))
    if isinstance(activation, nn.Tanh):  # tanh z = 2 sigmoid 2z - 1
        return mean_logits(2 * logits, nn.Sigmoid(), of) / 2
    raise EnsembleError(
        f"The mean of outputs behind {type(activation).__name__} is unknown here: take that of the logits."
    )


def _log_mean(log_p: Tensor) -> Tensor:
    return log_p.logsumexp(dim=0) - torch.tensor(len(log_p), dtype=log_p.dtype, device=log_p.device).log()


# ---------------------------------------------------------------------- one chain
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
    apart = all(isinstance(layer, PER_COLUMN) for layer in behind)
    if of == "outputs" and behind and not apart:
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
        widths = [_size(layer) or width for layer, width in zip(layers, widths or [0] * len(layers), strict=True)]
    if of == "outputs" and behind:
        return [layer.eval() for layer in [*joined, *behind, _averaging(widths)]]
    if isinstance(joined[-1], nn.Linear):
        joined[-1] = _merged(joined[-1], widths)
    else:
        joined.append(_averaging(widths))
    return [layer.eval() for layer in [*joined, *behind]]


def _require_alike(chains: Sequence[Chain]) -> None:
    if len(chains) < 2:
        raise EnsembleError("An ensemble has at least 2 members.")
    for number, chain in enumerate(chains):
        kinds = [[_kind(layer) for layer in c] for c in (chains[0], chain)]
        if kinds[0] != kinds[1]:
            raise EnsembleError(f"Member {number} is {kinds[1]}, member 0 {kinds[0]}: blocks need the same layers.")
        if not chain or not isinstance(chain[0], MATRIX):
            raise EnsembleError(f"Member {number} does not begin with a Linear, LSTM, GRU or Conv1d.")
        for what, place in (("columns come in", 0), ("columns come out", -1)):
            sizes = [_ends(c)[place] for c in (chains[0], chain)]
            if sizes[0] != sizes[1]:
                raise EnsembleError(f"Member {number}: {sizes[1]} {what}, {sizes[0]} of member 0.")


def _kind(layer: nn.Module) -> str:
    """What must be equal: the class, and options that change what it computes but not its width."""
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


def _size(layer: nn.Module) -> int:
    """Columns that come out of a matrix; 0 where as many as come in."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.LSTM | nn.GRU):
        return layer.hidden_size
    return layer.out_channels if isinstance(layer, nn.Conv1d) else 0


def _ends(chain: Chain) -> tuple[int, int]:
    first = chain[0]
    size = first.in_features if isinstance(first, nn.Linear) else getattr(first, "input_size", 0)
    taken = first.in_channels if isinstance(first, nn.Conv1d) else int(size)
    return taken, next(size for layer in reversed(chain) if (size := _size(layer)))


# ---------------------------------------------------------------------- layers beside each other
def _join(layers: Sequence[nn.Module], widths: Sequence[int]) -> nn.Module:
    """One layer of several.

    Args:
        layers: of each member, of one kind.
        widths: columns of each member that reach it; empty where all take the same input.
    """
    first = layers[0]
    if isinstance(first, nn.Linear):
        linear = nn.Linear(sum(widths) or first.in_features, sum(_size(layer) for layer in layers))
        return _filled(linear, {"weight": _blocks(layers, "weight", widths), "bias": _biases(layers)})
    if isinstance(first, nn.LSTM | nn.GRU):
        return _recurrent(layers, widths)
    if isinstance(first, nn.Conv1d):
        taken = sum(widths) or first.in_channels
        conv = nn.Conv1d(
            taken,
            sum(_size(layer) for layer in layers),
            first.kernel_size[0],
            padding=first.padding if isinstance(first.padding, str) else first.padding[0],
            dilation=first.dilation[0],
        )
        kernels = [_ungrouped(layer) for layer in layers]
        return _filled(conv, {"weight": _diagonal(kernels, shared=not widths), "bias": _biases(layers)})
    if isinstance(first, nn.BatchNorm1d):
        return _batch_norm(layers, widths)
    if isinstance(first, nn.PReLU):
        slopes = [_values(layer, "weight").expand(width) for layer, width in zip(layers, widths, strict=True)]
        return _filled(nn.PReLU(sum(widths)), {"weight": torch.cat(slopes)})
    if isinstance(first, PER_COLUMN):
        return first
    raise EnsembleError(f"{first} between matrices mixes the columns of the members.")


def _recurrent(layers: Sequence[nn.Module], widths: Sequence[int]) -> nn.Module:
    """Gate by gate: PyTorch stacks the gates of a layer, so that the blocks lie within each."""
    first = layers[0]
    assert isinstance(first, nn.LSTM | nn.GRU)  # noqa: S101 for mypy
    gates = 4 if isinstance(first, nn.LSTM) else 3
    sizes = [_size(layer) for layer in layers]
    joined = type(first)(
        sum(widths) or first.input_size, sum(sizes), num_layers=first.num_layers, batch_first=first.batch_first
    )
    state: dict[str, Tensor] = {}
    for number in range(first.num_layers):
        shared = number == 0 and not widths
        for name, alike in ((f"weight_ih_l{number}", shared), (f"weight_hh_l{number}", False)):
            parts = [_values(layer, name).chunk(gates) for layer in layers]
            state[name] = torch.cat([_diagonal(gate, alike) for gate in zip(*parts, strict=True)])
        for name in (f"bias_ih_l{number}", f"bias_hh_l{number}"):
            biases = [
                _values(layer, name, gates * size).chunk(gates) for layer, size in zip(layers, sizes, strict=True)
            ]
            state[name] = torch.cat([torch.cat(gate) for gate in zip(*biases, strict=True)])
    return _filled(joined, state)


def _batch_norm(layers: Sequence[nn.Module], widths: Sequence[int]) -> nn.Module:
    """All as scale and shift: members may differ in epsilon, and in having either."""
    scales, shifts = [], []
    for layer, width in zip(layers, widths, strict=True):
        assert isinstance(layer, nn.BatchNorm1d)  # noqa: S101 for mypy
        if layer.running_mean is None or layer.running_var is None:
            raise EnsembleError(f"{layer}: statistics of the batch depend on what else is in it; keep running ones.")
        gain = _values(layer, "weight", width, 1.0) / (layer.running_var.double() + layer.eps).sqrt()
        scales.append(gain)
        shifts.append(_values(layer, "bias", width) - layer.running_mean.double() * gain)
    norm = nn.BatchNorm1d(sum(widths), eps=0.0)
    ones, zeros = torch.ones(sum(widths)), torch.zeros(sum(widths))
    values = {"weight": torch.cat(scales), "bias": torch.cat(shifts), "running_mean": zeros, "running_var": ones}
    return _filled(norm, values)


def _merged(last: nn.Linear, widths: Sequence[int]) -> nn.Linear:
    """The last matrix with the mean in it: the blocks lie beside each other instead of below."""
    size, members = widths[0], len(widths)
    weight = last.weight.detach().double().view(members, size, last.in_features).mean(dim=0)
    bias = last.bias.detach().double().view(members, size).mean(dim=0)
    merged = nn.Linear(last.in_features, size)
    _filled(merged, {"weight": weight, "bias": bias})
    return merged


def _averaging(widths: Sequence[int]) -> nn.Module:
    weight = torch.eye(widths[0], dtype=torch.float64).repeat(1, len(widths)) / len(widths)
    linear = nn.Linear(sum(widths), widths[0])
    return _filled(linear, {"weight": weight, "bias": torch.zeros(widths[0])})


def _normalised(layer: nn.Module, mean: Tensor, std: Tensor) -> nn.Module:
    """The first matrix, taking (x - mean) / std of what it is given."""
    if isinstance(layer, nn.Conv1d):
        raise EnsembleError(
            "The members begin with a Conv1d and normalise their inputs differently: the zeros before the first frame "
            "would not be zeros of each. Train them with the same input_mean and input_std."
        )
    scale = 1 / std.double().cpu()
    shift = -mean.double().cpu() * scale
    if isinstance(layer, nn.Linear):
        linear = nn.Linear(layer.in_features, layer.out_features)
        weight = _values(layer, "weight")
        return _filled(linear, {"weight": weight * scale, "bias": _biases([layer]) + weight @ shift})
    assert isinstance(layer, nn.LSTM | nn.GRU)  # noqa: S101 for mypy
    again = type(layer)(layer.input_size, layer.hidden_size, layer.num_layers, batch_first=layer.batch_first)
    rows = (4 if isinstance(layer, nn.LSTM) else 3) * layer.hidden_size
    state = {name: _values(layer, name, rows) for name in again.state_dict()}
    state["bias_ih_l0"] = state["bias_ih_l0"] + state["weight_ih_l0"] @ shift
    state["weight_ih_l0"] = state["weight_ih_l0"] * scale
    return _filled(again, state)


# ---------------------------------------------------------------------- matrices
def _values(layer: nn.Module, name: str, size: int = 0, default: float = 0.0) -> Tensor:
    """A parameter in float64 on the CPU; ``default`` (size,) where the layer has none."""
    given: Tensor | None = getattr(layer, name, None)
    if given is None:
        return torch.full((size,), default, dtype=torch.float64)
    return given.detach().cpu().double()


def _biases(layers: Sequence[nn.Module]) -> Tensor:
    return torch.cat([_values(layer, "bias", _size(layer)) for layer in layers])


def _blocks(layers: Sequence[nn.Module], name: str, widths: Sequence[int]) -> Tensor:
    return _diagonal([_values(layer, name) for layer in layers], shared=not widths)


def _diagonal(parts: Sequence[Tensor], shared: bool) -> Tensor:
    """Blocks (out, in, ...) down the diagonal, or below each other where all take the same input."""
    if shared:
        return torch.cat(list(parts))
    rows = []
    for number, part in enumerate(parts):
        beside = [p.new_zeros(len(part), *p.shape[1:]) if k != number else part for k, p in enumerate(parts)]
        rows.append(torch.cat(beside, dim=1))
    return torch.cat(rows)


def _ungrouped(layer: nn.Module) -> Tensor:
    """A grouped kernel (out, in / groups, k) as one of a single group (out, in, k)."""
    assert isinstance(layer, nn.Conv1d)  # noqa: S101 for mypy
    return _diagonal(_values(layer, "weight").chunk(layer.groups), shared=False)


def _filled(layer: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    layer.load_state_dict(state, strict=not isinstance(layer, nn.BatchNorm1d))
    return layer.requires_grad_(False)
