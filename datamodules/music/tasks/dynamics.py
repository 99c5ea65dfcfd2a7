"""Expressive dynamics: velocity and articulation of each note. A row is a note, in order of onset, then pitch."""

import numpy as np

from ..song import Song
from .base import Array, Block, Frames, Layout, Task, at_least, chroma, one_of
from .groove import DRUM_CLASSES, drum_class
from .neighbours import around, counted
from .raster import bar_step, in_bar, one_hot, scatter, tempo_at, to_steps, turn
from .voices import drums, melody

STEPS_A_BEAT = 8
"""Notes within one such step count as struck together."""
CLASS_EDGES = (32, 48, 64, 80, 96)
"""Six classes of velocity: below 32, 32-47, 48-63, 64-79, 80-95, from 96 (Chou et al., arXiv:2107.05223)."""
CLASSES = ("pp", "p", "mp", "mf", "f", "ff")
_RECENT = 4
"""Beats of the recent past."""


class Dynamics(Task):
    """A note and those around it -> velocity, articulation and class of velocity.

    A row knows all notes struck together with its own, and those up to ``lookahead`` beats later. Velocity is of 0-1;
    articulation is the note's length as a share of the time to the next note of its voice, at most 1.

    Args:
        drums: rows are drum hits; otherwise they are all other notes.
        previous_velocities: give true velocities of earlier notes. A host that plays on needs them; what is written
            about predicting velocities from the score alone does without.
        duration: give the note's own length. Articulation, which it gives away, is then masked.
        lookahead: beats of the score that are known ahead.
        size: ``small`` (32 columns) or ``full``, which adds the pitch class, the sixteenth within the bar and
            ``neighbours`` notes before and after.
        neighbours: of ``full``; those later than ``lookahead`` stay unseen.
    """

    name = "dynamics"
    rate = 0

    def __init__(
        self,
        drums: bool = False,
        previous_velocities: bool = False,
        duration: bool = False,
        lookahead: float = 1,
        size: str = "small",
        neighbours: int = 8,
    ) -> None:
        at_least("lookahead", lookahead, 0)
        at_least("neighbours", neighbours, 1)
        one_of("size", size, ("small", "full"))
        self.drums, self.previous, self.duration = drums, previous_velocities, duration
        self.latency, self.ahead = lookahead, round(lookahead * STEPS_A_BEAT)
        self.full, self.neighbours = size == "full", neighbours
        kind = (
            [Block("drum", DRUM_CLASSES), Block("with", DRUM_CLASSES)]
            if drums
            else [
                Block("height", 1, "height"),
                Block("melody"),
                Block("voice", 3),
                Block("chord_size"),
                Block("from_top"),
                Block("interval", ("before", "after", "to_mean")),
                Block("duration"),
                Block("gap", ("before", "after")),
            ]
        )
        blocks = [
            *kind,
            Block("beat", ("sine", "cosine")),
            Block("bar", ("sine", "cosine")),
            Block("strength"),
            Block("voice_gap", ("before", "after")),
            Block("density", ("beat", "recent", "ahead")),
            Block("tempo", 1, tempo=1),
            Block("previous", ("voice", "any", "recent")),
        ]
        offsets = [k for k in range(-neighbours, neighbours + 1) if k]
        around = [Block(f"note{k:+d}", ("interval", "gap", "voice")) for k in offsets]
        wide = [Block("bar_step", 16), *([] if drums else [chroma("pitch_class")]), *around]
        self.inputs = Layout([*blocks, *(wide if self.full else [])], None if self.full else 32)
        self.targets = Layout([Block("velocity"), Block("articulation"), Block("class", CLASSES)], 16)

    def missing(self, song: Song) -> str | None:
        """A song needs notes with velocities."""
        chosen = self._chosen(song)
        if not (chosen.any() and (song.velocity[chosen] > 0).any()):
            return "drum hits with velocities" if self.drums else "notes with velocities"
        return None

    def frames(self, song: Song) -> Frames:
        """One row a note."""
        chosen = np.flatnonzero(self._chosen(song))
        onset, pitch, velocity = song.onset[chosen], song.pitch[chosen], song.velocity[chosen]
        voice = drum_class(pitch) if self.drums else song.voice[chosen]
        step = to_steps(onset, STEPS_A_BEAT)
        before, after = around(step, voice)
        values = self._place(song, onset, step)
        values |= self._hits(step, voice) if self.drums else self._notes(song, chosen, step, before, after)
        values["voice_gap"] = self._gaps(onset, step, before, after)
        values["previous"] = self._earlier(step, velocity, before) if self.previous else np.zeros((len(step), 3))
        if self.full:
            values |= self._wide(song, onset, step, pitch, voice)
        return Frames(
            self.inputs.fill(values, len(step)), *self._targets(onset, song.duration[chosen], velocity, after)
        )

    def _chosen(self, song: Song) -> Array:
        return drums(song) & (drum_class(song.pitch) >= 0) if self.drums else ~drums(song)

    def _targets(self, onset: Array, duration: Array, velocity: Array, after: Array) -> tuple[Array, Array]:
        level = np.searchsorted(CLASS_EDGES, velocity, side="right")
        gap = np.where(after >= 0, onset[after] - onset, 0.0)
        loud, sung = velocity > 0, (gap > 1e-3) & (not self.drums) & (not self.duration)
        values = {
            "velocity": velocity / 127,
            "articulation": np.where(sung, np.minimum(duration / np.maximum(gap, 1e-3), 1), 0),
            "class": one_hot(np.where(loud, level, -1), 6),
        }
        known = {"velocity": loud, "articulation": sung, "class": np.repeat(loud[:, None], 6, axis=1)}
        return self.labels(values, known, len(onset))

    def _place(self, song: Song, onset: Array, step: Array) -> dict[str, Array]:
        """Metrical position, tempo and density."""
        beats = step / STEPS_A_BEAT
        position, bar = in_bar(song, beats)
        level = (position < 1e-3, position % 1 < 1e-3, position % 0.5 < 1e-3, position % 0.25 < 1e-3)
        recent = -_RECENT * STEPS_A_BEAT + 1
        density = [
            counted(step, 1 - STEPS_A_BEAT, 0) / 8,
            counted(step, recent, 0) / 32,
            counted(step, 1, self.ahead) / 8 / max(self.latency, 1),
        ]
        return {
            "beat": turn(onset),
            "bar": turn(position / bar),
            "strength": np.sum(level, axis=0) / 4,
            "density": np.stack(density, axis=1),
            "tempo": tempo_at(song, onset) / 120,
        }

    def _hits(self, step: Array, kind: Array) -> dict[str, Array]:
        row = step - step[0]
        together = scatter(row, kind, (int(row[-1]) + 1, 9))[row] > 0
        own = one_hot(kind, 9)
        return {"drum": own, "with": together & (own == 0)}

    def _notes(self, song: Song, chosen: Array, step: Array, before: Array, after: Array) -> dict[str, Array]:
        pitch, onset = song.pitch[chosen].astype(np.float64), song.onset[chosen]
        size = counted(step, 0, 0)
        first = np.searchsorted(step, step, side="left")
        recent = -_RECENT * STEPS_A_BEAT + 1
        mean = counted(step, recent, 0, pitch) / counted(step, recent, 0)
        seen = (after >= 0) & (step[after] - step <= self.ahead)
        intervals = [
            np.where(before >= 0, pitch - pitch[before], 0),
            np.where(seen, pitch[after] - pitch, 0),
            pitch - mean,
        ]
        rank = np.lexsort((pitch, step)) if len(step) else step  # a step may hold several onsets
        place = np.empty(len(step), np.int64)
        place[rank] = np.arange(len(step))
        length = np.log2(np.maximum(song.duration[chosen], 1 / 16)) / 4
        return {
            "height": pitch / 128,
            "melody": melody(song)[chosen],
            "voice": one_hot(song.voice[chosen], 3),
            "chord_size": size / 8,
            "from_top": (size - 1 - (place - first)) / 8,
            "interval": np.clip(np.stack(intervals, axis=1), -36, 36) / 12,
            "duration": length if self.duration else np.zeros(len(step)),
            "gap": self._gaps(onset, step, *around(step, np.zeros_like(step))),
        }

    def _gaps(self, onset: Array, step: Array, before: Array, after: Array) -> Array:
        """log2 of 1 + beats from the note before and to the note after (N, 2); -1 where there is none in sight."""
        seen = (after >= 0) & (step[after] - step <= self.ahead)
        past = np.where(before >= 0, np.log2(1 + np.abs(onset - onset[before])), -1)
        return np.stack([past, np.where(seen, np.log2(1 + np.abs(onset[after] - onset)), -1)], axis=1)

    def _earlier(self, step: Array, velocity: Array, before: Array) -> Array:
        """Velocities (N, 3): of the note before in the voice, of any, and the mean of the recent ones."""
        any_before = around(step, np.zeros_like(step))[0]
        span = (-_RECENT * STEPS_A_BEAT, -1)
        mean = counted(step, *span, velocity) / np.maximum(counted(step, *span), 1)
        last = [np.where(index >= 0, velocity[index], 0) for index in (before, any_before)]
        return np.stack([*last, mean], axis=1) / 127

    def _wide(self, song: Song, onset: Array, step: Array, pitch: Array, voice: Array) -> dict[str, Array]:
        position, _ = in_bar(song, step / STEPS_A_BEAT)
        values = {"bar_step": bar_step(position, 4, 16)}
        if not self.drums:
            values["pitch_class"] = one_hot(pitch % 12, 12)
        row = np.arange(len(step))
        for k in range(-self.neighbours, self.neighbours + 1):
            other = np.clip(row + k, 0, len(row) - 1)
            seen = (row + k == other) & (step[other] - step <= self.ahead)
            gap = np.sign(k) * np.log2(1 + np.abs(onset[other] - onset))
            columns = [np.clip(pitch[other] - pitch, -36, 36) / 12, gap, np.where(voice[other] == voice, 1, -1)]
            if k:
                values[f"note{k:+d}"] = np.where(seen[:, None], np.stack(columns, axis=1), 0)
        return values
