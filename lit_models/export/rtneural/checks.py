"""The weights of one layer against its declared sizes, a function a type."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import (
    ChainError,
    DeclaredShapeError,
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


def array(layer: Record, index: int, axes: int, where: str) -> NDArray[np.float32]:
    """One entry of ``weights``.

    Raises:
        RaggedWeightsError: not a rectangular array of numbers with ``axes`` axes.
        NonFiniteWeightsError: NaN, an infinity, or beyond float32.
    """
    try:
        values = np.asarray(layer["weights"][index])
    except ValueError as error:
        raise RaggedWeightsError(f"{where}: weights[{index}] has rows of unequal length.") from error
    if values.ndim != axes or values.dtype.kind not in "if" or not values.size:
        kind = "no numbers" if values.dtype.kind not in "if" else f"the shape {values.shape}"
        raise RaggedWeightsError(f"{where}: weights[{index}] has {kind}; it must be {axes}-dimensional numbers.")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.isfinite(narrow).all():
        place = [int(i) for i in np.argwhere(~np.isfinite(narrow))[0]]
        raise NonFiniteWeightsError(f"{where}: weights[{index}]{place} is {values[tuple(place)]}, no finite float32.")
    return narrow


def whole(layer: Record, key: str, where: str, least: int = 1, default: int | None = None) -> int:
    """A whole number, or the last of an array of them.

    Raises:
        MissingKeyError: there is none.
        ValueRangeError: it is none, or below ``least``.
    """
    if key not in layer:
        if default is None:
            raise MissingKeyError(f"{where}: the key {key!r} is missing; the loader would throw.")
        return default
    value = layer[key][-1] if isinstance(layer[key], list) and layer[key] else layer[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        kind = KernelError if key in ("kernel_size", "dilation", "groups") else ValueRangeError
        raise kind(f"{where}: {key} is {layer[key]!r}; it must be a whole number from {least}.")
    return value


def number_of_weights(layer: Record, counts: tuple[int, ...], where: str) -> None:
    """Refuse another number of arrays.

    Raises:
        MissingBiasError: only the bias is missing.
        MissingKeyError: something else.
    """
    found = len(layer["weights"])
    if found in counts:
        return
    if found == counts[-1] - 1 and len(counts) == 1 and found:
        raise MissingBiasError(f"{where}: the bias is missing; the loader would throw.")
    raise MissingKeyError(f"{where}: weights holds {found} arrays instead of {' or '.join(map(str, counts))}.")


def matrix(values: NDArray[np.float32], size_in: int, size: int, where: str) -> None:
    """Refuse a matrix that is not [in][out].

    Raises:
        TransposedWeightsError: it is [out][in].
        ChainError: it takes another number than reaches it.
    """
    if values.shape == (size, size_in) and size != size_in:
        raise TransposedWeightsError(f"{where}: weights[0] is [{size}][{size_in}], out by in. Transpose it.")
    if len(values) != size_in:
        raise ChainError(f"{where}: weights[0] takes {len(values)} numbers a frame, and {size_in} reach the layer.")


def declared(found: int, size: int, where: str, what: str) -> None:
    """Refuse an array that is longer or shorter than the declared size.

    Raises:
        DeclaredShapeError: names both.
    """
    if found != size:
        raise DeclaredShapeError(f"{where}: shape declares {size} outputs, {what} has {found}.")


def unchanged(size_in: int, size: int, where: str) -> None:
    """Refuse a layer that declares another size than it gets, though it cannot change it.

    Raises:
        ChainError: names both.
    """
    if size_in != size:
        raise ChainError(f"{where}: shape declares {size} outputs, and {size_in} reach the layer.")


def dense(layer: Record, size_in: int, size: int, where: str) -> None:
    """[in][out], and [out] where there is a bias."""
    number_of_weights(layer, (1, 2), where)
    kernel = array(layer, 0, 2, where)
    matrix(kernel, size_in, size, where)
    declared(kernel.shape[1], size, where, "the matrix")
    if len(layer["weights"]) == 2:
        declared(len(array(layer, 1, 1, where)), size, where, "the bias")


def conv1d(layer: Record, size_in: int, size: int, where: str) -> None:
    """[tap][in / groups][out], and [out]."""
    taps, groups = whole(layer, "kernel_size", where), whole(layer, "groups", where, default=1)
    whole(layer, "dilation", where)
    number_of_weights(layer, (2,), where)
    kernel = array(layer, 0, 3, where)
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
    declared(kernel.shape[2], size, where, "the kernel")
    declared(len(array(layer, 1, 1, where)), size, where, "the bias")


def conv2d(layer: Record, size_in: int, size: int, where: str) -> None:
    """[tap][width][filter in][filter out], and [filter out]."""
    names = ("kernel_size_time", "kernel_size_feature", "num_filters_in", "num_filters_out")
    taps, width, filters, filters_out = (whole(layer, key, where) for key in names)
    columns, stride = whole(layer, "num_features_in", where), whole(layer, "strides", where)
    whole(layer, "dilation", where)
    if layer.get("padding") not in ("same", "valid"):
        raise ValueRangeError(f"{where}: padding is {layer.get('padding')!r}; it must be 'same' or 'valid'.")
    number_of_weights(layer, (2,), where)
    unchanged(size_in, columns * filters, f"{where}, num_features_in x num_filters_in")
    kernel = array(layer, 0, 4, where)
    if kernel.shape != (taps, width, filters, filters_out):
        raise KernelError(f"{where}: weights[0] is {kernel.shape} instead of {(taps, width, filters, filters_out)}.")
    out = -(-columns // stride) if layer["padding"] == "same" else -(-(columns - width + 1) // stride)
    declared(out * filters_out, size, where, "the convolution")
    declared(len(array(layer, 1, 1, where)), filters_out, where, "the bias")


def recurrent(layer: Record, size_in: int, size: int, where: str) -> None:
    """[in][gates * H], [H][gates * H], and [4H] (LSTM) or [2][3H] (GRU)."""
    gates = {"lstm": 4, "gru": 3}[layer["type"]]
    number_of_weights(layer, (3,), where)
    kernel, loop = array(layer, 0, 2, where), array(layer, 1, 2, where)
    bias = array(layer, 2, 1 if gates == 4 else 2, where)
    units = gates * size
    matrix(kernel, size_in, units, where)
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
    unchanged(size_in, size, where)
    epsilon = layer.get("epsilon")
    if epsilon is None:
        raise MissingKeyError(f"{where}: the key 'epsilon' is missing; the loader would throw.")
    if not isinstance(epsilon, int | float) or not 0 <= epsilon < float("inf"):
        raise ValueRangeError(f"{where}: epsilon is {epsilon!r}; it must be a number from 0.")
    number_of_weights(layer, (2, 4), where)
    length = size_in
    if layer["type"] == "batchnorm2d":
        length = whole(layer, "num_filters_in", where)
        unchanged(size_in, length * whole(layer, "num_features_in", where), where)
    for index in range(len(layer["weights"])):
        declared(len(array(layer, index, 1, where)), length, where, f"weights[{index}]")
    variance = array(layer, len(layer["weights"]) - 1, 1, where)
    if (variance + np.float32(epsilon) <= 0).any():
        raise ValueRangeError(f"{where}: variance + epsilon is {float(variance.min() + epsilon)}; it must be above 0.")


def prelu(layer: Record, size_in: int, size: int, where: str) -> None:
    """[[slope of each column]], or one slope for all."""
    unchanged(size_in, size, where)
    number_of_weights(layer, (1,), where)
    slopes = array(layer, 0, 2, where)
    if slopes.shape not in ((1, size_in), (1, 1)):
        raise DeclaredShapeError(f"{where}: weights[0] is {list(slopes.shape)} instead of [1][{size_in}].")


def activation(layer: Record, size_in: int, size: int, where: str) -> None:
    """No weights."""
    unchanged(size_in, size, where)


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
