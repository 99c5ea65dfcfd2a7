"""Input validation: what every reader asks of numbers; each failure names the file, the key and the row."""

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from litmotif.errors import DataError, MissingExtraError

UNIT = 1e-2
"""How far the norm of a quaternion may be from 1: single precision and csv rounding lie far below."""


def floats(path: str | Path, key: str, values: Any, columns: int | tuple[int, ...] | None = None) -> Tensor:
    """Numbers (T, ...) as a float64 tensor.

    Args:
        path: the file, for the message.
        key: what the numbers are, for the message.
        values: an array, or what NumPy makes one of.
        columns: sizes behind T; None: any number of columns, but one axis of them.

    Raises:
        DataError: no numbers, none at all, of another shape, or one is NaN or infinite.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {key}: numbers are needed, all rows of one length: {error}") from error
    wanted = (columns,) if isinstance(columns, int) else columns
    if array.ndim < 1 or (array.ndim != 2 if wanted is None else array.shape[1:] != wanted):
        shape = ", ".join(("T", *map(str, wanted or ("columns",))))
        raise DataError(f"{path}: {key} has shape {array.shape}, expected ({shape}).")
    if array.size == 0:
        raise DataError(f"{path}: {key} is empty: record at least 1 step.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, *column = bad[0].tolist()
        raise DataError(
            f"{path}: {key} row {row}, column {', '.join(map(str, column)) or 0}: {array[tuple(bad[0])]} "
            f"({len(bad)} such values; rows count from 0). Repair or cut these rows."
        )
    return torch.from_numpy(array.copy())


def quaternions(path: str | Path, key: str, values: Tensor) -> Tensor:
    """Quaternions (T, ..., 4) scaled to length 1 exactly.

    Raises:
        DataError: one is further from length 1 than rounding explains.
    """
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    bad = ((norms - 1).abs() > UNIT).reshape(len(values), -1).any(dim=1).nonzero()
    if len(bad):
        row = int(bad[0])
        raise DataError(
            f"{path}: {key} row {row}: {values[row].reshape(-1, 4)[0].tolist()} is no unit quaternion "
            f"({len(bad)} such rows). Check which columns hold the rotation, or normalise them."
        )
    return values / norms


def one_fps(path: str | Path, stored: Any, given: float | None) -> float:
    """Steps a second, from the caller or else from the file; where both say and differ, the log says so.

    Raises:
        DataError: neither says, or it is not above 0.
    """
    try:
        own = None if stored is None else float(np.asarray(stored).reshape(-1)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: fps={stored!r} is no number.") from error
    if own is None and given is None:
        raise DataError(
            f"{path}: the file does not say how many steps a second it has. Give data.source_fps=..., which "
            "a reader called by itself takes as fps=...."
        )
    fps = given if given is not None else own
    if fps is None or not 0 < fps < np.inf:
        raise DataError(f"{path}: {'fps' if given is None else 'source_fps'}={fps}: steps a second, above 0.")
    if own is not None and abs(own - fps) > 1e-6 * fps:
        _overridden(own, fps)
    return fps


@cache
def _overridden(own: float, given: float) -> None:
    """Say once that files are read at another rate than theirs."""
    rank_zero_info(f"source_fps={given:g} is taken where files say {own:g} steps a second.")


def need(path: str | Path, found: Iterable[str], wanted: Iterable[str], what: str = "key") -> None:
    """Raise a DataError that names those of ``wanted`` that are missing."""
    found = list(found)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise DataError(f"{path}: {what} {', '.join(missing)} missing; there are: {', '.join(found) or 'none'}.")


def one_length(path: str | Path, **parts: Sized) -> None:
    """Raise a DataError where one of ``parts`` is not as long as the first."""
    (name, first), *others = parts.items()
    for other, part in others:
        if len(part) != len(first):
            raise DataError(f"{path}: {len(first)} {name} and {len(part)} {other}: one of each a frame.")


def parse_floats(where: str, words: Sequence[str], count: int | None = None) -> list[float]:
    """Numbers of a line of text.

    Args:
        where: file and line, for the message.
        words: the numbers as they stand there.
        count: how many there must be; None: at least 1.

    Raises:
        DataError: a word is no finite number, or there are fewer or more.
    """
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise DataError(f"{where}: {error}: numbers are needed.") from error
    if not values or not all(map(math.isfinite, values)) or count not in (None, len(values)):
        shown = " ".join(words[:6]) + (" ..." if len(words) > 6 else "")
        raise DataError(
            f"{where}: {len(values)} values ({shown}), {count or 'some'} finite ones are due. Repair or cut this line."
        )
    return values


def read_text(path: str | Path, errors: str = "strict") -> str:
    """A text in UTF-8, without the byte order mark that some editors put first.

    Raises:
        DataError: it is in another encoding.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no UTF-8 text ({error}). Save it as UTF-8.") from error


def beginning(path: Path, ending: str) -> str:
    """The first characters of a text file; none where its name does not end so."""
    if path.suffix.lower() != ending or not path.is_file():
        return ""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.read(512)


@contextmanager
def naming(where: object) -> Iterator[None]:
    """Put the file, or whatever an error is about, in front of the message of a DataError."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def optional(module: str) -> Any:
    """A library that only some formats need.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise MissingExtraError(f"{module} is not installed. Remedy: pip install 'litmotif[motion]'") from error
