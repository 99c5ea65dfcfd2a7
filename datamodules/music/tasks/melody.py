"""Melody prediction: what happens in the next frame, given the melody so far, the metre and the wanted emotion."""

import numpy as np

from ..song import Song
from .base import Array, Block, Frames, Layout, Task, at_least, chroma, one_of
from .context import chord_rows, emotion_at
from .raster import bar_step, decayed, in_bar, one_hot, rows_of, share, shifted, tempo_at, to_steps
from .voices import melody, monophonic

BEATS_OF_KEY = 8
"""Half-life, in beats, of the memory from which the key can be found."""
INTERVALS = 4
REST, HOLD = 0, 127
"""Columns of a frame without a note, and of one in which the note before goes on (Waite et al. 2016, MelodyRNN)."""


class Melody(Task):
    """The melody now and before -> the one thing of 128 that happens in the next frame.

    Column k from 1 to 126 is a note that begins on MIDI key k, so that repeated notes are told apart from held ones;
    column 0 is a rest, column 127 the note before that goes on. Keys 0 and 127, which no instrument has, count an
    octave nearer to the others.

    Args:
        rate: frames a beat.
        size: ``small`` (64 columns) or ``full``, which adds the key that sounds as one of 128.
        lookahead: frames of the chords, where the song has any, that are known ahead of the row; 1 is the chord
            under the key that is asked for.
    """

    name = "melody"

    def __init__(self, rate: float = 4, size: str = "small", lookahead: int = 1) -> None:
        at_least("rate", rate, 0.25)
        at_least("lookahead", lookahead, 0)
        one_of("size", size, ("small", "full"))
        self.rate, self.full = rate, size == "full"
        self.latency = self.ahead = lookahead
        blocks = [
            Block("emotion", ("valence", "arousal")),
            chroma("chroma"),
            Block("height", 1, "height"),
            Block("sounding"),
            Block("onset"),
            Block("age"),
            Block("bar_step", 16),
            Block("interval", INTERVALS),
            chroma("key"),
            chroma("chord"),
            Block("tempo", 1, tempo=1),
        ]
        keys = [str(key) for key in range(128)]
        wide = [Block("sounds", keys, "shift")] if self.full else []
        self.inputs = Layout([*blocks, *wide], None if self.full else 64)
        self.targets = Layout([Block("rest"), Block("key", keys[REST + 1 : HOLD], "shift"), Block("hold")])

    def missing(self, song: Song) -> str | None:
        """A song needs a melody of two frames, one note of which begins before it ends."""
        rows = rows_of(song, self.rate)
        first = to_steps(song.onset[melody(song)], self.rate).min(initial=rows) if len(song.onset) else rows
        return None if rows > 1 and first < rows else "a melody"

    def frames(self, song: Song) -> Frames:
        """One row a frame, the last one left out."""
        rows = rows_of(song, self.rate)
        onset, end, pitch = monophonic(song, melody(song))
        starts = to_steps(onset, self.rate)
        kept = np.flatnonzero(np.diff(starts, append=rows + 1) > 0)  # of notes within a frame, the last one
        kept = kept[starts[kept] < rows]
        starts, pitch = starts[kept], pitch[kept]
        stops = np.minimum(np.maximum(to_steps(end[kept], self.rate), starts + 1), np.append(starts[1:], rows))
        t = np.arange(rows)
        note = np.searchsorted(starts, t, side="right") - 1  # the note of each frame; it may be over
        sounds = (note >= 0) & (t < stops[note])
        key = np.where(sounds, pitch[note], -1)
        inputs = self.inputs.fill(self._values(song, t, starts, pitch, note, key), rows)[:-1]
        struck = key + 12 * (key == REST) - 12 * (key == HOLD)
        happens = np.where(~sounds, REST, np.where(starts[note] == t, struck, HOLD))
        targets = one_hot(happens, 128)[1:]
        return Frames(inputs, targets, np.ones(targets.shape, bool))

    def _values(self, song: Song, t: Array, starts: Array, pitch: Array, note: Array, key: Array) -> dict[str, Array]:
        beats = t / self.rate
        begun, sounds = note >= 0, key >= 0
        classes = one_hot(np.where(sounds, key % 12, -1), 12)
        steps = np.diff(pitch, prepend=pitch[:1])
        back = note[:, None] - np.arange(INTERVALS)
        values = {
            "emotion": emotion_at(song, beats),
            "chroma": classes,
            "height": np.where(begun, pitch[note], 0) / 128,
            "sounding": sounds,
            "onset": begun & (starts[note] == t),
            "age": np.log2(1 + np.where(begun, t - starts[note], 0)) / 4,
            "bar_step": bar_step(in_bar(song, beats)[0], 4, 16),
            "interval": np.where(back > 0, np.clip(steps[np.maximum(back, 0)], -24, 24) / 12, 0),
            "key": share(decayed(classes, BEATS_OF_KEY * self.rate)),
            "chord": shifted(chord_rows(song, beats)[0], self.ahead),
            "tempo": tempo_at(song, beats) / 120,
        }
        return values | ({"sounds": one_hot(key, 128)} if self.full else {})
