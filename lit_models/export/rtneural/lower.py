"""Lowering: layers of PyTorch in RTNeural's layout, transposed matrices, its gate order, explicit biases.

The layouts are those that RTNeural's ``model_loader.h`` reads: a matrix is [in][out], a kernel [tap][in / groups][out].
"""

from collections.abc import Iterator, Mapping
from functools import singledispatch

import numpy as np
from torch import Tensor, nn

from .errors import ExportError, UnsupportedLayerError
from .layer import Array, Layer

_STUDENT = "train an exportable student (LSTM, GRU or causal Conv1d) on the outputs of this one"
_ACTIVATIONS = "use ReLU, ELU, PReLU, LeakyReLU, Tanh or Sigmoid"
REMEDIES: dict[str, str] = {
    "Attention": _STUDENT,
    "Transformer": _STUDENT,
    "BatchNorm": "use BatchNorm1d over the columns of a frame",
    "Norm": "use BatchNorm1d, which is folded into its neighbour",
    "LogSoftmax": "end with Softmax(dim=-1)",
    "GELU": _ACTIVATIONS,
    "SiLU": _ACTIVATIONS,
    "Hard": _ACTIVATIONS,
    "ReLU6": _ACTIVATIONS,
    "ConvTranspose": "use a causal Conv1d without stride",
    "Conv": "use a causal Conv1d over the columns of a frame",
    "Pool": "use a dilated Conv1d without pooling",
    "RNN": "use LSTM or GRU",
    "Bilinear": "use Linear",
}
OTHERWISE = "write it as a chain of layers that the format has; it knows no residual adds and no branches"


def lower_all(named: Mapping[str, nn.Module], size: int) -> list[Layer]:
    """A chain of PyTorch's layers as layers of the file.

    Args:
        named: the layers in order, by their paths; ``nn.Sequential`` is walked through.
        size: numbers a frame that reach the first.

    Raises:
        UnsupportedLayerError: the format has no such layer or option; names path, class and remedy.
        ExportError: a layer takes another size than the one before it gives.
    """
    layers: list[Layer] = []
    for where, module in _flat(named):
        reaches = layers[-1].size if layers else size
        lowered = lower(module, reaches, where)
        if lowered and lowered[0].in_size != reaches:
            raise ExportError(
                f"{where} takes {lowered[0].in_size} numbers a frame, and {reaches} reach it: "
                "give the layers in the order of the chain."
            )
        _require(not (layers and lowered and lowered[0].one_hot), where, "layers before it", "make it the first")
        layers += lowered
    return layers


