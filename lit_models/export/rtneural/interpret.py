"""What RTNeural computes from a file, frame by frame, in NumPy: a reference that knows nothing of PyTorch.

Written from the format: a dense matrix is [in][out]; a kernel [tap][in / groups][out] whose last tap meets the newest
frame; gates stand in the order i, f, g, o (LSTM) and z, r, n (GRU). States are zero after ``reset``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def softmax(x: Array) -> Array:
    """exp(x) over its sum, without subtracting the largest: as the runtime does, so a logit above 88 overflows."""
    e = np.exp(x)
    return np.asarray(e / e.sum())


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "softmax": softmax,
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
}


class Step(ABC):
    """One layer: a frame in, a frame out."""

    @abstractmethod
    def __call__(self, x: Array) -> Array:
        """Take a frame (in,) and give one (out,)."""

    def reset(self) -> None:  # noqa: B027 most layers remember nothing
        """Forget all frames."""


class Dense(Step):
    """x W + b."""

    def __init__(self, weights: list[Array]) -> None:
        self.kernel = weights[0]
        self.bias = weights[1] if len(weights) > 1 else np.zeros_like(self.kernel[0])

    def __call__(self, x: Array) -> Array:
        """Multiply and add."""
        return np.asarray(x @ self.kernel + self.bias)


class Conv1D(Step):
    """A causal convolution over frames; before the first there were zeros."""

    def __init__(self, weights: list[Array], dilation: int, groups: int) -> None:
        kernel, self.bias = weights
        taps, rows, size = kernel.shape
        whole = np.zeros((taps, rows * groups, size), kernel.dtype)
        for group, outputs in enumerate(np.split(np.arange(size), groups)):
            whole[:, group * rows : (group + 1) * rows, outputs] = kernel[:, :, outputs]
        self.kernel = whole.reshape(-1, size)
        self.dilation = dilation
        self.past = np.zeros(((taps - 1) * dilation + 1, rows * groups), kernel.dtype)

    def __call__(self, x: Array) -> Array:
        """Remember the frame, then meet all taps."""
        self.past[:-1] = self.past[1:]
        self.past[-1] = x
        return np.asarray(self.past[:: self.dilation].reshape(-1) @ self.kernel + self.bias)

    def reset(self) -> None:
        """Forget all frames."""
        self.past[:] = 0


class Conv2D(Step):
    """A convolution over time (causal) and the columns of a frame, which is [column][filter]."""

    def __init__(self, weights: list[Array], columns: int, dilation: int, stride: int, padding: str) -> None:
        self.kernel, self.bias = weights  # (time, column, filter in, filter out)
        self.dilation, self.stride = dilation, stride
        taps, width, filters, _ = self.kernel.shape
        out = -(-columns // stride) if padding == "same" else -(-(columns - width + 1) // stride)
        total = max((out - 1) * stride + width - columns, 0) if padding == "same" else 0
        self.left, self.out = total // 2, out
        self.past = np.zeros(((taps - 1) * dilation + 1, columns + total, filters), self.kernel.dtype)
        self.inside = slice(self.left, self.left + columns)

    def __call__(self, x: Array) -> Array:
        """Remember the frame, then slide over its columns."""
        self.past[:-1] = self.past[1:]
        self.past[-1, self.inside] = x.reshape(-1, self.past.shape[-1])
        taps, width = self.past[:: self.dilation], self.kernel.shape[1]
        starts = range(0, self.out * self.stride, self.stride)
        rows = [np.tensordot(taps[:, s : s + width], self.kernel, axes=3) + self.bias for s in starts]
        return np.concatenate(rows)

    def reset(self) -> None:
        """Forget all frames."""
        self.past[:] = 0


class LSTM(Step):
    """A long short-term memory with gates i, f, g, o and one bias."""

    def __init__(self, weights: list[Array]) -> None:
        self.kernel, self.recurrent, self.bias = weights
        self.h = np.zeros(len(self.recurrent), self.kernel.dtype)
        self.c = self.h.copy()

    def __call__(self, x: Array) -> Array:
        """One step."""
        i, f, g, o = (x @ self.kernel + self.h @ self.recurrent + self.bias).reshape(4, -1)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        return self.h

    def reset(self) -> None:
        """Forget all frames."""
        self.h, self.c = np.zeros_like(self.h), np.zeros_like(self.c)


class GRU(Step):
    """A gated recurrent unit with gates z, r, n; the reset gate meets the recurrent bias too."""

    def __init__(self, weights: list[Array]) -> None:
        self.kernel, self.recurrent, self.bias = weights
        self.h = np.zeros(len(self.recurrent), self.kernel.dtype)

    def __call__(self, x: Array) -> Array:
        """One step."""
        z, r, n = (x @ self.kernel + self.bias[0]).reshape(3, -1)
        z_h, r_h, n_h = (self.h @ self.recurrent + self.bias[1]).reshape(3, -1)
        z = sigmoid(z + z_h)
        self.h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * self.h
        return self.h

    def reset(self) -> None:
        """Forget all frames."""
        self.h = np.zeros_like(self.h)


class BatchNorm(Step):
    """gamma (x - mean) / sqrt(var + epsilon) + beta; of a frame [column][filter], a filter at a time."""

    def __init__(self, weights: list[Array], epsilon: float) -> None:
        self.mean, var = weights[-2:]
        ones, zeros = np.ones_like(var), np.zeros_like(var)
        gamma, self.beta = weights[:2] if len(weights) == 4 else (ones, zeros)
        self.scale = gamma / np.sqrt(var + var.dtype.type(epsilon))

    def __call__(self, x: Array) -> Array:
        """Scale and shift."""
        return np.asarray((x.reshape(-1, len(self.mean)) - self.mean) * self.scale + self.beta).reshape(-1)


class PReLU(Step):
    """x where x >= 0, else a slope times x."""

    def __init__(self, weights: list[Array]) -> None:
        self.slope = weights[0][0]

    def __call__(self, x: Array) -> Array:
        """Bend."""
        return np.where(x >= 0, x, self.slope * x)


class Activation(Step):
    """A function of the frame."""

    def __init__(self, name: str) -> None:
        self.function = ACTIVATIONS[name]

    def __call__(self, x: Array) -> Array:
        """Apply it."""
        return self.function(x)


class Interpreter:
    """A file that passes ``validate``, run one frame at a time.

    Args:
        model: the file.
        dtype: float32 as the runtime computes, or float64.
    """

    def __init__(self, model: Mapping[str, Any], dtype: DTypeLike = np.float32) -> None:
        self.dtype = np.dtype(dtype)
        self.steps = [step for layer in model["layers"] for step in self._steps(layer)]

    def _steps(self, layer: Mapping[str, Any]) -> list[Step]:
        weights = [np.asarray(values, np.float32).astype(self.dtype) for values in layer["weights"]]
        steps: list[Step] = []
        match layer["type"]:
            case "dense" | "time-distributed-dense":
                steps = [Dense(weights)]
            case "conv1d":
                steps = [Conv1D(weights, last(layer["dilation"]), layer.get("groups", 1))]
            case "conv2d":
                columns, dilation, stride = (last(layer[k]) for k in ("num_features_in", "dilation", "strides"))
                steps = [Conv2D(weights, columns, dilation, stride, layer["padding"])]
            case "lstm":
                return [LSTM(weights)]
            case "gru":
                return [GRU(weights)]
            case "batchnorm" | "batchnorm2d":
                return [BatchNorm(weights, layer["epsilon"])]
            case "prelu":
                return [PReLU(weights)]
        return [*steps, Activation(layer["activation"])] if layer.get("activation") else steps

    def reset(self) -> None:
        """Forget all frames."""
        for step in self.steps:
            step.reset()

    def step(self, frame: Array) -> Array:
        """One frame (F,) in, one (K,) out; what was seen before is remembered."""
        x = np.asarray(frame, self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # exp may overflow, as in the runtime
            for step in self.steps:
                x = step(x)
        return x

    def run(self, frames: Array) -> Array:
        """Frames (T, F), the first of which is the first since ``reset``: (T, K)."""
        self.reset()
        return np.stack([self.step(frame) for frame in frames])


def last(value: Any) -> Any:
    """The last number of an array, or the number itself: the loader takes either."""
    return value[-1] if isinstance(value, list) else value
