"""Guard of readers: a regular file of a size that can be read, and no error leaves that is not named."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from litmotif.bounds import require_regular
from litmotif.errors import DataError, LitmotifError

Options = ParamSpec("Options")
Found = TypeVar("Found")


def guarded(
    read: Callable[Concatenate[Any, Options], Found],
) -> Callable[Concatenate[Any, Options], Found]:
    """A reader of files or folders that strangers have made: called with the path first.

    It opens no pipe and no device, and what it or a library below it raises becomes a DataError with the file's name.
    """

    @wraps(read)
    def named(path: str | Path, /, *args: Options.args, **options: Options.kwargs) -> Found:
        try:
            if not Path(path).is_dir():
                require_regular(path)
            return read(path, *args, **options)
        except LitmotifError:
            raise
        except Exception as error:
            raise DataError(
                f"{path}: not readable ({type(error).__name__}: {error}).",
                "It is damaged or of another format: copy or write it again.",
            ) from error

    return named
