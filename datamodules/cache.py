"""Arrays on disk under a key: written whole or not at all, checked when read."""

import hashlib
import json
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray

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
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{name}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        lock.acquire()
    except OSError as error:
        raise _no_room(folder, what, error) from error
    try:
        found = _read(path, what)
        if found is None:
            found = make()
            _write(path, what, found)
        return found
    finally:
        lock.release()


def _read(path: Path, what: str) -> Arrays | None:
    if not path.exists():
        return None
    try:
        with (
            path.open("rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):  # zip checks each member's CRC-32 as it is read
            return {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, KeyError) as error:
        warnings.warn(f"{path} is damaged ({error}); its {what} are made anew.", stacklevel=2)
        return None


def _write(path: Path, what: str, arrays: Arrays) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    except OSError as error:
        raise _no_room(path.parent, what, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError as error:
        raise _no_room(path.parent, what, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _no_room(folder: Path, what: str, error: OSError) -> OSError:
    return OSError(
        error.errno, f"Cannot keep {what} in {folder}: {error.strerror}. Make room, or set data.cache_dir elsewhere."
    )
