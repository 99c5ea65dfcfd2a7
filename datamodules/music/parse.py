"""Fault-tolerant parsing: a file that breaks, crashes or hangs is reported and left out, and the others are read."""

import json
import multiprocessing
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from litmotif.bounds import limit_memory
from litmotif.cache import cache_folder, cached
from litmotif.errors import DataError

from ..files.broken import MAX_BAD, listed, report
from ..files.broken import check as check_broken
from .readers import Reader, Source, read
from .readers.base import Broken as Broken
from .readers.base import reason
from .song import REMARKS, Song, pack, unpack

FORMAT = 2
"""Counts up when the arrays in the cache change."""
CHUNK = 32
"""Sources handed to a process at a time, at most."""
MEMORY = 16 * 2**30
"""Bytes of address space that a process may take which reads files."""


class Library(NamedTuple):
    """Songs that were read, and files or songs of files that could not be."""

    songs: list[Song]
    broken: list[Broken]


def load_songs(
    root: str | Path | None,
    format: str | None = None,
    limit: int | None = None,
    max_bad: float = MAX_BAD,
    cache_dir: str | None = None,
    workers: int | None = None,
    time_limit: float = 60.0,
    progress: bool = True,
    **options: Any,
) -> Library:
    """All songs of a folder, parsed once and kept.

    Args:
        root: a folder or file; None for what comes with music21.
        format: see ``readers.read``; None recognises it.
        limit: sources at most.
        max_bad: share of broken files that is tolerated, 0 to 1.
        cache_dir: where songs are kept; None takes LITMOTIF_CACHE or the user's cache folder. The key is made of names,
            sizes and times of the files, what tables say of them, the reader, its version, options and libraries.
        workers: processes; None takes one a core.
        time_limit: seconds a source may take.
        progress: show a bar while parsing.
        options: of the format.

    Raises:
        DataError: nothing to read, all files broken, or more than ``max_bad``; the first ten are listed.
    """
    reader, sources = read(root, format, limit, **options)
    key = {
        "format": FORMAT,
        **reader.fingerprint(),
        "sources": [source.fingerprint() for source in sources],
        "time_limit": time_limit,
    }

    def make() -> dict[str, NDArray[Any]]:
        found = parse(reader, sources, workers, time_limit, progress)
        check(found, len(sources), max_bad, root)
        text = json.dumps(found.broken).encode()
        return {**pack(found.songs), "broken": np.frombuffer(text, dtype=np.uint8)}

    arrays = cached(cache_folder(cache_dir, "music"), key, make, "songs")
    found = Library(unpack(arrays), [Broken(*pair) for pair in json.loads(arrays["broken"].tobytes())])
    check(found, len(sources), max_bad, root)
    if found.broken:
        warnings.warn(report(found.broken, len(found.songs) + len(found.broken), root or "corpus"), stacklevel=2)
    if remarks := [f"{song.name}: {song.labels[REMARKS]}" for song in found.songs if REMARKS in song.labels]:
        warnings.warn(f"{root or 'corpus'}: read with remarks:{listed(remarks)}", stacklevel=2)
    return found


def check(library: Library, sources: int, max_bad: float, root: str | Path | None = None) -> None:
    """See that enough could be read: of the files or, where they hold several, of their songs.

    Raises:
        DataError: no file, or too few; lists the first ten broken ones.
    """
    broken = len(library.broken)
    sources = max(sources, len(library.songs) + broken)
    check_broken(library.broken, sources, max_bad, root or "corpus")
    if not library.songs:
        raise DataError(f"{root or 'corpus'}: no song among {sources} sources of this format.")


# -------------------------------------------------------------------- processes
MEMORY = 2**31
"""What a file may take in the process that reads it, in bytes."""


