"""Arrays of strangers' npz and npy files: plain numbers and text, as many as the file can hold, or a named error."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from .bounds import BYTES, opened
from .errors import DataError, LitmotifError

LEAST, RATIO = 2**28, 32
"""What any file may unfold to, in bytes, and how many times its own size a larger one may."""
MOST_MEMBERS = 10_000
ENDING = ".npy"


def allowance(size: int) -> int:
    """Bytes that a file of so many may unfold to in memory."""
    return max(LEAST, RATIO * size)


def load_npz(path: str | Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, all or those of ``names``; what they take is known before it is taken.

    Raises:
        DataError: it is no regular file, cut off or changed, holds Python objects, lacks a name, or unfolds to more
            memory than its size explains.
    """
    with _reading(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        left = allowance(_size(file))
        members = _members(archive)
        if missing := [name for name in names or () if name not in members]:
            raise DataError(f"{path}: key {', '.join(missing)} missing; there are: {', '.join(members) or 'none'}.")
        found = {}
        for name in names or members:
            info = archive.getinfo(members[name])
            with archive.open(info) as member:
                found[name] = _array(f"{path}: {name}", member, min(left, info.file_size))
            left -= found[name].nbytes
        return found


def npz_names(path: str | Path) -> list[str]:
    """Names of the arrays in an npz file, none of which is read.

    Raises:
        DataError: it is no such file.
    """
    with _reading(path), opened(path) as file, zipfile.ZipFile(file) as archive:
        return list(_members(archive))


def load_npy(path: str | Path) -> NDArray[Any]:
    """The array of an npy file.

    Raises:
        DataError: it is no regular file, cut off, or holds Python objects.
    """
    with _reading(path), opened(path) as file:
        return _array(str(path), file, min(BYTES, _size(file)))


def _members(archive: zipfile.ZipFile) -> dict[str, str]:
    names = archive.namelist()
    if len(names) > MOST_MEMBERS:
        raise DataError(f"{archive.filename}: {len(names):,} arrays, and {MOST_MEMBERS:,} is the most.")
    return {name.removesuffix(ENDING): name for name in names}


def _array(where: str, file: IO[bytes], most: int) -> NDArray[Any]:
    """One array: its header is believed only as far as there are bytes for it."""
    major = npy_format.read_magic(file)[0]
    if major not in (1, 2, 3):
        raise DataError(f"{where}: npy version {major}: 1 to 3 can be read.")
    read_header = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, which could run code: it was not read. Save plain arrays.")
    if any(size < 0 for size in shape) or dtype.itemsize * prod(shape) > most:
        raise DataError(f"{where} says its shape is {shape}, for which there are no bytes: it is cut off or changed.")
    count = prod(shape)
    content = file.read(dtype.itemsize * count)
    if len(content) < dtype.itemsize * count:
        raise DataError(f"{where}: its end is missing.")
    flat: NDArray[Any] = np.frombuffer(content, dtype=dtype, count=count).copy() if content else np.zeros(count, dtype)
    return flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)


def _size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


@contextmanager
def _reading(path: str | Path) -> Iterator[None]:
    """Turn whatever ``zipfile``, ``zlib`` and NumPy say of a broken file into one error that names it."""
    try:
        yield
    except LitmotifError:
        raise
    except Exception as error:
        raise DataError(
            f"{path}: no readable {Path(path).suffix.lstrip('.') or 'npz'} file ({error}).",
            "It may be cut off: copy or write it again.",
        ) from error
