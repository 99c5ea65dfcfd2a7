"""Reference interpreter: what RTNeural computes from a file, frame by frame, in NumPy, knowing nothing of PyTorch.

Written from the format: a dense matrix is [in][out]; a kernel [tap][in / groups][out] whose last tap meets the newest
frame; gates stand in the order i, f, g, o (LSTM) and z, r, n (GRU). States are zero after ``reset``.
"""

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


class Step:
    """One layer: a frame in, a frame out.

    Args:
        function: of a frame (in,), where the layer remembers nothing.
    """

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self.function = function

    def __call__(self, x: Array) -> Array:
        """Take a frame (in,) and give one (out,)."""
        return self.function(x)

    def reset(self) -> None:
        """Forget all frames."""


class Delayed(Step):
    """A layer that sees frames ``dilation`` apart; before the first there were zeros.

    Args:
        taps: number of frames.
        shape: of a frame.
        dilation: from tap to tap.
        dtype: of the frames.
    """

    def __init__(self, taps: int, shape: tuple[int, ...], dilation: int, dtype: DTypeLike) -> None:
        self.dilation = dilation
        self.past = np.zeros(((taps - 1) * dilation + 1, *shape), dtype)

    def remember(self, x: Array, inside: slice = slice(None)) -> Array:
        """Frames that the taps meet (taps, ...), the newest, of which ``inside`` is ``x``, last."""
        self.past[:-1] = self.past[1:]
        self.past[-1, inside] = x
        return self.past[:: self.dilation]

    def reset(self) -> None:
        """Forget all frames."""
        self.past[:] = 0


class Conv1D(Delayed):
    """A causal convolution over frames."""

    def __init__(self, weights: list[Array], dilation: int, groups: int) -> None:
        kernel, self.bias = weights
        taps, rows, size = kernel.shape
        whole = np.zeros((taps, rows * groups, size), kernel.dtype)
        for group, outputs in enumerate(np.split(np.arange(size), groups)):
            whole[:, group * rows : (group + 1) * rows, outputs] = kernel[:, :, outputs]
        self.kernel = whole.reshape(-1, size)
        super().__init__(taps, (rows * groups,), dilation, kernel.dtype)

    def __call__(self, x: Array) -> Array:
        """Meet all taps."""
        return np.asarray(self.remember(x).reshape(-1) @ self.kernel + self.bias)


class Conv2D(Delayed):
    """A convolution over time (causal) and the columns of a frame, which is [column][filter]."""

    def __init__(self, weights: list[Array], columns: int, dilation: int, stride: int, padding: str) -> None:
        self.kernel, self.bias = weights  # (time, column, filter in, filter out)
        taps, width, filters, _ = self.kernel.shape
        out = -(-columns // stride) if padding == "same" else -(-(columns - width + 1) // stride)
        total = max((out - 1) * stride + width - columns, 0) if padding == "same" else 0
        self.starts = range(0, out * stride, stride)
        self.inside = slice(total // 2, total // 2 + columns)
        super().__init__(taps, (columns + total, filters), dilation, self.kernel.dtype)

    def __call__(self, x: Array) -> Array:
        """Slide over the columns."""
        taps, width = self.remember(x.reshape(-1, self.past.shape[-1]), self.inside), self.kernel.shape[1]
        rows = [np.tensordot(taps[:, s : s + width], self.kernel, axes=3) + self.bias for s in self.starts]
        return np.concatenate(rows)


class Recurrent(Step):
    """A layer that remembers its output h and, of an LSTM, its cell c."""

    h: Array
    c: Array

    def __init__(self, weights: list[Array]) -> None:
        self.kernel, self.recurrent, self.bias = weights
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.h = self.c = np.zeros(len(self.recurrent), self.kernel.dtype)


class LSTM(Recurrent):
    """A long short-term memory with gates i, f, g, o and one bias."""

    def __call__(self, x: Array) -> Array:
        """One step."""
        i, f, g, o = (x @ self.kernel + self.h @ self.recurrent + self.bias).reshape(4, -1)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        return self.h


class GRU(Recurrent):
    """A gated recurrent unit with gates z, r, n; the reset gate meets the recurrent bias too."""

    def __call__(self, x: Array) -> Array:
        """One step."""
        z, r, n = (x @ self.kernel + self.bias[0]).reshape(3, -1)
        z_h, r_h, n_h = (self.h @ self.recurrent + self.bias[1]).reshape(3, -1)
        z = sigmoid(z + z_h)
        self.h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * self.h
        return self.h


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
                steps = [Step(lambda x: x @ weights[0] + weights[1] if len(weights) > 1 else x @ weights[0])]
            case "conv1d":
                steps = [Conv1D(weights, last(layer["dilation"]), layer.get("groups", 1))]
            case "conv2d":
                columns, dilation, stride = (last(layer[k]) for k in ("num_features_in", "dilation", "strides"))
                steps = [Conv2D(weights, columns, dilation, stride, layer["padding"])]
            case "lstm" | "gru":
                return [(LSTM if layer["type"] == "lstm" else GRU)(weights)]
            case "batchnorm" | "batchnorm2d":
                return [Step(_batch_norm(weights, layer["epsilon"]))]
            case "prelu":
                return [Step(lambda x: np.where(x >= 0, x, weights[0][0] * x))]
        return [*steps, Step(ACTIVATIONS[layer["activation"]])] if layer.get("activation") else steps

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


def _batch_norm(weights: list[Array], epsilon: float) -> Callable[[Array], Array]:
    """Gamma (x - mean) / sqrt(var + epsilon) + beta; of a frame [column][filter], a filter at a time."""
    *affine, mean, var = weights
    gamma, beta = affine or (np.ones_like(var), np.zeros_like(var))
    scale = gamma / np.sqrt(var + var.dtype.type(epsilon))
    return lambda x: ((x.reshape(-1, len(mean)) - mean) * scale + beta).reshape(-1)
