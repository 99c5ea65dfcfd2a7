"""Piano rolls of polyphonic music with their standard splits (Boulanger-Lewandowski et al. 2012)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litmotif.bounds import read_json
from litmotif.errors import DataError

from ..song import KEYS, LOWEST_KEY, Song, Split
from .base import Broken, Reader, Source, broken_songs, files_in, sources_of

_MAT: Mapping[str, Split] = {"traindata": "train", "validdata": "val", "testdata": "test"}
_JSON: Mapping[str, Split] = {"train": "train", "valid": "val", "test": "test"}
_RATES = {"quarter": 1.0, "8th": 2.0, "16th": 4.0, "jsb": 1.0, "nottingham": 2.0, "piano_midi": 2.0, "muse": 2.0}
"""Frames a beat, by a word of the file's name."""


@dataclass(frozen=True)
class Rolls(Reader):
    """JSB Chorales, Nottingham, Piano-midi and MuseData as .mat (88 columns) or as JSON lists of pitches.

    ``labels``: dataset (the file's name).

    Args:
        rate: frames a beat; None takes it from the file's name (quarters for JSB, eighths for the others).
    """

    name = "rolls"
    wants = f"*.mat with {', '.join(_MAT)}, or *.json with {', '.join(_JSON)}"
    rate: float | None = None

    def find(self, root: Path) -> list[Source]:
        """All .mat files, and JSON files of lists of chords."""
        books = [path for path in files_in(root, ".json") if _is_book(path)]
        return sources_of(root, files_in(root, ".mat") + books)

    def read(self, source: Source) -> list[Song | Broken]:
        """All songs of one file."""
        stem = source.path.stem
        rate = self.rate or next((rate for word, rate in _RATES.items() if word in stem.lower()), None)
        if rate is None:
            raise DataError(f"{source.name}: unknown number of frames a beat. Give the reader's option rate.")
        make = _binary if source.path.suffix.lower() == ".mat" else _of_pitches
        found: list[Song | Broken] = []
        for split, rolls, where in _parts(source):
            for k, roll in enumerate(rolls):
                name = f"{stem}/{split}/{k}"
                with broken_songs(name, found):
                    labels = {"dataset": stem}
                    fields: dict[str, Any] = {
                        "split": split,
                        "source": source.name,
                        "voices": (),
                        "roll_rate": rate,
                        "labels": labels,
                    }
                    found.append(Song(name=name, roll=make(roll, where), **fields))
        return found


def _parts(source: Source) -> Iterator[tuple[Split, Any, str]]:
    """The songs of each split, and their place.

    Raises:
        DataError: the file is no such book.
    """
    mat = source.path.suffix.lower() == ".mat"
    keys = _MAT if mat else _JSON
    try:
        content = _mat(source.path) if mat else read_json(source.path)
    except Exception as error:  # SciPy raises what it likes
        kind = type(error).__name__
        raise DataError(f"{source.name}: cannot be read ({kind}: {error}). Copy it again, or leave it out.") from error
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{source.name}: no {', '.join(missing)}; there are {', '.join(sorted(content))}.")
    for key, split in keys.items():
        yield split, np.ravel(content[key]) if mat else content[key], f"{source.name}, {key}"


def _mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    return dict(loadmat(path))


def _binary(values: NDArray[Any], where: str) -> NDArray[np.bool_]:
    roll = np.asarray(values)
    if roll.ndim != 2 or roll.shape[1] != KEYS or not np.isin(roll, (0, 1)).all():
        raise DataError(f"{where}: a roll {roll.shape}: (T, {KEYS}) of 0 and 1.")
    return roll.astype(bool)


def _of_pitches(frames: list[list[int]], where: str) -> NDArray[np.bool_]:
    """(T, 88) of the pitches that sound in each frame; 0 and below is a voice that rests."""
    roll = np.zeros((len(frames), KEYS), dtype=bool)
    for row, pitches in zip(roll, frames, strict=True):
        for pitch in pitches:
            if pitch > 0 and not LOWEST_KEY <= pitch < LOWEST_KEY + KEYS:
                raise DataError(f"{where}: pitch {pitch}: {LOWEST_KEY} to {LOWEST_KEY + KEYS - 1}.")
            if pitch > 0:
                row[int(pitch) - LOWEST_KEY] = True
    return roll


def _is_book(path: Path) -> bool:
    """Recognition of a JSON file that begins as a mapping of splits to lists of songs of frames."""
    with path.open(encoding="utf-8", errors="replace") as file:
        start = "".join(file.read(4096).split())
    return any(f'"{key}":[[[' in start for key in _JSON)
