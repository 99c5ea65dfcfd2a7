"""Symbolic score (Song): what every reader returns and every task reads, as plain arrays whose clock is the beat."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from litmotif.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Split = Literal["train", "val", "test"]

LOWEST_KEY, KEYS = 21, 88
"""The columns of a roll are the keys of a piano: MIDI 21 (A0) to 108 (C8)."""
AUDIO_RATE = 2.0
"""Frames of sound a second: raters of emotion were sampled every 0.5 s."""
LONGEST, LONGEST_REST = 40_000.0, 2_048.0
"""Beats that a song may last, and that it may be silent between two notes: five hours and a quarter of an hour at 120
a minute. What lies beyond is a broken time, and would become frames all the same."""
REMARKS = "remarks"
"""The label under which a reader says what it read otherwise than it stands in the file."""
DRUMS = "drums"
"""The voice of percussion, whose pitches are General MIDI drums."""


class Meter(NamedTuple):
    """A time signature; a bar begins on ``beat``. A pickup is a bar of its own length."""

    beat: float
    numerator: int
    denominator: int

    @property
    def bar(self) -> float:
        """Beats (quarters) in a bar."""
        return 4 * self.numerator / self.denominator


class Chord(NamedTuple):
    """Chord symbol from ``onset`` until the next one."""

    onset: float
    label: str
    """In Harte's notation, such as ``C:maj``, ``A:min7``, ``N``; ``..chords.parse_chord`` reads it."""


_floats: Any = partial(np.empty, 0)
_ints: Any = partial(np.empty, 0, np.int64)


