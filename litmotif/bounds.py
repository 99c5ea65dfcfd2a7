"""Bounds of what a file may ask for: regular files of a size, text of a depth; known before anything is allocated."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import DataError

BYTES = 2**30
"""What the contents of one file may take in memory."""
DEPTH = 64
"""Levels of a nested text: lists and dictionaries in one another."""


@contextmanager
def opened(path: str | Path, most: int = BYTES) -> Iterator[BinaryIO]:
    """Open a regular file for reading; a FIFO or a device, which might never end, is refused.

    Raises:
        DataError: it is none, it is missing or may not be read, or has more bytes than ``most``.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error}).") from error
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{path}: no regular file.", "Name a file, no folder, pipe or device.")
        if about.st_size > most:
            raise DataError(f"{path}: {about.st_size:,} bytes, and {most:,} is the most.", "Split it.")
        yield file


def require_regular(path: str | Path, most: int = BYTES) -> None:
    """Refuse what ``opened`` refuses, for a reader that opens files by itself."""
    with opened(path, most):
        pass


def read_text(path: str | Path, most: int = BYTES // 8) -> str:
    """All of a text file, in UTF-8.

    Raises:
        DataError: see ``opened``; or it is no text.
    """
    with opened(path, most) as file:
        try:
            return file.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: no text in UTF-8 (byte {error.start}).") from error


def read_json(path: str | Path, most: int = BYTES // 8) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: see ``read_text``; or it is no JSON, nested too deeply, or has a number too long.
    """
    return parse_json(read_text(path, most), path)


def parse_json(text: str, where: object) -> Any:
    """The content of JSON; ``where`` is what the message names.

    Raises:
        DataError: it is no JSON, nested deeper than ``DEPTH``, or has a number of thousands of digits.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise DataError(f"{where}: nested too deeply.") from error
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise DataError(f"{where}: no valid JSON ({error}).") from error
    require_shallow(content, where)
    return content


def require_shallow(content: Any, where: object, most: int = 10**7) -> None:
    """Refuse what is nested deeper than ``DEPTH``, or has more than ``most`` values; those of aliases count each time.

    Raises:
        DataError: it is.
    """
    level, count = [content], 0
    for _ in range(DEPTH + 1):
        inside = [item for item in level if isinstance(item, dict | list)]
        if not inside:
            return
        count += sum(map(len, inside))
        if count > most:
            raise DataError(f"{where}: more than {most:,} values.")
        level = [value for item in inside for value in (item.values() if isinstance(item, dict) else item)]
    raise DataError(f"{where}: nested deeper than {DEPTH} levels.")


def limit_memory(more: int) -> None:
    """Let this process take at most so many bytes more than it has; then it raises MemoryError. Linux only."""
    try:
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = taken + more
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
