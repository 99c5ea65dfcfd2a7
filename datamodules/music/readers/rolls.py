"""Piano rolls of polyphonic music with their standard splits (Boulanger-Lewandowski et al. 2012)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litmotif.errors import DataError

from ..song import KEYS, LOWEST_KEY, Song, Split
from .base import Reader, Source, files_in, sources_of

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

    def read(self, source: Source) -> list[Song]:
        """All songs of one file."""
        stem = source.path.stem
        rate = self.rate or next((rate for word, rate in _RATES.items() if word in stem.lower()), None)
        if rate is None:
            raise DataError(f"{source.name}: unknown number of frames a beat. Give the reader's option rate.")
        parts = _mat(source) if source.path.suffix.lower() == ".mat" else _book(source)
        return [
            Song(
                name=f"{stem}/{split}/{k}",
                split=split,
                source=source.name,
                voices=(),
                roll=roll,
                roll_rate=rate,
                labels={"dataset": stem},
            )
            for split, rolls in parts
            for k, roll in enumerate(rolls)
        ]


def _mat(source: Source) -> Iterator[tuple[Split, list[NDArray[np.bool_]]]]:
    from scipy.io import loadmat

    for split, songs, where in _parts(source, loadmat(source.path), _MAT):
        yield split, [_binary(np.asarray(roll), where) for roll in songs.ravel()]


def _book(source: Source) -> Iterator[tuple[Split, list[NDArray[np.bool_]]]]:
    for split, songs, where in _parts(source, json.loads(source.path.read_text()), _JSON):
        yield split, [_of_pitches(song, where) for song in songs]


def _parts(source: Source, content: dict[str, Any], keys: Mapping[str, Split]) -> Iterator[tuple[Split, Any, str]]:
    """The songs of each split, and their place."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{source.name}: no {', '.join(missing)}; there are {', '.join(sorted(content))}.")
    for key, split in keys.items():
        yield split, content[key], f"{source.name}, {key}"


def _binary(roll: NDArray[Any], where: str) -> NDArray[np.bool_]:
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
