"""JSON writer: from a chain of PyTorch's layers to RTNeural's dynamic format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from litmotif.files import write_atomically

from .errors import ExportError, UnsupportedLayerError
from .fold import fold_all, join_activations, normaliser
from .layer import as_text
from .lower import lower_all


def to_rtneural(
    layers: Sequence[nn.Module],
    input_size: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    fold_batchnorm: bool = True,
    root: nn.Module | None = None,
) -> dict[str, Any]:
    """The dynamic JSON format of RTNeural as a dictionary.

    Each weight is the number with the shortest text that reads as the same float32.

    Args:
        layers: the chain that one frame after the other goes through, in evaluation mode.
        input_size: numbers F of a raw frame.
        mean: subtracted from each column of a raw frame, before the chain; None for 0.
        std: divides each column then; None for 1. Both go into the first matrix where that is exact, else into a
            batchnorm layer at the head.
        fold_batchnorm: fold batch normalisation into its neighbour where that is exact; False keeps it as a layer.
        root: module whose names of the layers are used in messages; None counts them.

    Raises:
        UnsupportedLayerError: the format cannot express a layer; names its path, class and the remedy.
        ExportError: the layers are no chain, or ``mean`` and ``std`` do not fit the frame.
    """
    chain = lower_all(_paths(layers, root), input_size)
    if not chain:
        raise ExportError("There is no layer to write: export_layers() is empty, or holds only Identity and Dropout.")
    if mean is not None or std is not None:
        if chain[0].one_hot:
            raise UnsupportedLayerError("The input of an Embedding is one-hot: leave mean and std out.")
        norm = normaliser(_column("mean", mean, 0.0, input_size), _column("std", std, 1.0, input_size))
        chain = [norm, *chain] if fold_batchnorm else fold_all([norm, chain[0]]) + chain[1:]
    chain = join_activations(fold_all(chain) if fold_batchnorm else chain)
    return {"in_shape": [None, None, input_size], "layers": [layer.record() for layer in chain]}


def _paths(layers: Sequence[nn.Module], root: nn.Module | None) -> dict[str, nn.Module]:
    names = {id(module): name for name, module in root.named_modules()} if root is not None else {}
    paths = [names.get(id(layer)) or f"layers[{number}]" for number, layer in enumerate(layers)]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise ExportError(f"{twice[0]} stands in the chain more than once: give each place a layer of its own.")
    return dict(zip(paths, layers, strict=True))


def _column(name: str, values: Sequence[float] | None, neutral: float, size: int) -> Any:
    given = np.full(size, neutral) if values is None else np.asarray(values, np.float64)
    if given.shape != (size,):
        raise ExportError(f"{name} has shape {given.shape} for frames of {size} columns: give one number a column.")
    if not np.isfinite(given).all() or (name == "std" and (given <= 0).any()):
        wrong = int(np.flatnonzero(~np.isfinite(given) | (given <= 0 if name == "std" else False))[0])
        raise ExportError(f"{name}[{wrong}] is {given[wrong]}: normalise by finite numbers, by a std above 0.")
    return given


def count_parameters(model: Mapping[str, Any]) -> int:
    """Numbers in the weights of a file."""
    return sum(np.size(weights) for layer in model["layers"] for weights in layer["weights"])


def write(model: Mapping[str, Any], path: Path) -> None:
    """Write the file whole or not at all.

    Raises:
        OSError: no space, or no permission.
        ValueError: a weight is NaN or infinite.
    """
    write_atomically(path, as_text(model).encode())
