"""A computation on tensors as lines of C: what its operations do to each number, recorded while they run once.

Views need no attention: tensors that share their memory share their names, which are kept by place in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor
from torch.fx import GraphModule, Interpreter
from torch.fx.experimental.proxy_tensor import make_fx
from typing_extensions import override

from litmotif.errors import LitmotifError

from .operations import ARRAYS, ELEMENTWISE, Names, elementwise, literal

TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int64: "long long",
    torch.int32: "int",
    torch.bool: "bool",
}
FRESH = {"empty_like", "zeros_like", "ones_like", "full_like", "new_empty", "new_zeros", "new_ones", "new_full"}
"""Operations that take no number from the tensors that they are given."""
MOVES = {"cat", "stack", "roll", "flip", "repeat", "clone", "_to_copy", "lift_fresh_copy"}
"""Operations that change places only."""
IGNORED = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking"}
DEPENDENT = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}
LARGE = 4096
"""A constant of more numbers is read from memory; a smaller one stands in the code."""


class UnrecordableError(LitmotifError):
    """An operation that has no C here, or one whose course depends on the numbers."""


class Recorder(Interpreter):
    """Runs a graph once, and keeps what it does to each number.

    Args:
        graph: of operations, as ``make_fx`` gives it.
    """

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)
        self.lines: list[str] = []
        self.tables: list[Tensor] = []
        """Large constants: ``k[i]`` in the code."""
        self._names: dict[int, Names] = {}
        self._alive: list[Any] = []
        self._count = 0

    # ------------------------------------------------------------------ names by place in memory
    def give(self, tensor: Tensor, names: Names) -> None:
        """Give the numbers of a tensor these names."""
        self._alive.append(tensor)
        self._names[tensor.untyped_storage().data_ptr()] = np.empty(_places(tensor), dtype=object)
        self._view(tensor)[...] = names

    def names_of(self, tensor: Tensor) -> Names:
        """Names of the numbers of a tensor; literals for those of a constant."""
        if not tensor.numel():
            return np.empty(tuple(tensor.shape), dtype=object)
        if tensor.untyped_storage().data_ptr() not in self._names:
            if _places(tensor) > LARGE:
                raise UnrecordableError(f"a constant of {_places(tensor)} numbers")
            self._alive.append(tensor)
            whole = tensor.as_strided((_places(tensor),), (1,), 0)
            flat = np.array([literal(number) for number in whole.tolist()], dtype=object)
            self._names[tensor.untyped_storage().data_ptr()] = flat
        return self._view(tensor)

    def _view(self, tensor: Tensor) -> Names:
        flat = self._names[tensor.untyped_storage().data_ptr()][tensor.storage_offset() :]
        return as_strided(flat, tuple(tensor.shape), [8 * stride for stride in tensor.stride()])

    # ------------------------------------------------------------------ operations
    @override
    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not hasattr(target, "overloadpacket"):
            return super().call_function(target, args, kwargs)
        name: str = target.overloadpacket.__name__
        if name != "index" and DEPENDENT & set(
            target.tags
        ):  # what follows may be another computation for other numbers
            raise UnrecordableError(f"{name}, whose result has a shape that depends on the numbers")
        inputs = list(_tensors((args, kwargs)))
        self._alive.append(inputs)
        into = kwargs.get("out", args[0] if name.endswith("_") and not name.endswith("__") else None)
        if into is not None:
            self.names_of(into)
            read = {key: value for key, value in kwargs.items() if key != "out"}
            written = self._done(name.removesuffix("_"), args, read, list(_tensors((args, read))))
            result = super().call_function(target, args, kwargs)
            self.names_of(into)[...] = self._kept(written, into, inputs, name == "copy_")
            return result
        result = super().call_function(target, args, kwargs)
        outputs = [one for one in _tensors(result) if one.numel()]
        self._alive.append(outputs)
        places = {one.untyped_storage().data_ptr() for one in inputs}
        if (
            name in FRESH
            or not inputs
            or not outputs
            or any(one.untyped_storage().data_ptr() in places for one in outputs)
        ):
            return result  # a constant, or a view
        found = self._done(name, args, kwargs, inputs)
        for output, names in zip(outputs, found if isinstance(found, tuple) else (found,), strict=True):
            self.give(output, self._kept(names, output, inputs, name in MOVES))
        return result

    def _done(self, name: str, args: Any, kwargs: Any, inputs: Sequence[Tensor]) -> Any:
        """Expressions of what an operation gives."""
        if name == "index":
            return self._looked_up(args[0], args[1])
        if name == "gather":
            rows = [
                torch.arange(n).view([-1 if a == axis else 1 for a in range(args[0].ndim)])
                for axis, n in enumerate(args[2].shape)
            ]
            rows[args[1]] = args[2]
            return self._looked_up(args[0], rows)
        if name in ("min", "max") and len(args) > 1 and not isinstance(args[1], Tensor):
            return self._extreme("<" if name == "min" else ">", self.names_of(args[0]), *args[1:])
        if name == "bitwise_not":
            return elementwise("(!{0})" if inputs[0].dtype == torch.bool else "(~{0})", self.names_of(inputs[0]))
        named, options = self._named(args), self._named(kwargs)
        options = {key: value for key, value in options.items() if key not in IGNORED}
        try:
            if name in ELEMENTWISE:
                return elementwise(ELEMENTWISE[name], *named, *options.values())
            return ARRAYS[name](*named, **options)
        except (KeyError, TypeError) as error:
            raise UnrecordableError(f"{name}{tuple(options)}") from error

    def _named(self, given: Any) -> Any:
        """Tensors as names."""
        if isinstance(given, Tensor):
            return self.names_of(given)
        if isinstance(given, dict):
            return {key: self._named(value) for key, value in given.items()}
        return type(given)(map(self._named, given)) if isinstance(given, list | tuple) else given

    def _kept(self, names: Names, output: Tensor, inputs: Sequence[Tensor], moved: bool) -> Names:
        """A variable for each expression; what only changes its place keeps its name."""
        if moved and all(one.dtype == output.dtype for one in inputs):
            return names
        found = np.empty(tuple(output.shape), dtype=object)
        spread: Any = np.broadcast_to(names, found.shape)
        for place in np.ndindex(found.shape):
            found[place] = self._variable(TYPES[output.dtype], spread[place])
        return found

    def _variable(self, kind: str, expression: str) -> str:
        self._count += 1
        self.lines.append(f"{kind} v{self._count}={expression};")
        return f"v{self._count}"

    def _extreme(self, sign: str, x: Names, dim: int, keepdim: bool = False) -> tuple[Names, Names]:
        """The least or the greatest along an axis, and its place."""
        rows = np.moveaxis(x, dim, -1)
        values, places = np.empty(rows.shape[:-1], dtype=object), np.empty(rows.shape[:-1], dtype=object)
        for row in np.ndindex(values.shape):
            best, at = rows[row][0], "0"
            for number, other in enumerate(rows[row][1:], 1):
                at = self._variable("int", f"({other}{sign}{best}?{number}:{at})")
                best = self._variable("float", f"({other}{sign}{best}?{other}:{best})")
            values[row], places[row] = best, at
        return (np.expand_dims(values, dim), np.expand_dims(places, dim)) if keepdim else (values, places)

    def _looked_up(self, base: Tensor, indices: Sequence[Tensor | None]) -> Names:
        """``base[i, j, ...]`` where the first axes are indexed: from a table in memory, or one on the stack."""
        if any(one is None for one in indices) or any(one.dtype == torch.bool for one in indices if one is not None):
            raise UnrecordableError("an index that is not of the first axes")
        chosen = np.broadcast_arrays(*(self.names_of(one) for one in indices if one is not None))
        rest = tuple(base.shape[len(chosen) :])
        if _places(base) > LARGE and base.untyped_storage().data_ptr() not in self._names:
            table, strides, start = f"k{len(self.tables)}", list(base.stride()), base.storage_offset()
            self.tables.append(base.as_strided((_places(base),), (1,), 0))
        else:
            flat = np.ascontiguousarray(self.names_of(base)).ravel()
            self._count += 1
            table, strides, start = f"a{self._count}", _strides(base.shape), 0
            self.lines.append(f"{TYPES[base.dtype]} {table}[]={{{','.join(flat)}}};")
        found = np.empty((*chosen[0].shape, *rest), dtype=object)
        for place in np.ndindex(chosen[0].shape):
            terms = "+".join(f"{stride}*{one[place]}" for stride, one in zip(strides, chosen, strict=False))
            offset = self._variable("long long", f"{start}+{terms}")
            for inner in np.ndindex(rest):
                more = sum(stride * step for stride, step in zip(strides[len(chosen) :], inner, strict=True))
                found[(*place, *inner)] = f"{table}[{offset}+{more}]"
        return found


def record(computation: Callable[..., Sequence[Tensor]], inputs: Mapping[str, Tensor]) -> tuple[Recorder, list[Names]]:
    """What a computation does to each number.

    Args:
        computation: of tensors, in the order of ``inputs``; its course does not depend on their numbers.
        inputs: tensors by the C array that holds their numbers, as ``f+3``: from place 3 of ``f`` on.

    Returns:
        The recorder, and the names of the outputs' numbers.

    Raises:
        UnrecordableError: an operation that is not known here, or a course that depends on the numbers.
    """
    tensors = list(inputs.values())
    with torch.no_grad():
        try:
            graph = make_fx(computation)(*tensors)
        except RuntimeError as error:
            raise UnrecordableError(str(error).partition("\n")[0]) from error
        recorder = Recorder(graph)
        for where, tensor in inputs.items():
            array, _, first = where.partition("+")
            names = [f"{array}[{int(first) + place}]" for place in range(tensor.numel())]
            recorder.give(tensor, np.array(names, dtype=object).reshape(tensor.shape))
        outputs = recorder.run(*tensors)
        return recorder, [recorder.names_of(output) for output in outputs]


def _places(tensor: Tensor) -> int:
    """Numbers in the memory of a tensor."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _strides(shape: Sequence[int]) -> list[int]:
    """Of a contiguous array."""
    return [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]


def _tensors(given: Any) -> Any:
    """All tensors in lists, tuples and dictionaries."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, dict):
        yield from _tensors(list(given.values()))
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _tensors(one)
