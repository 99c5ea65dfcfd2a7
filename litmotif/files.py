"""Atomic files: there whole or not at all, whatever happens in between."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file under a temporary name beside ``path``; at the end it is flushed to the disk and renamed.

    Args:
        path: the file; its folder is made where it is missing.

    Raises:
        OSError: the disk is full, or the folder cannot be written. After this or any other exception inside, the former
            file is untouched and nothing else is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write all of a file, see ``atomic``."""
    with atomic(path) as file:
        file.write(content)
