"""Caches of arrays on disk: written whole or not at all, checked when read, made by one process at a time."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray

from .arrays import load_npz
from .errors import DataError
from .files import atomic

Arrays = dict[str, NDArray[Any]]


def cache_folder(cache_dir: str | None, name: str) -> Path:
    """Folder ``name`` in ``cache_dir``, or in LITMOTIF_CACHE (environment), or in the user's cache folder."""
    chosen = cache_dir or os.environ.get("LITMOTIF_CACHE") or platformdirs.user_cache_dir("litmotif", appauthor=False)
    return Path(chosen) / name


def cached(folder: Path, key: Mapping[str, Any], make: Callable[[], Arrays], what: str) -> Arrays:
    """Read the arrays of ``key``, or make and keep them; one process makes them, the others wait.

    Args:
        folder: where to keep them.
        key: everything that the arrays depend on, plain values.
        make: makes them.
        what: the arrays are called in messages, such as ``plans``.

    Raises:
        OSError: they cannot be kept (no space, no permission); names the folder. Nothing half-written is left.
    """
    path = folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.npz"
    with locked(path, what):
        found = read_arrays(path, what)
        if found is None:
            found = make()
            write_arrays(path, found, what, compress=True)
        return found


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Be the only process that reads or makes a file; the others wait.

    Raises:
        OSError: the folder cannot be written; names it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        lock.acquire()
    except OSError as error:
        raise _no_room(path.parent, what, error) from error
    try:
        yield
    finally:
        lock.release()


def read_arrays(path: Path, what: str, names: Sequence[str] | None = None) -> Arrays | None:
    """The arrays of an ``.npz`` file, all or those of ``names``.

    Returns:
        None where there is no such file, and, with a warning, where it is damaged or lacks a name.
    """
    if not path.exists():
        return None
    try:
        return load_npz(path, names)  # zip checks each member's CRC-32 as it is read
    except DataError as error:
        warnings.warn(f"{path} is damaged ({error}); its {what} are made anew.", stacklevel=2)
        return None


def write_arrays(path: Path, arrays: Arrays, what: str, compress: bool = False) -> None:
    """Keep arrays as an ``.npz`` file.

    Raises:
        OSError: no space, no permission; names the folder. Nothing half-written is left.
    """
    save = np.savez_compressed if compress else np.savez
    try:
        with atomic(path) as file:
            save(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise _no_room(path.parent, what, error) from error


def _no_room(folder: Path, what: str, error: OSError) -> OSError:
    return OSError(
        error.errno, f"Cannot keep {what} in {folder}: {error.strerror}. Make room, or set cache_dir elsewhere."
    )
