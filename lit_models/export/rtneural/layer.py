"""Layer record: a layer as the file has it, in float64 until it is written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """One layer of the file.

    Attributes:
        type: its name in the format.
        in_size: numbers a frame that it takes.
        size: numbers a frame that it gives.
        weights: in the order and layout of the format.
        options: further keys, such as ``kernel_size``.
        activation: behind it, or empty; only dense, conv1d and activation have one.
        one_hot: whether its input is the one-hot of an index.
    """

    type: str
    in_size: int
    size: int
    weights: tuple[Array, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = ""
    one_hot: bool = False

    def record(self) -> dict[str, Any]:
        """The layer as JSON has it."""
        named = {"activation": self.activation} if self.activation else {}
        weights = [shortest(values) for values in self.weights]
        shape = [None, None, self.size]
        return {"type": self.type, **named, "shape": shape, **self.options, "weights": weights}


def shortest(values: Array) -> Any:
    """Nested lists of the numbers whose text is the shortest that reads as the same float32.

    A reader may take the text as float64 and round it to float32 (nlohmann does): that is checked to give the same
    bits, and a number where it does not keeps all its digits.
    """
    with np.errstate(over="ignore"):  # an infinity is for the validator to name
        exact = values.astype(np.float32)
    short = exact.astype(str).astype(np.float64)
    return np.where(short.astype(np.float32) == exact, short, exact.astype(np.float64)).tolist()


def as_text(model: Mapping[str, Any]) -> str:
    """The file: JSON with one layer a line.

    Raises:
        ValueError: a weight is NaN or infinite, which JSON does not have.
    """

    def dump(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    head = ",".join(f"{dump(key)}:{dump(value)}" for key, value in model.items() if key != "layers")
    return "{" + head + ',"layers":[\n' + ",\n".join(dump(layer) for layer in model["layers"]) + "\n]}\n"
