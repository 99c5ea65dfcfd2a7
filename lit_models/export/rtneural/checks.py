"""Shape checks: the weights of one layer against its declared sizes, a function a type."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import (
    ChainError,
    DeclaredShapeError,
    FormatError,
    GateSizeError,
    KernelError,
    MissingBiasError,
    MissingKeyError,
    NonFiniteWeightsError,
    RaggedWeightsError,
    TransposedWeightsError,
    ValueRangeError,
)

Record = Mapping[str, Any]
Check = Callable[[Record, int, int, str], None]
"""(layer, numbers a frame that reach it, that it declares to give, where) -> raises what is wrong."""


MOST_REMEMBERED = 2**26
"""Numbers that a convolution keeps of the past: 256 MB in float32."""


def _must(holds: bool, error: type[FormatError], message: str) -> None:
    if not holds:
        raise error(message)


def _array(layer: Record, index: int, axes: int, where: str) -> NDArray[np.float32]:
    """One entry of ``weights``: a rectangular array of finite float32 numbers with ``axes`` axes."""
    try:
        values = np.asarray(layer["weights"][index])
    except ValueError as error:
        raise RaggedWeightsError(f"{where}: weights[{index}] has rows of unequal length.") from error
    numeric = values.dtype.kind in "if"
    kind = f"the shape {values.shape}" if numeric else "no numbers"
    message = f"{where}: weights[{index}] has {kind}; it must be {axes}-dimensional numbers."
    _must(values.ndim == axes and numeric and values.size > 0, RaggedWeightsError, message)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    for place in np.argwhere(~np.isfinite(narrow))[:1].tolist():
        value = values[tuple(place)]
        raise NonFiniteWeightsError(f"{where}: weights[{index}]{place} is {value}, no finite float32.")
    return narrow


def _whole(layer: Record, key: str, where: str, default: int | None = None) -> int:
    """A whole number from 1, or the last of an array of them."""
    if key not in layer:
        _must(default is not None, MissingKeyError, f"{where}: the key {key!r} is missing; the loader would throw.")
        return default or 0
    value = layer[key][-1] if isinstance(layer[key], list) and layer[key] else layer[key]
    kind = KernelError if key in ("kernel_size", "dilation", "groups") else ValueRangeError
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    _must(is_whole, kind, f"{where}: {key} is {layer[key]!r}; it must be a whole number from 1.")
    return int(value)


def _remembered(layer: Record, taps: int, width: int, where: str) -> None:
    """Refuse a dilation whose frames of the past fit no memory of a runtime."""
    dilation = _whole(layer, "dilation", where)
    values = taps * dilation * width
    _must(
        values <= MOST_REMEMBERED,
        KernelError,
        f"{where}: {taps} taps, {dilation} frames apart, keep {values:,} numbers of the past; {MOST_REMEMBERED:,} are "
        "the most.",
    )


def _count(layer: Record, counts: tuple[int, ...], where: str) -> None:
    """Refuse another number of arrays."""
    found = len(layer["weights"])
    if found in counts:
        return
    if found == counts[-1] - 1 and len(counts) == 1 and found:
        raise MissingBiasError(f"{where}: the bias is missing; the loader would throw.")
    raise MissingKeyError(f"{where}: weights holds {found} arrays instead of {' or '.join(map(str, counts))}.")


def _matrix(values: NDArray[np.float32], size_in: int, size: int, where: str) -> None:
    """Refuse a matrix that is not [in][out]."""
    transposed = values.shape == (size, size_in) and size != size_in
    _must(
        not transposed, TransposedWeightsError, f"{where}: weights[0] is [{size}][{size_in}], out by in. Transpose it."
    )
    taken = f"{where}: weights[0] takes {len(values)} numbers a frame, and {size_in} reach the layer."
    _must(len(values) == size_in, ChainError, taken)


def _declared(found: int, size: int, where: str, what: str) -> None:
    """Refuse an array that is longer or shorter than the declared size."""
    _must(found == size, DeclaredShapeError, f"{where}: shape declares {size} outputs, {what} has {found}.")


def _unchanged(size_in: int, size: int, where: str) -> None:
    """Refuse a layer that declares another size than it gets, though it cannot change it."""
    _must(size_in == size, ChainError, f"{where}: shape declares {size} outputs, and {size_in} reach the layer.")


def dense(layer: Record, size_in: int, size: int, where: str) -> None:
    """[in][out], and [out] where there is a bias."""
    _count(layer, (1, 2), where)
    kernel = _array(layer, 0, 2, where)
    _matrix(kernel, size_in, size, where)
    _declared(kernel.shape[1], size, where, "the matrix")
    if len(layer["weights"]) == 2:
        _declared(len(_array(layer, 1, 1, where)), size, where, "the bias")


def conv1d(layer: Record, size_in: int, size: int, where: str) -> None:
    """[tap][in / groups][out], and [out]."""
    taps, groups = _whole(layer, "kernel_size", where), _whole(layer, "groups", where, default=1)
    _remembered(layer, taps, size_in, where)
    _count(layer, (2,), where)
    kernel = _array(layer, 0, 3, where)
    if size_in % groups or size % groups:
        raise KernelError(f"{where}: {size_in} inputs and {size} outputs do not divide into groups={groups}.")
    wanted = (taps, size_in // groups, size)
    if kernel.shape == wanted[::-1] != wanted:
        raise TransposedWeightsError(f"{where}: weights[0] is [out][in / groups][tap]. Reverse its axes.")
    if len(kernel) != taps:
        raise KernelError(f"{where}: kernel_size is {taps}, weights[0] has {len(kernel)} taps.")
    if kernel.shape[1] != wanted[1]:
        if kernel.shape[1] == size_in or (size_in % kernel.shape[1] == 0 and size % (size_in // kernel.shape[1]) == 0):
            right = size_in // kernel.shape[1]
            raise KernelError(f"{where}: groups is {groups}; {kernel.shape[1]} rows a tap make it {right}.")
        raise ChainError(f"{where}: weights[0] takes {kernel.shape[1] * groups} numbers a frame; {size_in} reach it.")
    _declared(kernel.shape[2], size, where, "the kernel")
    _declared(len(_array(layer, 1, 1, where)), size, where, "the bias")


def conv2d(layer: Record, size_in: int, size: int, where: str) -> None:
    """[tap][width][filter in][filter out], and [filter out]."""
    names = ("kernel_size_time", "kernel_size_feature", "num_filters_in", "num_filters_out")
    taps, width, filters, filters_out = (_whole(layer, key, where) for key in names)
    columns, stride = _whole(layer, "num_features_in", where), _whole(layer, "strides", where)
    _remembered(layer, taps, columns * filters_out, where)
    if layer.get("padding") not in ("same", "valid"):
        raise ValueRangeError(f"{where}: padding is {layer.get('padding')!r}; it must be 'same' or 'valid'.")
    _count(layer, (2,), where)
    _unchanged(size_in, columns * filters, f"{where}, num_features_in x num_filters_in")
    kernel = _array(layer, 0, 4, where)
    if kernel.shape != (taps, width, filters, filters_out):
        raise KernelError(f"{where}: weights[0] is {kernel.shape} instead of {(taps, width, filters, filters_out)}.")
    out = -(-columns // stride) if layer["padding"] == "same" else -(-(columns - width + 1) // stride)
    _declared(out * filters_out, size, where, "the convolution")
    _declared(len(_array(layer, 1, 1, where)), filters_out, where, "the bias")


def recurrent(layer: Record, size_in: int, size: int, where: str) -> None:
    """[in][gates * H], [H][gates * H], and [4H] (LSTM) or [2][3H] (GRU)."""
    gates = {"lstm": 4, "gru": 3}[layer["type"]]
    _count(layer, (3,), where)
    kernel, loop = _array(layer, 0, 2, where), _array(layer, 1, 2, where)
    bias = _array(layer, 2, 1 if gates == 4 else 2, where)
    units = gates * size
    _matrix(kernel, size_in, units, where)
    if loop.shape == (units, size):
        raise TransposedWeightsError(f"{where}: weights[1] is [{units}][{size}], out by in. Transpose it.")
    wanted = ((size_in, units), (size, units), (units,) if gates == 4 else (2, units))
    for index, (values, shape) in enumerate(zip((kernel, loop, bias), wanted, strict=True)):
        if values.shape != shape:
            is_, should = list(values.shape), list(shape)
            raise GateSizeError(
                f"{where}: weights[{index}] is {is_} instead of {should}: {gates} gates of {size} units."
            )


def batchnorm(layer: Record, size_in: int, size: int, where: str) -> None:
    """[gamma, beta, mean, var] or [mean, var]; of each column, or of each filter."""
    _unchanged(size_in, size, where)
    epsilon = layer.get("epsilon")
    if epsilon is None:
        raise MissingKeyError(f"{where}: the key 'epsilon' is missing; the loader would throw.")
    if not isinstance(epsilon, int | float) or not 0 <= epsilon < 3e38:  # of float32
        raise ValueRangeError(f"{where}: epsilon is {epsilon!r}; it must be a number from 0.")
    _count(layer, (2, 4), where)
    length = size_in
    if layer["type"] == "batchnorm2d":
        length = _whole(layer, "num_filters_in", where)
        _unchanged(size_in, length * _whole(layer, "num_features_in", where), where)
    for index in range(len(layer["weights"])):
        _declared(len(_array(layer, index, 1, where)), length, where, f"weights[{index}]")
    variance = _array(layer, len(layer["weights"]) - 1, 1, where)
    if (variance + np.float32(epsilon) <= 0).any():
        raise ValueRangeError(f"{where}: variance + epsilon is {float(variance.min() + epsilon)}; it must be above 0.")


def prelu(layer: Record, size_in: int, size: int, where: str) -> None:
    """[[slope of each column]], or one slope for all."""
    _unchanged(size_in, size, where)
    _count(layer, (1,), where)
    slopes = _array(layer, 0, 2, where)
    if slopes.shape not in ((1, size_in), (1, 1)):
        raise DeclaredShapeError(f"{where}: weights[0] is {list(slopes.shape)} instead of [1][{size_in}].")


def activation(layer: Record, size_in: int, size: int, where: str) -> None:
    """No weights."""
    _unchanged(size_in, size, where)


CHECKS: dict[str, Check] = {
    "dense": dense,
    "time-distributed-dense": dense,
    "conv1d": conv1d,
    "conv2d": conv2d,
    "lstm": recurrent,
    "gru": recurrent,
    "batchnorm": batchnorm,
    "batchnorm2d": batchnorm,
    "prelu": prelu,
    "activation": activation,
}
