"""Task interface: a pure function from a song to frames, and the layout of its columns."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litmotif.errors import DataError

from ..chords import TONICS
from ..song import Song

Array = NDArray[Any]


class Frames(NamedTuple):
    """One song.

    Attributes:
        inputs: raw features (T, F) float32; a row knows the song up to its own frame, plus the task's ``latency``.
        targets: (T, K) float32.
        mask: targets that are known (T, K) bool.
    """

    inputs: Array
    targets: Array
    mask: Array


@dataclass(frozen=True)
class Block:
    """Columns that belong together.

    Attributes:
        name: of the block; a block of one column is that column's name.
        columns: names of its columns, or how many.
        moves: what a transposition does to them: ``rotate`` (twelve pitch classes, or several times twelve), ``shift``
            (rising keys), ``height`` (MIDI key / 128, exactly 0 where there is none), ``""`` nothing.
        tempo: a tempo ``f`` times as fast multiplies them by ``f ** tempo``.
    """

    name: str
    columns: Sequence[str] | int = 1
    moves: Literal["", "rotate", "shift", "height"] = ""
    tempo: float = 0.0

    @property
    def names(self) -> list[str]:
        """One name a column."""
        if not isinstance(self.columns, int):
            return [f"{self.name}:{column}" for column in self.columns]
        return [self.name] if self.columns == 1 else [f"{self.name}:{k}" for k in range(self.columns)]


def chroma(name: str) -> Block:
    """Twelve pitch classes."""
    return Block(name, TONICS, "rotate")


class Layout:
    """Blocks beside each other, filled up to ``size`` with reserved columns that are 0.

    Raises:
        DataError: the blocks are wider than ``size``.
    """

    def __init__(self, blocks: Sequence[Block], size: int | None = None) -> None:
        used = sum(len(block.names) for block in blocks)
        spare = 0 if size is None else size - used
        if spare < 0:
            raise DataError(f"the columns {[block.name for block in blocks]} are {used}, more than {size}.")
        self.used, self.blocks = used, (*blocks, *([Block("reserved", spare)] if spare else ()))
        self.names = [name for block in self.blocks for name in block.names]

    def __len__(self) -> int:
        return len(self.names)

    def fill(self, values: Mapping[str, Array], rows: int, dtype: type = np.float32) -> Array:
        """Columns (rows, F) from one array (rows,) or (rows, n) a block.

        Raises:
            KeyError: a block has no values, or values have no block.
        """
        unknown = set(values) - {block.name for block in self.blocks}
        if unknown:
            raise KeyError(f"no block is called {sorted(unknown)}")
        out: Array = np.zeros((rows, len(self)), dtype)
        start = 0
        for block in self.blocks:
            width = len(block.names)
            if block.name != "reserved":
                out[:, start : start + width] = np.asarray(values[block.name]).reshape(rows, width)
            start += width
        return out


class Task(ABC):
    """A pure function from a song to frames; every option is the task's own.

    Attributes:
        name: as ``data.task`` has it.
        inputs: layout of the inputs.
        targets: layout of the targets.
        rate: frames a beat; 0 where a row is a note.
        latency: frames of the score after a row's own that it may see; beats where a row is a note.
    """

    name: ClassVar[str]
    inputs: Layout
    targets: Layout
    rate: float
    latency: float = 0

    @abstractmethod
    def missing(self, song: Song) -> str | None:
        """Requirement that the song does not meet; None where it meets all."""

    @abstractmethod
    def frames(self, song: Song) -> Frames:
        """The frames of a song that lacks nothing."""

    def labels(self, values: Mapping[str, Array], known: Mapping[str, Array], rows: int) -> tuple[Array, Array]:
        """Targets (rows, K) and their mask, from one array a block of each."""
        return self.targets.fill(values, rows), self.targets.fill(known, rows, bool)


def at_least(name: str, value: float, least: float) -> None:
    """Refuse an option that is too small.

    Raises:
        DataError: it is.
    """
    if value < least:
        raise DataError(f"data.task_options.{name}={value}: at least {least}.")


def one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse an option that is none of ``choices``.

    Raises:
        DataError: it is none of them.
    """
    if value not in choices:
        raise DataError(f"data.task_options.{name}={value!r}: one of {', '.join(map(str, choices))}.")
