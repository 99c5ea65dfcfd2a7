"""NumPy archives: the arrays of npz and npy files, checked as they are taken; nothing in them is executed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from litmotif.arrays import load_npy, load_npz, npz_names

from .checks import floats, need, one_fps, quaternions


class Npz(dict[str, NDArray[Any]]):
    """All arrays of an npz file.

    Args:
        path: the file.
        *needed: keys that must be there.

    Raises:
        DataError: the file is cut off, holds Python objects, or lacks a key.
    """

    def __init__(self, path: str | Path, *needed: str) -> None:
        self.path = Path(path)
        super().__init__(load_npz(self.path))
        need(self.path, self, needed)

    def floats(self, key: str, columns: int | tuple[int, ...] | None = None) -> Tensor:
        """Numbers (T, ...) of a key as ``checks.floats`` takes them."""
        return floats(self.path, key, self[key], columns)

    def quaternions(self, key: str, columns: int | tuple[int, ...] = 4) -> Tensor:
        """Unit quaternions (T, ..., 4) of a key."""
        return quaternions(self.path, key, self.floats(key, columns))

    def fps(self, given: float | None, *keys: str) -> float:
        """Steps a second: of the first of ``keys`` that is there (``fps``), or else as given."""
        return one_fps(self.path, next((self[key] for key in keys or ("fps",) if key in self), None), given)


def npz(*keys: str) -> Callable[[Path], bool]:
    """Recognises npz files that hold these keys."""
    return lambda path: npz_keys(path).issuperset(keys)


def npz_keys(path: Path) -> set[str]:
    """Names of the arrays in an npz file, none of which is read; none in a file of another ending.

    Raises:
        DataError: it cannot be opened.
    """
    if path.suffix.lower() != ".npz":
        return set()
    return set(npz_names(path))


def npy(path: Path) -> NDArray[Any]:
    """The array of an npy file.

    Raises:
        DataError: the file is cut off, or holds Python objects.
    """
    return load_npy(path)
