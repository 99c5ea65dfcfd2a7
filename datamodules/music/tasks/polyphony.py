"""Polyphonic prediction: the keys of the next frame, given all that sounded so far.

On the frame rolls of Boulanger-Lewandowski et al. (arXiv:1206.6392) with their splits this is the protocol of Bai et
al. (arXiv:1803.01271): frames 1..T-1 in, frames 2..T out, the negative log-likelihood summed over 88 keys.
"""

import numpy as np

from ..song import KEYS, LOWEST_KEY, Song
from .base import Array, Block, Frames, Layout, Task, at_least, one_of
from .raster import one_hot, piano_roll, rows_of, scatter, shifted, to_steps
from .voices import drums


class Polyphony(Task):
    """Keys now -> keys of the next frame.

    Args:
        keys: 88 (the piano) or 128 (all of MIDI).
        rate: frames a beat, for songs of notes; a song that is a roll keeps its own frames.
        phase: give the frame's number modulo so many as one-hot columns too (0: none).
        onsets: give the keys that are struck in this frame too; a roll knows no repeated keys.
    """

    name = "polyphony"

    def __init__(self, keys: int = 88, rate: float = 4, phase: int = 0, onsets: bool = False) -> None:
        one_of("keys", keys, (KEYS, 128))
        at_least("rate", rate, 0.25)
        at_least("phase", phase, 0)
        self.rate, self.phase, self.onsets = rate, phase, onsets
        self.low = LOWEST_KEY if keys == KEYS else 0
        names = [str(key) for key in range(self.low, self.low + keys)]
        self.targets = Layout([Block("key", names, "shift")])
        struck = [Block("onset", names, "shift")] if onsets else []
        self.inputs = Layout([Block("key", names, "shift"), *struck, *([Block("phase", phase)] if phase else [])])

    def missing(self, song: Song) -> str | None:
        """A song needs two frames."""
        return None if len(self.roll(song)) > 1 else "two frames"

    def roll(self, song: Song) -> Array:
        """Keys (T, keys) bool that sound."""
        keys = len(self.targets)
        if song.roll is None:
            pitched = np.flatnonzero(~drums(song))
            return piano_roll(song, self.rate, rows_of(song, self.rate), self.low, keys, pitched)
        return np.pad(song.roll, ((0, 0), (LOWEST_KEY - self.low, keys - KEYS - LOWEST_KEY + self.low)))

    def frames(self, song: Song) -> Frames:
        """One row a frame, the last one left out."""
        roll = self.roll(song)
        values: dict[str, Array] = {"key": roll[:-1]}
        if self.onsets:
            struck = roll & ~shifted(roll, -1)
            if song.roll is None:
                pitched = ~drums(song)
                at, key = to_steps(song.onset[pitched], self.rate), song.pitch[pitched] - self.low
                struck |= scatter(at, key, roll.shape) > 0
            values["onset"] = struck[:-1]
        if self.phase:
            values["phase"] = one_hot(np.arange(len(roll) - 1) % self.phase, self.phase)
        targets = roll[1:].astype(np.float32)
        return Frames(self.inputs.fill(values, len(roll) - 1), targets, np.ones(targets.shape, bool))
