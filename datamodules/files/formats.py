"""File formats: a folder of files in one of several, recognised by what they hold, and never guessed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from litmotif.errors import DataError

from .broken import MAX_BAD, Tally
from .guard import guarded

Item = TypeVar("Item")


class Reader(Protocol[Item]):
    """One format: a module with these two functions."""

    @property
    def looks_like(self) -> Callable[[Path], bool]:
        """Whether a file or folder is of the format. Raises a DataError where it cannot be opened."""

    @property
    def read(self) -> Callable[..., list[Item]]:
        """Everything in it.

        Called with the path; the name of what is in it, or None: the file's; steps a second for a file that does not
        say, or None; and options of the format by keyword. One that reads many members of a set from one folder takes
        ``max_bad`` as well.

        A module may also say which files belong to its sets without being of the format: ``beside_motions(path)``.
        """


@dataclass(frozen=True)
class Formats(Generic[Item]):
    """Readers of one kind of thing.

    Attributes:
        what: they read, for messages: ``recording``.
        readers: by format, in the order in which they are asked.
        endings: of the names of files that may be of a format, in lower case.
        folders: a folder that holds this, file or folder, counts as one.
        strangers: endings of files of no format that may lie there, such as notes.
        home: what a file is named after.
    """

    what: str
    readers: Mapping[str, Reader[Item]]
    endings: tuple[str, ...]
    folders: str
    strangers: tuple[str, ...] = ()
    home: Callable[[Path], Path] = lambda path: path

    def read(
        self,
        root: str | Path,
        format: str,
        fps: float | None,
        options: Mapping[str, Any],
        max_bad: float = MAX_BAD,
        shared: Mapping[str, Any] | None = None,
    ) -> list[Item]:
        """Everything in and under a folder, or of one file; broken files are left out, with a warning that counts them.

        Args:
            root: the folder or file.
            format: read only this; ``auto`` recognises it, and asks where there is more than one.
            fps: steps a second, for formats or files that do not say.
            options: of the format.
            max_bad: share of broken files that is tolerated.
            shared: what every reader is given that takes it.

        Returns:
            Items named by the path below ``root`` without its ending.

        Raises:
            DataError: nothing is there, formats are mixed, an option goes with no file, or too many files are no good.
        """
        root = Path(root).expanduser()
        kind, paths = self._find(root, format)
        if foreign := set(options) - set(signature(self.readers[kind].read).parameters):
            raise DataError(f"{', '.join(sorted(foreign))}: not an option of {kind} {self.what}s.")
        return self.read_all(root, dict.fromkeys(paths, kind), fps, options, max_bad, shared)

    def read_all(
        self,
        root: Path,
        kinds: Mapping[Path, str],
        fps: float | None = None,
        options: Mapping[str, Any] | None = None,
        max_bad: float = MAX_BAD,
        shared: Mapping[str, Any] | None = None,
    ) -> list[Item]:
        """Everything in files of known formats, named by the path below ``root``.

        Raises:
            DataError: too many files are no good.
        """
        tally, items = Tally(root, len(kinds), max_bad), list[Item]()
        shared = {"max_bad": max_bad, **(shared or {})}
        for path, kind in kinds.items():
            read = self.readers[kind].read
            taken = {key: value for key, value in shared.items() if key in signature(read).parameters}
            with tally.member(path):
                items += guarded(read)(path, _name(root, self.home(path)), fps, **taken | dict(options or {}))
        tally.settle()
        return items

    def recognise(self, path: Path) -> str | None:
        """The format of a file or folder, None where it is of none.

        Raises:
            DataError: an npz file that cannot be opened.
        """
        return next((kind for kind, reader in self.readers.items() if reader.looks_like(path)), None)

    def recognise_all(self, paths: Sequence[Path]) -> dict[Path, str | None]:
        """The format of each; one that cannot be opened is of the only format that the others have.

        Raises:
            DataError: a file that cannot be opened, and no one format to read it as.
        """
        kinds: dict[Path, str | None] = {}
        shut: dict[Path, DataError] = {}
        for path in paths:
            try:
                kinds[path] = self.recognise(path)
            except DataError as error:
                shut[path] = error
        found = {kind for kind in kinds.values() if kind is not None}
        for path, fault in shut.items():
            if len(found) != 1:
                raise fault
            (kinds[path],) = found
        return {path: kinds[path] for path in paths}

    def candidates(self, root: Path) -> list[Path]:
        """Files in and under ``root`` that could be of a format, sorted, behind folders that count as one."""
        if root.is_file() or (root / self.folders).exists():
            return [root]
        depth = len(Path(self.folders).parts)
        whole = [found.parents[depth - 1] for found in sorted(root.rglob(self.folders))]
        files = [
            path
            for path in sorted(root.rglob("*"))
            if path.name.lower().endswith(self.endings) and path.is_file() and not path.name.startswith(".")
        ]
        return whole + [path for path in files if not any(path.is_relative_to(folder) for folder in whole)]

    def strange(self, kinds: Mapping[Path, str | None]) -> list[Path]:
        """Those of no format, where they are no notes and do not belong to a set of a format that is there."""
        there = [self.readers[kind] for kind in dict.fromkeys(kinds.values()) if kind is not None]
        known = [beside for reader in there if (beside := getattr(reader, "beside_motions", None)) is not None]
        return [
            path
            for path, kind in kinds.items()
            if kind is None and path.suffix not in self.strangers and not any(beside(path) for beside in known)
        ]

    def _find(self, root: Path, format: str) -> tuple[str, list[Path]]:
        """The format, and the files of it."""
        if not root.exists():
            raise DataError(f"{root}: no such file or folder.")
        if format != "auto" and format not in self.readers:
            raise DataError(f"data.format={format}: one of auto, {', '.join(self.readers)}.")
        kinds = self.recognise_all(self.candidates(root))
        found: dict[str, list[Path]] = {}
        for path, kind in kinds.items():
            if kind is not None and format in ("auto", kind):
                found.setdefault(kind, []).append(path)
        strange = self.strange(kinds)
        if len(found) > 1:
            counts = ", ".join(f"{kind} ({len(paths)})" for kind, paths in found.items())
            raise DataError(f"{root} holds more than one format: {counts}. Choose one: data.format=...")
        if not found:
            wanted = self.what if format == "auto" else f"{format} {self.what}"
            seen = f" Not recognised: {', '.join(map(str, strange[:3]))}." if strange else ""
            raise DataError(f"{root}: no {wanted} found; known formats: {', '.join(self.readers)}.{seen}")
        ((kind, paths),) = found.items()
        if format == "auto" and strange:
            raise DataError(f"{strange[0]}: of no known format. Take it out of the folder, or say data.format={kind}.")
        return kind, paths


def _name(root: Path, path: Path) -> str | None:
    """The path below ``root`` without its ending; None: as the reader names it."""
    if path == root or not path.is_relative_to(root):
        return None
    below = path.relative_to(root)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()
