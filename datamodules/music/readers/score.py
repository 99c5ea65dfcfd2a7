"""MusicXML and ABC, by music21 (Cuthbert & Ariza 2010): parts as voices, chord symbols, key; repeats stay folded."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from litmotif.errors import DataError

from ..chords import NO_CHORD, NONE, TONICS, Harmony, parse_chord
from ..key_signatures import SHARPS
from ..song import REMARKS, Chord, Floats, Meter, Song, sorted_notes
from .base import Broken, Reader, Source, broken_songs, files_in, sources_of
from .score_file import open_scores

ENDINGS = (".xml", ".musicxml", ".mxl", ".abc")
MICROTONES = "microtones, rounded to semitones"
CLASSLESS = ("pedal", "other", "Tristan", "Neapolitan", "Italian", "French", "German")
"""Kinds of MusicXML that are no chord on their root."""
KINDS = {  # of MusicXML, as music21 calls them
    "power": "5",
    "major": "maj",
    "minor": "min",
    "augmented": "aug",
    "diminished": "dim",
    "suspended-second": "sus2",
    "suspended-fourth": "sus4",
    "major-sixth": "maj6",
    "minor-sixth": "min6",
    "suspended-fourth-seventh": "7sus4",
    "seventh-flat-five": "7",
    "augmented-major-seventh": "aug",
}
FAMILIES = {
    "half-diminished-": "hdim7",
    "diminished-": "dim7",
    "minor-major-": "minmaj7",
    "augmented-major-": "aug",
    "augmented-": "aug7",
    "dominant-": "7",
    "major-": "maj7",
    "minor-": "min7",
}
"""Beginnings of kinds with a seventh; a ninth, eleventh and thirteenth count as the seventh chord they stand on."""
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
    version = 2
    unknown_chord: Literal["error", "none"] = "error"

    def find(self, root: Path) -> list[Source]:
        """All scores."""
        return sources_of(root, files_in(root, *ENDINGS))

    def read(self, source: Source) -> list[Song | Broken]:
        """The score, or the tunes of the book that have notes; a tune that breaks leaves the others whole."""
        scores = open_scores(source.path, source.name)
        songs: list[Song | Broken] = []
        for number, score in enumerate(scores, 1):
            name = source.name if len(scores) == 1 else f"{source.name}#{number}"
            with broken_songs(name, songs):
                fields = read_score(score, name, self.unknown_chord)
                if len(fields["onset"]):
                    songs.append(Song(name=name, source=source.name, **fields))
        if not songs:
            drums = any(score.flatten().getElementsByClass("Unpitched") for score in scores)
            what = "only percussion without pitch: save it as MIDI, on channel 10" if drums else "no notes"
            raise DataError(f"{source.name}: {what}. Leave the file out.")
        return songs


def read_score(score: Any, where: str, unknown_chord: Literal["error", "none"] = "error") -> dict[str, Any]:
    """Notes, voices, chords, tempos, meters and key of a music21 score, as fields of ``Song``.

    Parts of transposing instruments are taken at sounding pitch. What was read otherwise than it stands there
    (microtones, chords of no class) is counted in ``labels``, under ``REMARKS``.
    """
    score = _sounding(score)
    parts = list(score.parts) or [score]
    flat = [part.flatten() for part in parts]
    voices = tuple(dict.fromkeys(str(part.partName or f"part {k + 1}") for k, part in enumerate(parts)))
    numbers = [voices.index(str(part.partName or f"part {k + 1}")) for k, part in enumerate(parts)]
    counts: Counter[str] = Counter()
    rows = [(*note, voice) for part, voice in zip(flat, numbers, strict=True) for note in _notes(part, counts)]
    onset, duration, pitch, velocity, voice = zip(*rows, strict=True) if rows else ((),) * 5
    title = score.metadata.title if score.metadata is not None else None
    chords = _chords(flat, where, unknown_chord, counts)
    remarks = "; ".join(f"{count} {what}" for what, count in counts.items())
    return {
        **sorted_notes(onset, duration, pitch, velocity, voice),
        "voices": voices,
        "chords": chords,
        "tempos": _tempos(flat),
        "meters": _meters(parts[0], flat[0]),
        "key": _key(flat[0]),
        "labels": ({"title": str(title)} if title else {}) | ({REMARKS: remarks} if remarks else {}),
    }


def _sounding(score: Any) -> Any:
    """The score at sounding pitch; of one that says nothing of its instruments that is what stands there."""
    transposed = [part for part in score.parts if any(one.transposition for one in part.getInstruments(recurse=True))]
    return score.toSoundingPitch() if transposed else score


def _notes(part: Any, counts: Counter[str]) -> Iterator[tuple[float, float, int, int]]:
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
            counts.update([MICROTONES] if tone.pitch.ps % 1 else [])
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


def _chords(parts: list[Any], where: str, unknown: Literal["error", "none"], counts: Counter[str]) -> tuple[Chord, ...]:
    found = {}
    for part in parts:
        for symbol in part.getElementsByClass("ChordSymbol"):
            onset, kind = float(symbol.offset), str(symbol.chordKind)
            if "NoChord" in symbol.classes:
                found[onset] = NO_CHORD
            elif kind in CLASSLESS:
                counts[f"chords of a kind without a class ({kind})"] += 1
                found[onset] = NO_CHORD
            else:
                found[onset] = _chord(symbol, kind, f"{where}, beat {onset:g}", unknown).label
    return tuple(Chord(onset, label) for onset, label in sorted(found.items()))


def _chord(symbol: Any, kind: str, where: str, unknown: Literal["error", "none"]) -> Harmony:
    """By what is written, where this can be read; else by its kind, without what is altered."""
    written = parse_chord(str(symbol.figure), where, "none", minus="flat")
    family = next((of for start, of in FAMILIES.items() if kind.startswith(start)), None)
    quality = KINDS.get(kind, family)
    if quality and (written is NONE or not symbol.chordStepModifications):
        return Harmony(symbol.root().pitchClass, quality, (symbol.bass() or symbol.root()).pitchClass)
    return written if written is not NONE else parse_chord(str(symbol.figure), where, unknown, minus="flat")


def _tempos(parts: list[Any]) -> Floats:
    """(K, 2) rows (beat, quarters a minute) of the marks of all parts, whatever note they count."""
    rows = {0.0: 120.0}
    for part in reversed(parts):  # of marks on one beat that of the first part counts
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
    """The first key with a mode; a mode counts as major or minor by its third. More than seven signs are none."""
    from music21 import key

    first = part.getElementsByClass(key.KeySignature).first()
    return key_label(first) if isinstance(first, key.Key) and first.sharps in SHARPS else None


def key_label(key: Any) -> str:
    """A music21 key, such as ``A:min``."""
    return f"{TONICS[key.tonic.pitchClass]}:{'min' if key.mode in _MINOR_MODES else 'maj'}"
