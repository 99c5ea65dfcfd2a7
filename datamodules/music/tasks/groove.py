"""Drum humanisation: microtiming and velocity of each hit, given the quantised pattern.

The humanisation task of Gillick et al. (arXiv:1905.06118): nine classes of drums, a grid of sixteenths, offsets as a
fraction of half a step, velocities; of several hits of a class in a step the loudest counts.
"""

import numpy as np

from ..song import Song
from .base import Array, Block, Frames, Layout, Task, at_least, one_of
from .raster import bar_step, in_bar, one_hot, rows_of, shifted, since, tempo_at, to_steps, until
from .voices import drums

DRUM_CLASSES = ("kick", "snare", "closed_hat", "open_hat", "low_tom", "mid_tom", "high_tom", "crash", "ride")
_PITCHES = (
    (35, 36),
    (37, 38, 39, 40),
    (22, 42, 44, 54, 69, 70),
    (26, 46),
    (41, 43, 58),
    (45, 47),
    (48, 50),
    (49, 52, 55, 57),
    (51, 53, 56, 59),
)
STYLES = (
    *("afrobeat", "afrocuban", "blues", "country", "dance", "funk", "gospel", "highlife", "hiphop", "jazz", "latin"),
    *("middleeastern", "neworleans", "pop", "punk", "reggae", "rock", "soul"),
)
"""Primary styles of the Groove MIDI Dataset; a known style that is none of them is ``other``."""
STEPS = 16
STEPS_A_BEAT = 4


_CLASS_OF_PITCH = np.array([next((k for k, own in enumerate(_PITCHES) if pitch in own), -1) for pitch in range(128)])


def drum_class(pitch: Array) -> Array:
    """Class (N,) of MIDI keys (N,): General MIDI, and the Roland TD-11 of the dataset; -1 for others."""
    return np.asarray(_CLASS_OF_PITCH[pitch])


class Groove(Task):
    """The pattern around a step -> offset and velocity of its hits.

    Offsets are in half steps, [-1, 1]: a sixteenth early or late by a quarter of itself is -0.5 or 0.5. Velocities are
    mapped from 0-127 to [-1, 1]. Swing is, for each bar, the mean offset of the hits on its weak sixteenths (the
    second, fourth ... last) less that of the others.

    Args:
        lookahead: steps of the pattern after a row's own that it sees: of each drum how soon it is hit again.
        size: ``small`` (64 columns); ``full``, which adds each of the ``lookahead`` steps as nine hits; or ``newest``,
            which adds the last of them: a network with memory has seen the others.
        beats_only: leave out fills and what is not in 4/4, as the published numbers do.
    """

    name = "groove"
    rate = STEPS_A_BEAT

    def __init__(self, lookahead: int = 1, size: str = "small", beats_only: bool = True) -> None:
        at_least("lookahead", lookahead, 0)
        one_of("size", size, ("small", "full", "newest"))
        self.beats_only = beats_only
        self.latency = self.ahead = lookahead
        blocks = [
            Block("hit", DRUM_CLASSES),
            Block("next_in", DRUM_CLASSES),
            Block("last_ago", DRUM_CLASSES),
            Block("bar_step", STEPS),
            Block("tempo", 1, tempo=1),
            Block("fill"),
            Block("style", (*STYLES, "other")),
        ]
        first = {"small": lookahead + 1, "full": 1, "newest": max(lookahead, 1)}[size]
        self.seen = {f"hit_in_{k}": k for k in range(first, lookahead + 1)}
        ahead = [Block(name, DRUM_CLASSES) for name in self.seen]
        self.inputs = Layout([*blocks, *ahead], 64 if size == "small" else None)
        self.targets = Layout([Block("offset", DRUM_CLASSES), Block("velocity", DRUM_CLASSES), Block("swing")], 32)

    def missing(self, song: Song) -> str | None:
        """A song needs a hit of a known drum with a velocity; and 4/4 that is no fill, where only those are wanted."""
        known = drums(song) & (song.velocity > 0)
        if not (known.any() and (drum_class(song.pitch[known]) >= 0).any()):
            return "drum hits with velocities"
        common = all(meter.numerator == meter.denominator == 4 for meter in song.meters)
        if self.beats_only and not (common and song.labels.get("beat_type", "beat") == "beat"):
            return "a beat in 4/4 (task_options.beats_only)"
        return None

    def frames(self, song: Song) -> Frames:
        """One row a sixteenth."""
        hit, offset, velocity = self._grid(song)
        rows = len(hit)
        beats = np.arange(rows) / STEPS_A_BEAT
        position, _ = in_bar(song, beats)
        style = song.labels.get("style", "").split("/")[0]
        number = STYLES.index(style) if style in STYLES else len(STYLES) if style else -1
        gap = until(hit)
        values = {
            "hit": hit,
            "next_in": np.where(gap <= self.ahead, 1 / gap, 0),
            "last_ago": np.where((ago := since(hit)) <= rows, 1 / ago, 0),
            "bar_step": bar_step(position, STEPS_A_BEAT, STEPS),
            "tempo": tempo_at(song, beats) / 120,
            "fill": np.full(rows, float(song.labels.get("beat_type", "beat") == "fill")),
            "style": np.broadcast_to(one_hot(np.array([number]), len(STYLES) + 1), (rows, len(STYLES) + 1)),
        }
        values |= {name: shifted(hit, k) for name, k in self.seen.items()}
        swing, swung = _swing(hit, offset, np.cumsum(position < 1e-3))
        targets = {"offset": offset, "velocity": velocity, "swing": swing}
        known = {"offset": hit, "velocity": hit, "swing": swung}
        return Frames(self.inputs.fill(values, rows), *self.labels(targets, known, rows))

    def _grid(self, song: Song) -> tuple[Array, Array, Array]:
        """Hits (T, 9) bool, offsets and velocities (T, 9) in [-1, 1], both 0 where there is no hit."""
        kind = drum_class(song.pitch)
        chosen = np.flatnonzero(drums(song) & (song.velocity > 0) & (kind >= 0))
        chosen = chosen[np.argsort(song.velocity[chosen], kind="stable")]  # of equal cells the last one stays
        step = to_steps(song.onset[chosen], STEPS_A_BEAT)
        cell = (step, kind[chosen])
        rows = max(rows_of(song, STEPS_A_BEAT), int(step.max()) + 1)
        hit, offset, velocity = np.zeros((rows, 9), bool), np.zeros((rows, 9)), np.zeros((rows, 9))
        hit[cell] = True
        offset[cell] = (song.onset[chosen] * STEPS_A_BEAT - step) * 2
        velocity[cell] = song.velocity[chosen] / 63.5 - 1
        return hit, offset, velocity


def _swing(hit: Array, offset: Array, bar: Array) -> tuple[Array, Array]:
    """Swing (T,) of the bar that each step lies in, and whether it is known."""
    odd = np.arange(len(hit)) % 2
    cell = bar * 2 + odd
    hits = np.bincount(cell, hit.sum(axis=1), 2 * bar[-1] + 2).reshape(-1, 2)
    total = np.bincount(cell, offset.sum(axis=1), 2 * bar[-1] + 2).reshape(-1, 2)
    mean = total / np.maximum(hits, 1)
    known = np.asarray((hits > 0).all(axis=1))
    swing = np.where(known, np.clip(mean[:, 1] - mean[:, 0], -1, 1), 0)
    return swing[bar], known[bar]
