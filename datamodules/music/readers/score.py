"""MusicXML and ABC, by music21 (Cuthbert & Ariza 2010): parts as voices, chord symbols, key; repeats stay folded."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from litmotif.errors import DataError

from ..chords import NO_CHORD, TONICS, parse_chord
from ..song import Chord, Floats, Meter, Song, sorted_notes
from .base import Reader, Source, files_in, sources_of

ENDINGS = (".xml", ".musicxml", ".mxl", ".abc")
_MINOR_MODES = ("minor", "dorian", "phrygian", "aeolian", "locrian")


@dataclass(frozen=True)
class Score(Reader):
    """Each score is a song; a book of ABC tunes holds many, each a group of its own.

    ``labels``: title.

    Args:
        unknown_chord: what a chord symbol that cannot be read is: an error, or no chord. What music21 takes for a
            remark (``"Fine"`` in ABC) is none.
    """

    name = "score"
    wants = f"files {', '.join(f'*{ending}' for ending in ENDINGS)}"
    needs = ("music21",)
    unknown_chord: Literal["error", "none"] = "error"

    def find(self, root: Path) -> list[Source]:
        """All scores."""
        return sources_of(root, files_in(root, *ENDINGS))

    def read(self, source: Source) -> list[Song]:
        """The score, or the tunes of the book that have notes."""
        scores = open_scores(source.path)
        songs = []
        for number, score in enumerate(scores, 1):
            name = source.name if len(scores) == 1 else f"{source.name}#{number}"
            fields = read_score(score, name, self.unknown_chord)
            if len(fields["onset"]):
                songs.append(Song(name=name, source=source.name, **fields))
        if not songs:
            raise DataError(f"{source.name}: no notes. Leave the file out.")
        return songs


def open_scores(path: Path) -> list[Any]:
    """The music21 scores of a file, parsed anew (music21's own cache of pickles is left alone)."""
    from music21 import converter, stream

    found = converter.parse(path, forceSource=True, storePickle=False)
    return list(found.scores) if isinstance(found, stream.Opus) else [found]


def read_score(score: Any, where: str, unknown_chord: Literal["error", "none"] = "error") -> dict[str, Any]:
    """Notes, voices, chords, tempos, meters and key of a music21 score, as fields of ``Song``."""
    parts = list(score.parts) or [score]
    flat = [part.flatten() for part in parts]
    voices = tuple(dict.fromkeys(str(part.partName or f"part {k + 1}") for k, part in enumerate(parts)))
    numbers = [voices.index(str(part.partName or f"part {k + 1}")) for k, part in enumerate(parts)]
    rows = [(*note, voice) for part, voice in zip(flat, numbers, strict=True) for note in _notes(part)]
    onset, duration, pitch, velocity, voice = zip(*rows, strict=True) if rows else ((),) * 5
    title = score.metadata.title if score.metadata is not None else None
    return {
        **sorted_notes(onset, duration, pitch, velocity, voice),
        "voices": voices,
        "chords": _chords(flat, where, unknown_chord),
        "tempos": _tempos(flat[0]),
        "meters": _meters(parts[0], flat[0]),
        "key": _key(flat[0]),
        "labels": {"title": str(title)} if title else {},
    }


def _notes(part: Any) -> Iterator[tuple[float, float, int, int]]:
    """(onset, duration, pitch, velocity) of a part, tied notes as one; grace notes and unpitched ones left out."""
    from music21 import chord, harmony, note

    held: dict[int, list[Any]] = {}  # notes that a tie may still lengthen
    done: list[list[Any]] = []
    for element in part.notes:
        if isinstance(element, harmony.Harmony) or element.duration.isGrace:
            continue
        tones = element.notes if isinstance(element, chord.Chord) else [element]
        for tone in tones:
            if not isinstance(tone, note.Note):
                continue
            pitch, onset, tie = int(tone.pitch.midi), float(element.offset), tone.tie or element.tie
            length, before = float(element.quarterLength), held.pop(pitch, None)
            goes_on = before is not None and tie is not None and tie.type in ("stop", "continue")
            if goes_on and before is not None and abs(before[0] + before[1] - onset) < 1e-3:
                before[1] += length
                row = before
            else:
                row = [onset, length, pitch, int(tone.volume.velocity or 0)]
                done.append(row)
            if tie is not None and tie.type in ("start", "continue"):
                held[pitch] = row
    for row in done:
        yield row[0], row[1], row[2], row[3]


def _chords(parts: list[Any], where: str, unknown: Literal["error", "none"]) -> tuple[Chord, ...]:
    found = {}
    for part in parts:
        for symbol in part.getElementsByClass("ChordSymbol"):
            onset, figure = float(symbol.offset), str(symbol.figure)
            silent = "NoChord" in symbol.classes
            place = f"{where}, beat {onset:g}"
            found[onset] = NO_CHORD if silent else parse_chord(figure, place, unknown, minus="flat").label
    return tuple(Chord(onset, label) for onset, label in sorted(found.items()))


def _tempos(part: Any) -> Floats:
    rows = {0.0: 120.0}
    for mark in part.getElementsByClass("MetronomeMark"):
        pace = mark.getQuarterBPM()
        if pace:
            rows[float(mark.offset)] = float(pace)
    return np.array(sorted(rows.items()))


def _meters(part: Any, flat: Any) -> tuple[Meter, ...]:
    rows: dict[float, tuple[int, int]] = {0.0: (4, 4)}
    for signature in flat.getElementsByClass("TimeSignature"):
        rows[float(signature.offset)] = (int(signature.numerator), int(signature.denominator))
    first, bar = part.getElementsByClass("Measure").first(), Meter(0.0, *rows[0.0]).bar
    length = float(first.highestTime) if first is not None else bar
    if 0 < length < bar:  # a pickup
        whole = Fraction(length / 4).limit_denominator(64)
        rows = {length: rows[0.0]} | rows | {0.0: (whole.numerator, whole.denominator)}
    return tuple(Meter(beat, *signature) for beat, signature in sorted(rows.items()))


def _key(part: Any) -> str | None:
    """The first key with a mode; a mode counts as major or minor by its third."""
    from music21 import key

    first = part.getElementsByClass(key.KeySignature).first()
    return key_label(first) if isinstance(first, key.Key) else None


def key_label(key: Any) -> str:
    """A music21 key, such as ``A:min``."""
    return f"{TONICS[key.tonic.pitchClass]}:{'min' if key.mode in _MINOR_MODES else 'maj'}"
