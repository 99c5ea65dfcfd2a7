"""File formats: a folder of files in one of several, recognised by what they hold, and never guessed."""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from litmotif.errors import DataError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Formats(Generic[Item]):
    """Readers of one kind of thing.

    Attributes:
        what: they read, for messages: ``recording``.
        readers: by format: (path, name or None, fps or None, options of the format) -> items.
        options: by format, the names of its options.
        recognise: the format of a file or folder, None where it is of none.
        candidates: all below a folder (or the file itself) that may be of a format.
        strangers: endings of files of no format that may lie there, such as notes.
        home: what a file is named after.
    """

    what: str
    readers: Mapping[str, Callable[..., list[Item]]]
    options: Mapping[str, tuple[str, ...]]
    recognise: Callable[[Path], str | None]
    candidates: Callable[[Path], Iterable[Path]]
    strangers: tuple[str, ...] = ()
    home: Callable[[Path], Path] = lambda path: path

    def read(self, root: str | Path, format: str, fps: float | None, options: Mapping[str, Any]) -> list[Item]:
        """Everything in and under a folder, or of one file.

        Args:
            root: the folder or file.
            format: read only this; ``auto`` recognises it, and asks where there is more than one.
            fps: steps a second, for formats or files that do not say.
            options: of the format.

        Returns:
            Items named by the path below ``root`` without its ending.

        Raises:
            DataError: nothing is there, formats are mixed, an option goes with no file, or a file is no good.
        """
        root = Path(root).expanduser()
        kind, paths = self._find(root, format)
        if foreign := set(options) - set(self.options.get(kind, ())):
            raise DataError(f"{', '.join(sorted(foreign))}: not an option of {kind} {self.what}s.")
        read = self.readers[kind]
        return [item for path in paths for item in read(path, _name(root, self.home(path)), fps, **options)]

    def _find(self, root: Path, format: str) -> tuple[str, list[Path]]:
        """The format, and the files of it."""
        if not root.exists():
            raise DataError(f"{root}: no such file or folder.")
        if format != "auto" and format not in self.readers:
            raise DataError(f"format={format}: one of auto, {', '.join(self.readers)}.")
        found: dict[str, list[Path]] = {}
        strange: list[Path] = []
        for path in self.candidates(root):
            kind = self.recognise(path)
            if kind is not None:
                found.setdefault(kind, []).append(path)
            elif path.suffix not in self.strangers:
                strange.append(path)
        if format != "auto":
            found = {format: found[format]} if format in found else {}
        if len(found) > 1:
            counts = ", ".join(f"{kind} ({len(paths)})" for kind, paths in found.items())
            raise DataError(f"{root} holds more than one format: {counts}. Choose one: format=...")
        if not found:
            wanted = self.what if format == "auto" else f"{format} {self.what}"
            seen = f" Not recognised: {', '.join(map(str, strange[:3]))}." if strange else ""
            raise DataError(f"{root}: no {wanted} found; known formats: {', '.join(self.readers)}.{seen}")
        ((kind, paths),) = found.items()
        if format == "auto" and strange:
            raise DataError(f"{strange[0]}: of no known format. Take it out of the folder, or say format={kind}.")
        return kind, paths


def npz_keys(path: Path) -> set[str]:
    """Names of the arrays in an npz file, none of which is read.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: no readable npz file ({error}). It may be cut off: copy or write it again."
        ) from error


def outside(files: Iterable[Path], folders: Iterable[Path]) -> list[Path]:
    """Those folders, each of which counts as one, and the files that lie in none of them."""
    folders = list(folders)
    return folders + [path for path in files if not any(path.is_relative_to(folder) for folder in folders)]


def _name(root: Path, path: Path) -> str | None:
    """The path below ``root`` without its ending; None: as the reader names it."""
    if path == root or not path.is_relative_to(root):
        return None
    below = path.relative_to(root)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()