def parse(
    reader: Reader,
    sources: Sequence[Source],
    workers: int | None = None,
    time_limit: float = 60.0,
    progress: bool = True,
) -> Library:
    """Read every source in processes of their own; the order is that of ``sources``, whoever read them.

    Raises:
        RuntimeError: a process ended before it could begin.
    """
    size = max(1, min(CHUNK, len(sources) // (4 * (workers or os.cpu_count() or 1))))
    count = min(workers or os.cpu_count() or 1, -(-len(sources) // size))
    results: dict[int, Sequence[Song | Broken] | Broken] = {}
    pool = _Pool(reader, sources, count, size, time_limit)
    shown = progress and sys.stderr.isatty()
    with Progress(console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task(f"reading {reader.name}", total=len(sources))
        for index, result in pool.results():
            results[index] = result
            bar.advance(task)
    ordered = [results[index] for index in range(len(sources))]
    found = [one for part in ordered for one in ([part] if isinstance(part, Broken) else part)]
    songs = [one for one in found if isinstance(one, Song)]
    return Library(songs, [one for one in found if isinstance(one, Broken)])


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    chunk: deque[int] = field(default_factory=deque)
    """Sources it has not answered for; it works on the first one."""
    since: float = 0.0
    """When it began with that one."""
    ready: bool = False

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


class _Pool:
    """Processes that are handed chunks of sources, and replaced when they crash or hang."""

    START_LIMIT = 300.0  # s, for a process to import the reader and its libraries

    def __init__(self, reader: Reader, sources: Sequence[Source], workers: int, size: int, time_limit: float) -> None:
        self.reader, self.sources, self.size, self.time_limit = reader, sources, size, time_limit
        self.waiting = deque(range(len(sources)))
        # never fork a process whose threads may hold a lock; a fork server is clean, and quick to replace a process
        methods = multiprocessing.get_all_start_methods()
        self.context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        self.workers = [self._start() for _ in range(workers)]

    def results(self) -> Iterator[tuple[int, Sequence[Song | Broken] | Broken]]:
        """Each source once, as they become known."""
        try:
            for worker in self.workers:
                self._hand_out(worker)
            while any(worker.chunk for worker in self.workers):
                busy = [worker for worker in self.workers if worker.chunk]
                due = min(worker.since + self._limit(worker) for worker in busy)
                answered = wait([worker.pipe for worker in busy], timeout=max(0.0, due - time.monotonic()))
                for worker in busy:
                    if worker.pipe in answered:
                        yield from self._receive(worker)
                    elif time.monotonic() > worker.since + self._limit(worker):
                        yield self._replace(worker, f"took longer than {self.time_limit:g} s")
        finally:
            for worker in self.workers:
                worker.stop()

    def _limit(self, worker: _Worker) -> float:
        return self.time_limit if worker.ready else self.START_LIMIT

    def _start(self) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, self.reader), daemon=True)
        process.start()
        theirs.close()  # so that its end is seen here
        return _Worker(process, ours)

    def _hand_out(self, worker: _Worker) -> None:
        chunk = [self.waiting.popleft() for _ in range(min(self.size, len(self.waiting)))]
        worker.chunk.extend(chunk)
        worker.since = time.monotonic()
        if chunk:
            with suppress(BrokenPipeError):  # seen when its answer is awaited
                worker.pipe.send([self.sources[index] for index in chunk])

    def _receive(self, worker: _Worker) -> Iterator[tuple[int, Sequence[Song | Broken] | Broken]]:
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            yield self._replace(worker, f"crashed the process that read it (exit code {worker.process.exitcode})")
            return
        worker.since = time.monotonic()
        if not worker.ready:
            worker.ready = True
            return
        index = worker.chunk.popleft()
        yield index, Broken(self.sources[index].name, answer) if isinstance(answer, str) else answer
        if not worker.chunk:
            self._hand_out(worker)

    def _replace(self, worker: _Worker, reason: str) -> tuple[int, Broken]:
        """Blame the source it was at, put the others back, and start another process."""
        if not worker.ready:
            raise RuntimeError(
                f"a process for reading {self.reader.name} files {reason} before it began. Where a script of yours "
                "started it, keep the script's work under `if __name__ == '__main__':`."
            )
        worker.stop()
        index = worker.chunk.popleft()
        self.waiting.extendleft(reversed(worker.chunk))
        fresh = self._start()
        self.workers[self.workers.index(worker)] = fresh
        self._hand_out(fresh)
        return index, Broken(self.sources[index].name, reason)


def _bound_memory() -> None:
    """Let what a broken file asks for fail in this process, not take the memory of the machine (not on Windows)."""
    with suppress(ImportError, ValueError, OSError):
        resource = import_module("resource")
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        least = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (least, most))


def _read(reader: Reader, source: Source) -> Sequence[Song | Broken]:
    if (size := source.size()) > reader.largest:
        raise DataError(f"{source.name}: {size:,} bytes: at most {reader.largest:,} in this format. Leave it out.")
    return reader.read(source)


def _serve(pipe: Connection, reader: Reader) -> None:
    """Answer each source with its songs, or with the reason why there are none."""
    _bound_memory()
    warnings.simplefilter("ignore")  # libraries warn of what they repair
    with suppress(EOFError):  # the parent has gone
        sources = pipe.recv()
        reader.prepare(sources)
        limit_memory(MEMORY)
        pipe.send("ready")
        while True:
            for source in sources:
                try:
                    answer: Sequence[Song | Broken] | str = _read(reader, source)
                except Exception as error:
                    answer = reason(error)
                pipe.send(answer)
            sources = pipe.recv()