@dataclass(frozen=True, eq=False)
class Song:
    """N notes, or a frame roll, or the features of a recording, and what is known of them. A beat is a quarter note.

    Attributes:
        name: unique in its source.
        group: what must not be split over training and test: song, series, drummer's session; by default ``name``.
        split: the official one, where the source has one.
        source: file relative to its root, or id in a corpus.
        onset: (N,) float64 beats from 0, in order; then by pitch.
        duration: (N,) float64 beats, 0 or more.
        pitch: (N,) int64 MIDI 0-127.
        velocity: (N,) int64 MIDI 0-127; 0 where the file has none.
        voice: (N,) int64 index into ``voices``.
        voices: names of tracks or parts; ``DRUMS`` for percussion.
        tempos: (K, 2) float64 rows (beat, quarters a minute), the first at beat 0.
        meters: time signatures, the first at beat 0.
        length: beats; 0 takes the end of the last note, frame or rating.
        chords: in order; each until the next; empty where none are known.
        key: such as ``C:maj`` or ``F#:min``.
        emotion: (E, 3) float64 rows (beat, valence, arousal), both in [-1, 1]; each holds until the next.
        labels: whatever else is known: style, quadrant, drummer; and ``REMARKS`` of the reader.
        roll: (T, 88) bool, for files that are frame rolls only (no notes); columns are keys 21-108.
        roll_rate: frames a beat of ``roll``.
        audio: (T, 128) float32 log-mel energies in dB, where the source is a recording.
        audio_rate: frames a second of ``audio``.
    """

    name: str
    group: str = ""
    split: Split | None = None
    source: str = ""
    onset: Floats = field(default_factory=_floats)
    duration: Floats = field(default_factory=_floats)
    pitch: Ints = field(default_factory=_ints)
    velocity: Ints = field(default_factory=_ints)
    voice: Ints = field(default_factory=_ints)
    voices: tuple[str, ...] = ("",)
    tempos: Floats = field(default_factory=lambda: np.array([[0.0, 120.0]]))
    meters: tuple[Meter, ...] = (Meter(0.0, 4, 4),)
    length: float = 0.0
    chords: tuple[Chord, ...] = ()
    key: str | None = None
    emotion: Floats | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    roll: NDArray[np.bool_] | None = None
    roll_rate: float | None = None
    audio: NDArray[np.float32] | None = None
    audio_rate: float | None = None

    def __post_init__(self) -> None:
        """Check lengths, order and ranges; fill in ``group`` and ``length``.

        Raises:
            DataError: something does not hold; names the file, the field and the value.
        """
        if not self.group:
            object.__setattr__(self, "group", self.name)
        sizes = {name: len(getattr(self, name)) for name in NOTE_FIELDS}
        self._must(len(set(sizes.values())) == 1, f"{sizes} notes: the same number in each array")
        self._must(self.split in (None, "train", "val", "test"), f"split={self.split!r}: train, val, test or None")
        self._must(
            len(self.onset) > 0 or self.roll is not None or self.audio is not None, "no notes, no roll and no audio"
        )
        self._check_notes()
        self._check_maps()
        self._check_frames()
        end = self._end()
        if self.length <= 0:
            object.__setattr__(self, "length", end)
        self._must(bool(np.isfinite(self.length)), f"length={self.length}: a finite number of beats")
        self._must(self.length <= LONGEST, f"{self.length:.0f} beats long: at most {LONGEST:.0f}; is a time broken?")
        rest = np.diff(np.append(0.0, self.onset))
        self._must(
            bool((rest <= LONGEST_REST).all()),
            f"silent for {rest.max(initial=0):.0f} beats before a note: at most {LONGEST_REST:.0f}; is a time broken?",
        )

    # ---------------------------------------------------------------- the clock
    def seconds(self, beats: ArrayLike) -> Floats:
        """Seconds since beat 0 of ``beats`` (...); before the first and after the last tempo their pace goes on."""
        at, starts, paces = np.asarray(beats, dtype=np.float64), self._tempo_seconds(), 60 / self.tempos[:, 1]
        index = np.maximum(np.searchsorted(self.tempos[:, 0], at, side="right") - 1, 0)
        return np.asarray(starts[index] + (at - self.tempos[index, 0]) * paces[index])

    def beats(self, seconds: ArrayLike) -> Floats:
        """Beats at ``seconds`` (...) since beat 0: the inverse of ``seconds``."""
        at, starts = np.asarray(seconds, dtype=np.float64), self._tempo_seconds()
        index = np.maximum(np.searchsorted(starts, at, side="right") - 1, 0)
        return np.asarray(self.tempos[index, 0] + (at - starts[index]) * self.tempos[index, 1] / 60)

    def _tempo_seconds(self) -> Floats:
        """(K,) seconds at which the tempos begin."""
        return np.concatenate([[0.0], np.cumsum(np.diff(self.tempos[:, 0]) * 60 / self.tempos[:-1, 1])])

    def bars(self) -> Iterator[float]:
        """Beats on which bars begin, without end; before the first whole bar there may be a pickup."""
        beat = 0.0
        ends = [meter.beat for meter in self.meters[1:]]
        for meter, end in zip(self.meters, [*ends, float("inf")], strict=True):
            while beat < end - 1e-6:
                yield beat
                beat = min(beat + meter.bar, end)

    def after(self, bars: int) -> float:
        """The beat on which so many bars are over; a pickup is none."""
        pickup = len(self.meters) > 1 and self.meters[1].beat == self.meters[0].bar < self.meters[1].bar
        return next(itertools.islice(self.bars(), bars + pickup, None))

    # ---------------------------------------------------------------- checks
    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            raise DataError(f"{self.source or self.name}: {what}.")

    def _check_notes(self) -> None:
        if not len(self.onset):
            return
        step = np.diff(self.onset)
        self._must(bool(np.isfinite(self.onset).all() and np.isfinite(self.duration).all()), "onset or duration is NaN")
        self._must(self.onset[0] >= 0, f"first onset {self.onset[0]}: beats from 0")
        self._must(
            bool((step > 0).all() or ((step > 0) | ((step == 0) & (np.diff(self.pitch) >= 0))).all()),
            "notes are not in order of onset, then pitch (see sorted_notes)",
        )
        for name, low, high in (
            ("duration", 0, np.inf),
            ("pitch", 0, 127),
            ("velocity", 0, 127),
            ("voice", 0, len(self.voices) - 1),
        ):
            values = getattr(self, name)
            least, most = values.min(), values.max()
            self._must(least >= low and most <= high, f"{name} in [{least}, {most}]: it lies in [{low}, {high}]")

    def _check_maps(self) -> None:
        self._must(self.tempos.ndim == 2 and self.tempos.shape[1:] == (2,), f"tempos {self.tempos.shape}: (K, 2)")
        beat, pace = self.tempos.T
        self._must(len(beat) > 0 and beat[0] == 0 and bool((np.diff(beat) > 0).all()), "tempos: from beat 0, in order")
        self._must(bool((np.isfinite(pace) & (pace > 0)).all()), f"tempo {pace.min()}: quarters a minute, above 0")
        self._must(bool(self.meters) and self.meters[0][0] == 0, "meters: the first one at beat 0")
        for what, rows in (("meters", self.meters), ("chords", self.chords)):
            onsets = [row[0] for row in rows]
            self._must(all(a <= b for a, b in itertools.pairwise(onsets)), f"{what} are not in order")
        for meter in self.meters:
            self._must(meter[1] > 0 and meter[2] > 0, f"meter {meter[1]}/{meter[2]} at beat {meter[0]}: above 0")

    def _check_frames(self) -> None:
        if self.emotion is not None:
            self._must(self.emotion.ndim == 2 and self.emotion.shape[1] == 3, f"emotion {self.emotion.shape}: (E, 3)")
            ratings = self.emotion[:, 1:]
            self._must(
                len(ratings) > 0 and bool((np.abs(ratings) <= 1).all()), "valence or arousal outside [-1, 1], or none"
            )
            self._must(bool((np.diff(self.emotion[:, 0]) >= 0).all()), "emotion is not in order of beats")
        for name, width in (("roll", KEYS), ("audio", 128)):
            frames, rate = getattr(self, name), getattr(self, f"{name}_rate")
            if frames is not None:
                self._must(frames.ndim == 2 and frames.shape[1] == width, f"{name} {frames.shape}: (T, {width})")
                self._must(len(frames) > 0 and rate is not None and rate > 0, f"{name}_rate={rate} of {name}: above 0")

    def _end(self) -> float:
        ends = [float((self.onset + self.duration).max())] if len(self.onset) else []
        if self.roll is not None and self.roll_rate:
            ends.append(len(self.roll) / self.roll_rate)
        if self.audio is not None and self.audio_rate:
            ends.append(float(self.beats(len(self.audio) / self.audio_rate)))
        if self.emotion is not None:
            ends.append(float(self.emotion[-1, 0]))
        return max(ends)


