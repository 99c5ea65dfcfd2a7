"""Reader interface: a reader finds the sources of its format in a folder, and reads one source at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from litmotif.errors import DataError, LitmotifError, MissingExtraError

from ...files.broken import Broken as Broken
from ..song import Song


@dataclass(frozen=True)
class Source:
    """Something that is read in one go: one song in most formats, a book or a benchmark in some."""

    name: str
    """Relative to its root, or id in a corpus: what messages and ``Song.source`` call it."""
    files: tuple[Path, ...]
    """All files it is read from, the main one first."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts from tables of the folder, as JSON can hold them."""

    @property
    def path(self) -> Path:
        """The main file."""
        return self.files[0]

    def fingerprint(self) -> list[Any]:
        """Changes with the files or the facts."""
        return [self.name, [_stamp(path) for path in self.files], self.facts]

    def size(self) -> int:
        """Bytes of all files together."""
        return sum(path.stat().st_size for path in self.files if path.is_file())


def _stamp(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def reason(error: Exception) -> str:
    """Why something could not be read, for a person."""
    return str(error) if isinstance(error, LitmotifError) else f"{type(error).__name__}: {error}"


@contextmanager
def broken_songs(name: str, found: MutableSequence[Any]) -> Iterator[None]:
    """Count a song of several that breaks as ``Broken`` among those that were found, whatever is raised."""
    try:
        yield
    except Exception as error:
        found.append(Broken(name, reason(error)))


@dataclass(frozen=True)
class Reader(ABC):
    """A format. Its fields are its options; it is pickled to the processes that read."""

    name: ClassVar[str]
    wants: ClassVar[str]
    """Files of this format, for messages."""
    version: ClassVar[int] = 1
    """Counts up when the same files are read differently."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Libraries of the extra ``music`` that it cannot do without."""
    largest: ClassVar[int] = 64 * 2**20
    """Bytes that the files of a source may have together."""

    @abstractmethod
    def find(self, root: Path) -> list[Source]:
        """Sources in a folder, in order; empty where the folder is of another format."""

    @abstractmethod
    def read(self, source: Source) -> Sequence[Song | Broken]:
        """The songs of one source, and those of its songs that are broken; none where it is left out on purpose.

        Raises:
            DataError: the source is no good; names it.
        """

    def fingerprint(self) -> dict[str, Any]:
        """Cache key: all that the songs depend on besides their sources."""
        return {
            "reader": self.name,
            "version": self.version,
            "options": asdict(self),
            "libraries": {library: installed(library) for library in self.needs},
        }

    def prepare(self, sources: Sequence[Source]) -> None:
        """Import what reading ``sources`` takes, before the clock of the first one runs."""
        for library in self.needs:
            import_module(library)

    def require(self) -> None:
        """Check that the libraries are there, before a process is started for them.

        Raises:
            ModuleNotFoundError: one is missing; names the extra.
        """
        required(*self.needs)


def required(*libraries: str, extra: str = "music") -> None:
    """Check that ``libraries`` can be imported, without importing them.

    Raises:
        ModuleNotFoundError: one cannot; names the extra.
    """
    for library in libraries:
        if find_spec(library) is None:
            raise MissingExtraError(f"{library} is not installed. Remedy: pip install 'litmotif[{extra}]'")


def files_in(root: Path, *endings: str) -> list[Path]:
    """Files in and under ``root`` (or ``root`` itself) whose names end so, in order, hidden ones left out."""
    found = [root] if root.is_file() else root.rglob("*")
    return sorted(
        path
        for path in found
        if path.suffix.lower() in endings and path.is_file() and not path.name.startswith((".", "._"))
    )


def relative(path: Path, root: Path) -> str:
    """``path`` as messages call it."""
    return path.name if path == root else path.relative_to(root).as_posix()


def sources_of(root: Path, paths: Sequence[Path]) -> list[Source]:
    """One source a file."""
    return [Source(relative(path, root), (path,)) for path in paths]


def column(row: Mapping[str, str], names: Sequence[str], where: str) -> str:
    """The cell of the first column that is there.

    Raises:
        DataError: none is; names the file and the columns.
    """
    for name in names:
        if row.get(name) not in (None, ""):
            return row[name]
    raise DataError(f"{where}: no column {' or '.join(names)}; there are {', '.join(map(str, row))}.")
