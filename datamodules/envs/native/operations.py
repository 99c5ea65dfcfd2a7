"""Tensor operations as C expressions: what each does to single numbers, or to arrays of their names."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Names = NDArray[Any]
"""C expressions without operators (variables, places of arrays, literals), in the shape of a tensor."""

PREAMBLE = """
#include <math.h>
#include <stdbool.h>
static float erfinvf(float y) {
    float w = -logf((1.0f - y) * (1.0f + y)), x = w < 5.0f ? y * 0.886227f : copysignf(sqrtf(w), y);
    for (int i = 0; i < 30; i++) x -= (erff(x) - y) / (1.1283791671f * expf(-x * x) + 1e-30f);
    return x;
}
"""

ELEMENTWISE = {
    "abs": "(({0})<0?-({0}):({0}))",
    "neg": "(-{0})",
    "sqrt": "sqrtf({0})",
    "rsqrt": "(1.0f/sqrtf({0}))",
    "reciprocal": "(1.0f/{0})",
    "square": "({0}*{0})",
    "exp": "expf({0})",
    "expm1": "expm1f({0})",
    "log": "logf({0})",
    "log1p": "log1pf({0})",
    "sin": "sinf({0})",
    "cos": "cosf({0})",
    "tan": "tanf({0})",
    "asin": "asinf({0})",
    "acos": "acosf({0})",
    "atan": "atanf({0})",
    "tanh": "tanhf({0})",
    "sigmoid": "(1.0f/(1.0f+expf(-{0})))",
    "erfinv": "erfinvf({0})",
    "floor": "floorf({0})",
    "sign": "(({0}>0)-({0}<0))",
    "logical_not": "(!{0})",
    "isfinite": "isfinite({0})",
    "relu": "({0}<0?0:{0})",
    "mul": "({0}*{1})",
    "atan2": "atan2f({0},{1})",
    "hypot": "hypotf({0},{1})",
    "copysign": "copysignf({0},{1})",
    "minimum": "({0}<{1}?{0}:{1})",
    "maximum": "({0}>{1}?{0}:{1})",
    "gt": "({0}>{1})",
    "lt": "({0}<{1})",
    "ge": "({0}>={1})",
    "le": "({0}<={1})",
    "eq": "({0}=={1})",
    "ne": "({0}!={1})",
    "bitwise_and": "({0}&{1})",
    "bitwise_or": "({0}|{1})",
    "bitwise_xor": "({0}^{1})",
    "logical_and": "({0}&&{1})",
    "logical_or": "({0}||{1})",
    "__rshift__": "({0}>>{1})",
    "bitwise_right_shift": "({0}>>{1})",
    "where": "({0}?{1}:{2})",
    "masked_fill": "({1}?{2}:{0})",
    "lerp": "(fabsf({2})<0.5f?{0}+{2}*({1}-{0}):{1}-({1}-{0})*(1.0f-{2}))",
}
"""By the name of the operation; arguments in its order."""


def literal(value: Any) -> str:
    """A number of Python in C."""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return f"({int(value)}LL)"
    number = float(value)
    if not np.isfinite(number):
        return "NAN" if np.isnan(number) else "INFINITY" if number > 0 else "(-INFINITY)"
    return f"({number!r}f)" if number < 0 else f"{number!r}f"


def elementwise(template: str, *arguments: Any) -> Names:
    """A template for each number of the arguments, which broadcast."""
    arrays = [one if isinstance(one, np.ndarray) else np.array(literal(one), dtype=object) for one in arguments]
    spread = np.broadcast_arrays(*arrays)
    found = np.empty(spread[0].shape, dtype=object)
    for place in np.ndindex(found.shape):
        found[place] = template.format(*(one[place] for one in spread))
    return found


def _scaled(sign: str) -> Callable[..., Names]:
    def apply(one: Any, other: Any, alpha: Any = 1) -> Names:
        if alpha != 1:
            return elementwise(f"({{0}}{sign}{{2}}*{{1}})", one, other, alpha)
        return elementwise(f"({{0}}{sign}{{1}})", one, other)

    return apply


def _clamp(x: Names, low: Any = None, high: Any = None) -> Names:
    if low is None and high is None:
        return x
    if low is None or high is None:
        return elementwise("({0}>{1}?{1}:{0})" if low is None else "({0}<{1}?{1}:{0})", x, high if low is None else low)
    return elementwise("({0}<{1}?{1}:({0}>{2}?{2}:{0}))", x, low, high)


def _pow(x: Any, power: Any) -> Names:
    whole = {2: "({0}*{0})", 3: "({0}*{0}*{0})", 0.5: "sqrtf({0})", 1: "({0})"}
    if not isinstance(power, np.ndarray) and power in whole:
        return elementwise(whole[power], x)
    return elementwise("powf({0},{1})", x, power)


def fold(x: Names, dims: Any, keepdim: bool, join: Callable[[Sequence[str]], str]) -> Names:
    """One expression for the numbers along some axes."""
    axes = tuple(range(x.ndim)) if dims is None or dims == [] else tuple(np.atleast_1d(dims) % max(x.ndim, 1))
    others = [axis for axis in range(x.ndim) if axis not in axes]
    rows = x.transpose([*others, *axes]).reshape(*(x.shape[axis] for axis in others), -1)
    found = np.empty(rows.shape[:-1], dtype=object)
    for place in np.ndindex(found.shape):
        found[place] = join(list(rows[place]))
    return np.expand_dims(found, axes) if keepdim else found


def nested(function: str) -> Callable[[Sequence[str]], str]:
    """``f(f(a, b), c)``."""

    def join(names: Sequence[str]) -> str:
        found = names[0]
        for name in names[1:]:
            found = f"{function}({found},{name})"
        return found

    return join


def _bmm(one: Names, other: Names) -> Names:
    found = np.empty((*one.shape[:-1], other.shape[-1]), dtype=object)
    for *batch, row, column in np.ndindex(found.shape):
        pairs = zip(one[(*batch, row)], other[(*batch, slice(None), column)], strict=True)
        found[(*batch, row, column)] = "(" + "+".join(f"{a}*{b}" for a, b in pairs) + ")"
    return found


def _sum(x: Names, dims: Any = None, keepdim: bool = False, **_: Any) -> Names:
    return fold(x, dims, keepdim, lambda names: "(" + "+".join(names) + ")")


def _mean(x: Names, dims: Any = None, keepdim: bool = False, **_: Any) -> Names:
    return fold(x, dims, keepdim, lambda names: f"(({'+'.join(names)})/{len(names)}.0f)")


def _same(x: Names, *_: Any, **__: Any) -> Names:
    return x


ARRAYS: dict[str, Callable[..., Any]] = {
    "add": _scaled("+"),
    "sub": _scaled("-"),
    "rsub": lambda one, other, alpha=1: _scaled("-")(other, one, alpha),
    "div": lambda one, other: elementwise("((float)({0})/({1}))", one, other),
    "remainder": lambda one, other: elementwise("({0}-floorf((float)({0})/({1}))*({1}))", one, other),
    "addcmul": lambda x, a, b, value=1: (
        elementwise("({0}+{3}*{1}*{2})", x, a, b, value) if value != 1 else elementwise("({0}+{1}*{2})", x, a, b)
    ),
    "addcdiv": lambda x, a, b, value=1: elementwise("({0}+{3}*{1}/{2})", x, a, b, value),
    "pow": _pow,
    "clamp": _clamp,
    "clamp_min": lambda x, low: _clamp(x, low),
    "clamp_max": lambda x, high: _clamp(x, None, high),
    "sum": _sum,
    "mean": _mean,
    "amin": lambda x, dims=None, keepdim=False: fold(x, dims, keepdim, nested("fminf")),
    "amax": lambda x, dims=None, keepdim=False: fold(x, dims, keepdim, nested("fmaxf")),
    "any": lambda x, dims=None, keepdim=False: fold(x, dims, keepdim, lambda names: "(" + "||".join(names) + ")"),
    "all": lambda x, dims=None, keepdim=False: fold(x, dims, keepdim, lambda names: "(" + "&&".join(names) + ")"),
    "cat": lambda parts, dim=0: np.concatenate([part for part in parts if part.size], dim),
    "stack": lambda parts, dim=0: np.stack(parts, dim),
    "roll": lambda x, shifts, dims=(): np.roll(x, shifts, tuple(dims) or None),
    "flip": lambda x, dims: np.flip(x, dims),
    "repeat": lambda x, times: np.tile(x, times),
    "bmm": _bmm,
    "mm": _bmm,
    "clone": _same,
    "_to_copy": _same,
    "lift_fresh_copy": _same,
    "copy": lambda x, source, *_: np.broadcast_to(source, x.shape),
    "fill": lambda x, value: elementwise("{1}", x, value),
    "zero": lambda x: elementwise("{1}", x, 0),
    "zeros_like": lambda x, **_: elementwise("{1}", x, 0),
    "ones_like": lambda x, **_: elementwise("{1}", x, 1),
    "full_like": lambda x, value, **_: elementwise("{1}", x, value),
}
"""By the name of the operation; arguments in its order, tensors as names."""