NOTE_FIELDS = ("onset", "duration", "pitch", "velocity", "voice")


def sorted_notes(
    onset: ArrayLike, duration: ArrayLike, pitch: ArrayLike, velocity: ArrayLike, voice: ArrayLike
) -> dict[str, Any]:
    """The note arrays (N,) of a ``Song``, in its order: onset, then pitch, then voice."""
    floats = [np.asarray(values, dtype=np.float64) for values in (onset, duration)]
    ints = [np.asarray(values, dtype=np.int64) for values in (pitch, velocity, voice)]
    order = np.lexsort((ints[2], ints[0], floats[0]))
    return {name: values[order] for name, values in zip(NOTE_FIELDS, (*floats, *ints), strict=True)}


# -------------------------------------------------------------------- many songs in one file
_STORED: dict[str, type] = {
    "onset": np.float64,
    "duration": np.float64,
    "pitch": np.uint8,
    "velocity": np.uint8,
    "voice": np.uint16,
    "tempos": np.float64,
    "emotion": np.float64,
    "roll": np.bool_,
    "audio": np.float32,
}
_WIDTH = {"tempos": 2, "emotion": 3, "roll": KEYS, "audio": 128}
_PLAIN = ("name", "group", "split", "source", "voices", "meters", "length", "chords", "key", "roll_rate", "audio_rate")
ABSENT = -1


def pack(songs: Sequence[Song]) -> dict[str, NDArray[Any]]:
    """S songs as arrays for one npz: each field end to end, its rows a song (``counts``), the rest as JSON text."""
    arrays: dict[str, NDArray[Any]] = {}
    counts = np.full((len(_STORED), len(songs)), ABSENT, dtype=np.int64)
    for row, (name, dtype) in enumerate(_STORED.items()):
        present = [(k, value) for k, song in enumerate(songs) if (value := getattr(song, name)) is not None]
        counts[row, [k for k, _ in present]] = [len(value) for _, value in present]
        empty: NDArray[Any] = np.empty((0, _WIDTH[name]) if name in _WIDTH else 0, dtype=dtype)
        arrays[name] = np.concatenate([empty, *(value.astype(dtype) for _, value in present)])
    plain = [{name: getattr(song, name) for name in _PLAIN} | {"labels": dict(song.labels)} for song in songs]
    arrays["counts"] = counts
    arrays["plain"] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)
    return arrays


def unpack(arrays: Mapping[str, NDArray[Any]]) -> list[Song]:
    """The songs that ``pack`` packed."""
    plain = json.loads(arrays["plain"].tobytes())
    columns: dict[str, list[Any]] = {}
    for counts, name in zip(arrays["counts"], _STORED, strict=True):
        dtype = np.int64 if _STORED[name] in (np.uint8, np.uint16) else _STORED[name]
        values: NDArray[Any] = arrays[name].astype(dtype, copy=False)
        ends = np.maximum(counts, 0).cumsum()
        columns[name] = [
            None if count == ABSENT else values[end - count : end]
            for count, end in zip(counts.tolist(), ends.tolist(), strict=True)
        ]
    songs = []
    for k, facts in enumerate(plain):
        facts["voices"] = tuple(facts["voices"])
        facts["meters"] = tuple(Meter(*meter) for meter in facts["meters"])
        facts["chords"] = tuple(Chord(*chord) for chord in facts["chords"])
        songs.append(Song(**facts, **{name: column[k] for name, column in columns.items()}))
    return songs
