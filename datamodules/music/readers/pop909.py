"""POP909 (Wang et al. 2020): pop songs as melody, bridge and piano, with beats, chords and key as text."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from litmotif.errors import DataError

from ..chords import parse_chord
from ..song import Chord, Floats, Meter, Song, sorted_notes
from .base import Reader, Source
from .midi import read_midi

BEATS, CHORDS, KEYS = "beat_midi.txt", "chord_midi.txt", "key_audio.txt"


@dataclass(frozen=True)
class Pop909(Reader):
    """Beats are those of the beat file, not of the MIDI header, counted back to before the first note.

    Args:
        unknown_chord: what a symbol that cannot be read is: an error, or no chord.
    """

    name = "pop909"
    wants = f"folders NNN with NNN.mid, {BEATS} and {CHORDS}"
    needs = ("symusic",)
    unknown_chord: Literal["error", "none"] = "error"

    def find(self, root: Path) -> list[Source]:
        """The folders of songs; the arrangements in ``versions`` are left out."""
        folders = [root, *sorted(root.iterdir()), *sorted(root.glob("POP909/*"))] if root.is_dir() else []
        return [
            Source(folder.name, (folder / f"{folder.name}.mid", *(folder / name for name in (BEATS, CHORDS, KEYS))))
            for folder in folders
            if re.fullmatch(r"\d{3}", folder.name) and (folder / BEATS).is_file()
        ]

    def read(self, source: Source) -> list[Song]:
        """One song."""
        midi, beat_file, chord_file, key_file = source.files
        fields = read_midi(midi, f"{source.name}/{midi.name}")
        header = Song(name=source.name, **fields)
        clock = _Clock(_table(beat_file, 3), header.seconds(header.onset[0]))
        onset = np.maximum(clock.beats(header.seconds(header.onset)), 0)
        end = clock.beats(header.seconds(header.onset + header.duration))
        notes = sorted_notes(onset, np.maximum(end - onset, 0), header.pitch, header.velocity, header.voice)
        fields |= {"tempos": clock.tempos, "meters": clock.meters, "key": _key(key_file)}
        fields |= {"chords": self._chords(chord_file, clock, f"{source.name}/{CHORDS}")}
        voices = tuple(voice.lower() for voice in header.voices)
        return [Song(name=source.name, source=source.name, **fields | notes | {"voices": voices})]

    def _chords(self, file: Path, clock: "_Clock", where: str) -> tuple[Chord, ...]:
        rows = [line.split() for line in file.read_text().splitlines() if line.strip()]
        onsets = clock.beats(np.array([float(row[0]) for row in rows])).round(3).clip(0)  # times are microseconds off
        found: list[Chord] = []
        for number, (onset, row) in enumerate(zip(onsets.tolist(), rows, strict=True), 1):
            harmony = parse_chord(row[2], f"{where}, line {number}", self.unknown_chord)
            if not found or found[-1].label != harmony.label:
                found.append(Chord(onset, harmony.label))
        return tuple(found)


class _Clock:
    """Beats of the beat file: a map from seconds of the MIDI file to beats, straight between two beats.

    Args:
        table: (M, 3) rows (seconds, beginning of a half bar, beginning of a bar).
        first_note: seconds; beats are counted back until it lies at or after beat 0.
    """

    def __init__(self, table: Floats, first_note: Floats) -> None:
        times = table[:, 0]
        lead = max(0, int(np.ceil((times[0] - float(first_note)) / (times[1] - times[0]) - 1e-9)))
        before = times[0] - (times[1] - times[0]) * np.arange(lead, 0, -1)
        self.times = np.concatenate([before, times])
        pace = 60 / np.diff(self.times)
        self.tempos = np.stack([np.arange(len(pace)), pace], axis=1)
        self.meters = _meters(np.flatnonzero(table[:, 2] > 0.5) + lead)

    def beats(self, seconds: float | Floats) -> Floats:
        """Beats at ``seconds`` (...) of the file."""
        at = np.asarray(seconds, dtype=np.float64)
        index = np.clip(np.searchsorted(self.times, at, side="right") - 1, 0, len(self.times) - 2)
        return np.asarray(index + (at - self.times[index]) / (self.times[index + 1] - self.times[index]))


def _meters(downbeats: NDArray[np.intp]) -> tuple[Meter, ...]:
    """Bars as they lie between downbeats; what comes before the first one is a pickup."""
    meters = [Meter(0.0, int(downbeats[0]) or 4, 4)] if len(downbeats) else [Meter(0.0, 4, 4)]
    for start, length in zip(downbeats[:-1].tolist(), np.diff(downbeats).tolist(), strict=True):
        if start == 0:
            meters = [Meter(0.0, length, 4)]
        elif length != meters[-1].numerator:
            meters.append(Meter(float(start), length, 4))
    return tuple(meters)


def _table(file: Path, columns: int) -> Floats:
    """Numbers (M, columns) of a text file, at least two rows in order."""
    rows = np.loadtxt(file, ndmin=2)
    if rows.shape[1:] != (columns,) or len(rows) < 2 or not (np.diff(rows[:, 0]) > 0).all():
        raise DataError(f"{file.parent.name}/{file.name}: {rows.shape}: 2 or more rows of {columns} in order of time.")
    return rows


def _key(file: Path) -> str | None:
    """The first key of the song, such as ``F#:maj``."""
    rows = file.read_text().split() if file.is_file() else []
    return parse_chord(rows[2], f"{file.parent.name}/{file.name}").label if len(rows) > 2 else None
