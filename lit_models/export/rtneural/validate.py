"""Format validation: a file is refused that RTNeural would not read as it is meant.

The real loader leaves an unknown layer out, crashes on an unknown activation and reads past the end of a short bias;
here each of these is an error with a name and a place, before any runtime sees the file.
"""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from litmotif.bounds import read_text, require_shallow
from litmotif.errors import DataError

from .checks import CHECKS, Record
from .errors import (
    FormatError,
    MissingKeyError,
    NonFiniteWeightsError,
    NotJSONError,
    UnknownActivationError,
    UnknownLayerError,
    ValueRangeError,
)
from .interpret import ACTIVATIONS

MOST_VALUES = 10**8
"""Numbers in a file: more than runs in real time anywhere."""
ACTIVATED = ("dense", "time-distributed-dense", "conv1d", "conv2d", "activation")
"""Layers whose ``activation`` the loader follows; on others it is ignored."""


def read(path: Path) -> dict[str, Any]:
    """Read and validate a file.

    Raises:
        FileNotFoundError: there is none.
        FormatError: what is wrong with it, and where; see ``errors``.
    """

    def refuse(constant: str) -> None:
        raise NonFiniteWeightsError(f"{path}: {constant} stands in the file; JSON has no such number.")

    if not path.exists():
        raise FileNotFoundError(f"{path} is missing. Export the model again.")
    try:
        model = json.loads(read_text(path), parse_constant=refuse)
        require_shallow(model, path, MOST_VALUES)
    except (DataError, ValueError, RecursionError) as error:  # of Python: no JSON, numbers of thousands of digits
        if isinstance(error, FormatError):
            raise
        raise NotJSONError(f"{path} is no JSON of a model: {error} Export the model again.") from error
    validate(model, str(path))
    return dict(model)


def validate(model: Any, name: str = "model") -> None:
    """Refuse what the loader would not read as it is meant.

    Args:
        model: the content of a file.
        name: of the file, for messages.

    Raises:
        FormatError: what is wrong, and where; see ``errors``.
    """
    if not isinstance(model, Mapping):
        raise NotJSONError(f"{name}: the root is a {type(model).__name__}, not an object with in_shape and layers.")
    for key in ("in_shape", "layers"):
        if key not in model:
            raise MissingKeyError(f"{name}: the key {key!r} is missing; the loader would throw.")
    if not isinstance(model["layers"], list) or not model["layers"]:
        raise ValueRangeError(f"{name}: layers must be an array with at least one layer.")
    size = frame_size(model["in_shape"], f"{name}: in_shape")
    for number, layer in enumerate(model["layers"]):
        size = _layer(layer, size, f"{name}: layers[{number}]")


def _layer(layer: Any, size_in: int, where: str) -> int:
    if not isinstance(layer, Mapping):
        raise ValueRangeError(f"{where} is a {type(layer).__name__}, not an object.")
    for key in ("type", "shape", "weights"):
        if key not in layer:
            raise MissingKeyError(f"{where}: the key {key!r} is missing; the loader would throw.")
    if not isinstance(layer["type"], str) or layer["type"] not in CHECKS:
        raise UnknownLayerError(
            f"{where}: the loader knows no type {layer['type']!r} and would leave the layer out. It knows "
            f"{', '.join(CHECKS)}."
        )
    where = f"{where} ({layer['type']})"
    if not isinstance(layer["weights"], list):
        raise ValueRangeError(f"{where}: weights is a {type(layer['weights']).__name__}, not an array.")
    _activation(layer, where)
    size = frame_size(layer["shape"], f"{where}: shape")
    CHECKS[layer["type"]](layer, size_in, size, where)
    return size


def _activation(layer: Record, where: str) -> None:
    name = layer.get("activation", "")
    if layer["type"] in ACTIVATED:
        if (not isinstance(name, str) or name not in ACTIVATIONS) and (name != "" or layer["type"] == "activation"):
            known = ", ".join(ACTIVATIONS)
            raise UnknownActivationError(f"{where}: activation is {name!r}; the loader knows {known}, in lower case.")
    elif name not in ("", "tanh" if layer["type"] in ("lstm", "gru") else ""):
        raise UnknownActivationError(f"{where}: activation {name!r} would be ignored; make it a layer of its own.")


def frame_size(shape: Any, where: str) -> int:
    """Numbers a frame that a shape declares: its last; of four, the product of the last two.

    Raises:
        ValueRangeError: it declares none.
    """
    numbers = (
        shape[2:] if isinstance(shape, list) and len(shape) == 4 else shape[-1:] if isinstance(shape, list) else []
    )
    if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers):
        raise ValueRangeError(f"{where} is {shape!r}; it must be an array that ends with a whole number from 1.")
    return prod(numbers)
