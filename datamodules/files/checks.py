"""Input validation: what every reader asks of numbers; each failure names the file, the key and the row."""

import zipfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litmotif.errors import DataError, MissingExtraError

Arrays = dict[str, np.ndarray[Any, Any]]
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
    """Steps a second, from the file or else from the caller.

    Raises:
        DataError: neither says, both say and differ, or it is not above 0.
    """
    try:
        own = None if stored is None else float(np.asarray(stored).reshape(-1)[0])
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path}: fps={stored!r} is no number.") from error
    if own is None and given is None:
        raise DataError(f"{path}: the file does not say how many steps a second it has. Give fps=...")
    if own is not None and given is not None and abs(own - given) > 1e-6 * own:
        raise DataError(f"{path}: fps is {own:g} in the file, {given:g} was given. Leave fps=... out.")
    fps = own if own is not None else given
    if fps is None or not 0 < fps < np.inf:
        raise DataError(f"{path}: fps={fps}: steps a second, above 0.")
    return fps


def npz_arrays(path: str | Path) -> Arrays:
    """All arrays of an npz file.

    Raises:
        DataError: the file is cut off, or holds Python objects.
    """
    try:
        with Path(path).open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise DataError(
            f"{path}: no readable npz file ({error}). It may be cut off: copy or write it again."
        ) from error


def need(path: str | Path, found: Iterable[str], wanted: Iterable[str], what: str = "key") -> None:
    """Raise a DataError that names those of ``wanted`` that are missing."""
    found = list(found)
    missing = [key for key in wanted if key not in found]
    if missing:
        raise DataError(f"{path}: {what} {', '.join(missing)} missing; there are: {', '.join(found) or 'none'}.")


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
