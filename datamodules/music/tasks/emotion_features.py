"""Musical features for emotion, frame by frame: 128 columns of which each knows only what has been heard.

The cues are those that listeners use (Gabrielsson and Lindström 2010): tempo, mode, loudness, register, melody,
rhythm, articulation, density and consonance; ``recent`` forgets, ``all`` does not.
"""

import numpy as np

from ..chords import TRIADS
from ..song import Song
from .base import Array, Block, chroma
from .keys import key_correlations
from .neighbours import together
from .raster import coverage, decayed, in_bar, rows_of, scatter, share, tempo_at, turn
from .voices import drums, melody

RECENT = 8
"""Half-life, in beats, of the recent past."""
_BINS = 8
_MEANS = ("velocity", "velocity_spread", "pitch_spread", "articulation")

BLOCKS = [
    chroma("chroma_now"),
    chroma("chroma_recent"),
    chroma("chroma_all"),
    Block("key", TRIADS[:24], "rotate"),
    Block("major", ("recent", "all")),
    Block("interval_class", 6),
    Block("height", ("recent", "all", "top_recent", "bass_recent"), "height"),
    Block("melodic_interval", 13),
    Block("duration", _BINS),
    Block("inter_onset", _BINS),
    Block("loudness", _BINS),
    *(Block(name, ("recent", "all")) for name in _MEANS),
    Block("notes_a_second", ("now", "recent", "all"), tempo=1),
    Block("onsets_a_second", ("now", "recent", "all"), tempo=1),
    Block("polyphony", ("recent", "all")),
    Block("tempo", 1, tempo=1),
    Block("bar", ("sine", "cosine")),
]


class _Past:
    """Sums over the past of what happens at points in time (beats).

    Args:
        song: whose past.
        rate: frames a beat.
    """

    def __init__(self, song: Song, rate: float) -> None:
        self.rate, self.rows, self.half_life = rate, rows_of(song, rate), RECENT * rate

    def at(self, beats: Array, values: Array | None = None, column: Array | None = None, columns: int = 1) -> Array:
        """Sums (T, columns) of ``values`` (1 where None) in the frame of each moment."""
        frame = np.floor(beats * self.rate + 1e-6).astype(np.int64)
        column = np.zeros(len(beats), np.int64) if column is None else column
        return scatter(frame, column, (self.rows, columns), values)

    def recent(self, sums: Array) -> Array:
        """Sums that forget."""
        return decayed(sums, self.half_life)

    def ratios(self, total: Array, of: Array, now: bool = False) -> Array:
        """``total`` over ``of`` (T, 1) each, recent and over all the past; 0 where ``of`` is 0."""
        pasts = [(total, of)] if now else []
        pasts += [(self.recent(total), self.recent(of)), (total.cumsum(axis=0), of.cumsum(axis=0))]
        return np.hstack([np.divide(a, b, out=np.zeros(a.shape), where=b > 1e-9) for a, b in pasts])

    def moments(self, beats: Array, values: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (T, 2) of values (N,), recent and over all the past."""
        of = self.at(beats)
        mean, square = (self.ratios(self.at(beats, power), of) for power in (values, values**2))
        return mean, np.sqrt(np.maximum(square - mean**2, 0))

    def histogram(self, beats: Array, column: Array, columns: int) -> Array:
        """Recent shares (T, columns)."""
        return share(self.recent(self.at(beats, None, column, columns)))


def score_features(song: Song, rate: float) -> dict[str, Array]:
    """Values (T, n) of ``BLOCKS`` at ``rate`` frames a beat; a note counts from its onset, its length from its end."""
    past = _Past(song, rate)
    beats = np.arange(past.rows) / rate
    position, bar = in_bar(song, beats)
    return {
        "tempo": tempo_at(song, beats) / 120,
        "bar": turn(position / bar),
        **_tonality(song, past),
        **_register(song, past),
        **_rhythm(song, past, beats),
        **_expression(song, past),
    }


def _tonality(song: Song, past: _Past) -> dict[str, Array]:
    pitched = ~drums(song)
    begin, end = song.onset[pitched] * past.rate, (song.onset + song.duration)[pitched] * past.rate
    now = coverage(begin, end, song.pitch[pitched] % 12, (past.rows, 12))
    recent, everything = past.recent(now), now.cumsum(axis=0)
    keys = [key_correlations(heard) for heard in (recent, everything)]
    pairs = np.stack([(now * np.roll(now, -k, axis=1)).sum(axis=1) for k in range(1, 7)], axis=1)
    return {
        "chroma_now": now,
        "chroma_recent": share(recent),
        "chroma_all": share(everything),
        "key": keys[1],
        "major": np.stack([key[:, :12].max(axis=1) - key[:, 12:].max(axis=1) for key in keys], axis=1),
        "interval_class": share(past.recent(pairs)),
        "polyphony": past.ratios(now.sum(axis=1, keepdims=True), np.ones((past.rows, 1))) / 4,
    }


def _register(song: Song, past: _Past) -> dict[str, Array]:
    pitched = np.flatnonzero(~drums(song))
    onset, pitch = song.onset[pitched], song.pitch[pitched].astype(np.float64)
    first, last = together(onset)
    mean, deviation = past.moments(onset, pitch)
    edges = [past.ratios(past.at(onset[k], pitch[k]), past.at(onset[k]))[:, :1] for k in (last, first)]
    line = melody(song)
    steps = np.abs(np.diff(song.pitch[line]))
    return {
        "height": np.hstack([mean, *edges]) / 128,
        "pitch_spread": deviation / 12,
        "melodic_interval": past.histogram(song.onset[line][1:], np.minimum(steps, 12), 13),
    }


def _rhythm(song: Song, past: _Past, beats: Array) -> dict[str, Array]:
    moments = song.onset[together(song.onset)[0]]
    seconds = (60 / past.rate / tempo_at(song, beats))[:, None]
    return {
        "duration": past.histogram(song.onset + song.duration, _octave(song.duration), _BINS),
        "inter_onset": past.histogram(moments[1:], _octave(np.diff(moments)), _BINS),
        "notes_a_second": past.ratios(past.at(song.onset), seconds, now=True) / 8,
        "onsets_a_second": past.ratios(past.at(moments), seconds, now=True) / 8,
    }


def _expression(song: Song, past: _Past) -> dict[str, Array]:
    loud = song.velocity > 0
    onset, velocity = song.onset[loud], song.velocity[loud] / 127
    mean, deviation = past.moments(onset, velocity)
    line = melody(song)
    begin, length = song.onset[line], song.duration[line]
    gap = np.maximum(np.diff(begin), 1e-3)
    known = np.maximum(begin[:-1] + length[:-1], begin[1:])
    return {
        "velocity": mean,
        "velocity_spread": deviation * 4,
        "loudness": past.histogram(onset, np.floor(velocity * 7.999).astype(np.int64), _BINS),
        "articulation": past.ratios(past.at(known, np.minimum(length[:-1] / gap, 1)), past.at(known)),
    }


def _octave(beats: Array) -> Array:
    """Bin (N,) of lengths: 1/16 of a beat or less, 1/8, 1/4 .. 8 beats or more."""
    return np.asarray(np.clip(np.rint(np.log2(np.maximum(beats, 1e-3)) + 4), 0, _BINS - 1), dtype=np.int64)