def _flat(named: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for path, module in named.items():
        if isinstance(module, nn.Sequential):
            yield from _flat({f"{path}.{name}": child for name, child in module.named_children()})
        else:
            yield f"{path} ({type(module).__name__})", module


@singledispatch
def lower(module: nn.Module, size: int, where: str) -> list[Layer]:
    """One layer of PyTorch, which ``size`` numbers a frame reach, as layers of the file.

    Raises:
        UnsupportedLayerError: the format has no such layer or option.
    """
    name = type(module).__name__
    remedy = next((text for part, text in REMEDIES.items() if part in name), OTHERWISE)
    raise UnsupportedLayerError(f"{where}: RTNeural's JSON has no such layer. Remedy: {remedy}.")


def _require(expressible: bool, where: str, what: str, remedy: str) -> None:
    if not expressible:
        raise UnsupportedLayerError(f"{where} with {what}: RTNeural's JSON cannot express it. Remedy: {remedy}.")


def _array(values: Tensor) -> Array:
    return values.detach().cpu().double().numpy()


@lower.register(nn.Identity)
@lower.register(nn.Dropout)
@lower.register(nn.Dropout1d)
@lower.register(nn.AlphaDropout)
def _vanish(module: nn.Module, size: int, where: str) -> list[Layer]:
    return []


@lower.register
def _linear(module: nn.Linear, size: int, where: str) -> list[Layer]:
    weights = [_array(module.weight).T] + ([_array(module.bias)] if module.bias is not None else [])
    return [Layer("dense", module.in_features, module.out_features, tuple(weights))]


@lower.register
def _embedding(module: nn.Embedding, size: int, where: str) -> list[Layer]:
    _require(module.max_norm is None, where, f"max_norm={module.max_norm}", "renormalise the table once, in training")
    sizes = (module.num_embeddings, module.embedding_dim)
    return [Layer("dense", *sizes, (_array(module.weight),), one_hot=True)]


@lower.register
def _conv1d(module: nn.Conv1d, size: int, where: str) -> list[Layer]:
    taps, dilation = module.kernel_size[0], module.dilation[0]
    past = (taps - 1) * dilation
    padding = {"valid": 0}.get(module.padding, -past) if isinstance(module.padding, str) else module.padding[0]
    _require(module.stride[0] == 1, where, f"stride={module.stride[0]}", "use stride 1; a frame in gives a frame out")
    _require(padding in (0, past), where, f"padding={module.padding}", f"pad on the left only, by {past} frames")
    _require(module.padding_mode == "zeros", where, f"padding_mode={module.padding_mode!r}", "use zeros")
    kernel = _array(module.weight).transpose(2, 1, 0)  # (out, in / groups, tap) -> (tap, in / groups, out)
    bias = _array(module.bias) if module.bias is not None else np.zeros(module.out_channels)
    options = {"kernel_size": [taps], "dilation": [dilation], "groups": module.groups}
    return [Layer("conv1d", module.in_channels, module.out_channels, (kernel, bias), options)]


@lower.register(nn.LSTM)
@lower.register(nn.GRU)
def _recurrent(module: nn.LSTM | nn.GRU, size: int, where: str) -> list[Layer]:
    _require(not module.bidirectional, where, "bidirectional=True", "a stream has no future: use one direction")
    _require(not module.proj_size, where, f"proj_size={module.proj_size}", "use a Linear behind the layer")
    layers = []
    for number in range(module.num_layers):
        kind = "lstm" if isinstance(module, nn.LSTM) else "gru"
        width = module.input_size if number == 0 else module.hidden_size
        gates = [_array(getattr(module, f"{name}_l{number}")) for name in ("weight_ih", "weight_hh")]
        zeros = np.zeros(len(gates[0]))
        both = [_array(getattr(module, f"{n}_l{number}")) if module.bias else zeros for n in ("bias_ih", "bias_hh")]
        weights = (gates[0].T, gates[1].T, both[0] + both[1])
        if kind == "gru":  # PyTorch's gates are r, z, n; RTNeural's z, r, n, with both biases apart
            swapped = [_update_gate_first(values) for values in (*gates, *both)]
            weights = (swapped[0].T, swapped[1].T, np.stack(swapped[2:]))
        layers.append(Layer(kind, width, module.hidden_size, weights))
    return layers


def _update_gate_first(gates: Array) -> Array:
    reset, update, new = np.split(gates, 3)
    return np.concatenate([update, reset, new])


@lower.register
def _batch_norm(module: nn.BatchNorm1d, size: int, where: str) -> list[Layer]:
    _require(module.track_running_stats, where, "track_running_stats=False", "keep running statistics")
    affine = ("weight", "bias") if module.affine else ()
    weights = tuple(_array(getattr(module, name)) for name in (*affine, "running_mean", "running_var"))
    return [Layer("batchnorm", module.num_features, module.num_features, weights, {"epsilon": module.eps})]


@lower.register(nn.PReLU)
@lower.register(nn.LeakyReLU)
def _prelu(module: nn.PReLU | nn.LeakyReLU, size: int, where: str) -> list[Layer]:
    slope = _array(module.weight) if isinstance(module, nn.PReLU) else np.array([module.negative_slope])
    slopes = np.full(size, slope[0]) if len(slope) == 1 else slope
    return [Layer("prelu", len(slopes), len(slopes), (slopes[None],))]


@lower.register
def _elu(module: nn.ELU, size: int, where: str) -> list[Layer]:
    _require(module.alpha == 1, where, f"alpha={module.alpha}", "use alpha=1: the loader knows no other")
    return [Layer("activation", size, size, activation="elu")]


@lower.register
def _softmax(module: nn.Softmax, size: int, where: str) -> list[Layer]:
    _require(module.dim == -1, where, f"dim={module.dim}", "use dim=-1, the columns of a frame")
    return [Layer("activation", size, size, activation="softmax")]


@lower.register(nn.Tanh)
@lower.register(nn.ReLU)
@lower.register(nn.Sigmoid)
def _activation(module: nn.Module, size: int, where: str) -> list[Layer]:
    names: dict[type[nn.Module], str] = {nn.Tanh: "tanh", nn.ReLU: "relu", nn.Sigmoid: "sigmoid"}
    return [
        Layer("activation", size, size, activation=next(n for kind, n in names.items() if isinstance(module, kind)))
    ]
