"""The step of one episode, compiled: state, action and results in two arrays of numbers."""

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from litmotif.errors import MissingExtraError

from ..base import BatchedEnv, State
from .operations import PREAMBLE, Names
from .recorder import UnrecordableError, record

FLAGS = ("-O1", "-shared", "-fPIC", "-fwrapv", "-ffp-contract=off", "-x", "c")


def compiler() -> str | None:
    """The C compiler that ``CC`` names, or the system's; None where there is none."""
    return next(filter(None, map(shutil.which, filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")))), None)


class CompiledStep:
    """``advance`` and ``observe`` of a batch of one as a C function.

    Args:
        env: a batch of one whose state is that of a running episode.

    Raises:
        UnrecordableError: its step is not a fixed row of known operations.
        MissingExtraError: no C compiler.
    """

    def __init__(self, env: BatchedEnv) -> None:
        if not isinstance(env.single_action_space, spaces.Box):
            raise UnrecordableError(f"actions of {env.single_action_space}")
        self._like = {name: value.detach().clone().contiguous() for name, value in env.state.items()}
        keys, action = list(self._like), torch.zeros(len(env.action_names), 1)
        self.action = slice(0, action.numel())
        self._places: dict[str, tuple[str, slice]] = {}
        sizes, inputs = {"f": action.numel(), "i": 0}, {"f+0": action}
        for name, value in self._like.items():
            array = "f" if value.is_floating_point() else "i"
            self._places[name] = (array, slice(sizes[array], sizes[array] + value.numel()))
            inputs[f"{array}+{sizes[array]}"] = value
            sizes[array] += value.numel()
        self.measures: list[str] = []
        self.told: list[slice]
        """Places of reward and measures, of costs, of the observation; in the other array of the ends."""

        def step(action: Tensor, *values: Tensor) -> list[Tensor]:
            state = dict(zip(keys, values, strict=True))
            after, outcome = env.advance(state, action)
            after = state | after | {"key": state["key"], "elapsed": state["elapsed"] + 1}
            self.measures = list(outcome.measures)
            told = [outcome.reward, *outcome.measures.values(), outcome.costs, env.observe(after)]
            return [after[key] for key in keys] + told + [outcome.terminated.long(), outcome.success.long()]

        recorder, outputs = record(step, inputs)
        stores: list[str] = []
        for name, names in zip(keys, outputs, strict=False):
            array, place = self._places[name]
            stores += _assignments(array, place.start, names)
        self.told, told = [], outputs[len(keys) :]
        parts = {"f": [_joined(told[:-4]), told[-4], told[-3]], "i": [_joined(told[-2:])]}
        for array, several in parts.items():
            for names in several:
                self.told.append(slice(sizes[array], sizes[array] + names.size))
                stores += _assignments(array, sizes[array], names)
                sizes[array] += names.size
        self._tables = recorder.tables
        kinds = ["float" if table.is_floating_point() else "long long" for table in self._tables]
        tables = [f"const {kind} *k{number}" for number, kind in enumerate(kinds)]
        signature = ", ".join(["const float *f", "const long long *i", "float *fo", "long long *io", *tables])
        code = [PREAMBLE, f"void step({signature}) {{", *recorder.lines, *stores, "}"]
        self._library = _built("\n".join(code))
        self._arrays = [(np.zeros(sizes["f"], np.float32), np.zeros(sizes["i"], np.int64)) for _ in range(2)]
        """The present and the next; a step swaps them."""
        pointers = [ctypes.c_void_p(table.data_ptr()) for table in self._tables]
        both = [[ctypes.c_void_p(array.ctypes.data) for array in pair] for pair in self._arrays]
        self._arguments = [both[0] + both[1] + pointers, both[1] + both[0] + pointers]
        self._now = 0

    def __call__(self, action: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """One step; the two arrays in which ``told`` says what is where."""
        self._arrays[self._now][0][self.action] = action
        self._library.step(*self._arguments[self._now])
        self._now = 1 - self._now
        return self._arrays[self._now]

    @property
    def elapsed(self) -> int:
        """Steps of the episode so far."""
        return int(self._numbers("elapsed")[0])

    def load(self, state: State) -> None:
        """Go on from a state."""
        for name in self._places:
            self._numbers(name)[:] = state[name].detach().numpy().ravel()

    def state(self) -> State:
        """Where the episode stands."""
        return {
            name: torch.from_numpy(self._numbers(name).copy()).to(like.dtype).view(like.shape)
            for name, like in self._like.items()
        }

    def _numbers(self, name: str) -> NDArray[Any]:
        """The place of a tensor of the state."""
        array, place = self._places[name]
        return self._arrays[self._now][0 if array == "f" else 1][place]


def _joined(parts: list[Names]) -> Names:
    return np.concatenate([part.ravel() for part in parts])


def _assignments(array: str, start: int, names: Names) -> list[str]:
    return [f"{array}o[{start + at}]={name};" for at, name in enumerate(names.ravel())]


def _built(code: str) -> Any:
    """The library of this code; its file is gone as soon as it is loaded."""
    command = compiler()
    if command is None:
        raise MissingExtraError(
            "compiled=True needs a C compiler (cc, gcc or clang, or what CC names).", "Install one."
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "step.so"
        subprocess.run(  # noqa: S603 (our own code, from standard input)
            [command, *FLAGS, "-", "-o", str(target), "-lm"], input=code.encode(), check=True, capture_output=True
        )
        library = ctypes.CDLL(str(target))
    library.step.restype = None
    return library
