"""Format recognition: a folder of music is read by what it holds."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from litmotif.errors import DataError

from .base import Reader, Source
from .corpus import COLLECTIONS, Corpus
from .emotion import Emopia, Vgmidi
from .groove import Groove
from .midi import Midi
from .pop909 import Pop909
from .recordings import Deam, Pmemo
from .rolls import Rolls
from .score import Score

Format = Literal[
    "bach", "ryansMammoth", "groove", "pop909", "vgmidi", "emopia", "deam", "pmemo", "rolls", "midi", "score"
]
_IN_FOLDERS: dict[str, Callable[..., Reader]] = {  # the ones that know more come first
    reader.name: reader for reader in (Groove, Pop909, Vgmidi, Emopia, Deam, Pmemo, Rolls, Midi, Score)
}
READERS: dict[str, Callable[..., Reader]] = {
    **{name: partial(Corpus, collection=name) for name in COLLECTIONS},
    **_IN_FOLDERS,
}


def read(
    root: str | Path | None, format: Format | str | None = None, limit: int | None = None, **options: Any
) -> tuple[Reader, list[Source]]:
    """Find what there is to read.

    Args:
        root: a folder or file; None for what comes with music21 (``bach``, ``ryansMammoth``).
        format: one of ``READERS``; None takes the first format of which the folder holds anything.
        limit: sources at most.
        options: of the format, such as ``unknown_chord="none"``.

    Returns:
        The reader, and its sources in order.

    Raises:
        DataError: an unknown format or option, a missing folder, or nothing to read in it; says what was looked for.
        ModuleNotFoundError: a library of the format is missing; names the extra.
    """
    if format is not None and format not in READERS:
        raise DataError(f"format={format!r}: one of {', '.join(READERS)}.")
    if format in COLLECTIONS:
        root = Path()
    elif root is None:
        raise DataError(f"format={format!r} needs a folder: set root, or take one of {', '.join(COLLECTIONS)}.")
    folder = Path(root).expanduser()
    if not folder.exists():
        raise DataError(f"{folder}: no such file or folder.")
    names = [format] if format else list(_IN_FOLDERS)
    for name in names:
        reader = _make(name, options if format else {})
        sources = reader.find(folder)
        if sources:
            reader = _make(name, options)
            reader.require()
            return reader, (reader.find(folder) if options else sources)[:limit]
    wants = "".join(f"\n  {name}: {_make(name, {}).wants}" for name in names)
    raise DataError(f"{folder}: nothing to read. Looked for:{wants}")


def _make(name: str, options: dict[str, Any]) -> Reader:
    try:
        return READERS[name](**options)
    except TypeError as error:
        raise DataError(f"format {name}: {str(error).partition('() ')[2] or error}.") from error
