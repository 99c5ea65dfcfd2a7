"""Data augmentation by transposition and tempo: of songs, and of finished frames, where both commute with the task.

Frames are changed by what their blocks say (``tasks.base.Block``), so that a whole batch is one gather.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..noise import combine, uniform
from .chords import Harmony, parse_chord
from .song import KEYS, LOWEST_KEY, Song
from .tasks.base import Layout
from .tasks.voices import drums


def room(song: Song) -> tuple[int, int]:
    """Semitones that a song can be moved, down (0 or less) and up, without a key leaving the piano."""
    keys = np.flatnonzero(song.roll.any(axis=0)) + LOWEST_KEY if song.roll is not None else song.pitch[~drums(song)]
    if not len(keys):
        return 0, 0
    return min(LOWEST_KEY - int(keys.min()), 0), max(LOWEST_KEY + KEYS - 1 - int(keys.max()), 0)


def transpose(song: Song, semitones: int) -> Song:
    """The song with keys, chords and key moved; percussion stays. ``room`` tells how far it can go."""
    moved = song.pitch + semitones * ~drums(song)
    order = np.lexsort((song.voice, moved, song.onset))
    names = ("onset", "duration", "velocity", "voice")
    chords = tuple(chord._replace(label=_moved(chord.label, semitones)) for chord in song.chords)
    return replace(
        song,
        **{name: getattr(song, name)[order] for name in names},
        pitch=moved[order],
        chords=chords,
        key=None if song.key is None else _moved(song.key, semitones),
        roll=None if song.roll is None else np.roll(song.roll, semitones, axis=1),
    )


def _moved(label: str, semitones: int) -> str:
    root, quality, _ = parse_chord(label)
    return Harmony(None if root is None else (root + semitones) % 12, quality).label


def scale_tempo(song: Song, factor: float) -> Song:
    """The song ``factor`` times as fast."""
    return replace(song, tempos=song.tempos * np.array([1.0, factor]))


class Movement:
    """Augmentation of the columns of a layout by transposition and tempo.

    Args:
        layout: of the columns.
        reach: most semitones either way.
    """

    def __init__(self, layout: Layout, reach: int) -> None:
        size = len(layout)
        table = np.tile(np.arange(size), (2 * reach + 1, 1))
        rise, power = np.zeros(size), np.zeros(size)
        start = 0
        for block in layout.blocks:
            stop = start + len(block.names)
            own = np.arange(stop - start)
            for k in range(-reach, reach + 1):
                if block.moves == "rotate":
                    table[k + reach, start:stop] = start + own // 12 * 12 + (own - k) % 12
                elif block.moves == "shift":
                    inside = (own >= k) & (own - k < len(own))
                    table[k + reach, start:stop] = np.where(inside, start + own - k, size)  # size: a column of zeros
            rise[start:stop] = 1 / 128 if block.moves == "height" else 0
            power[start:stop] = block.tempo
            start = stop
        self.reach, self.moves = reach, bool(reach)
        self.table, self.rise = torch.from_numpy(table), torch.tensor(rise, dtype=torch.float32)
        self.power = torch.tensor(power, dtype=torch.float32)

    def __call__(self, values: Tensor, semitones: Tensor, factor: Tensor) -> Tensor:
        """Move a batch.

        Args:
            values: (B, T, F) float32.
            semitones: (B,) int64 within the reach.
            factor: of the tempo (B,) float32.

        Returns:
            (B, T, F).
        """
        if self.reach:
            wide = torch.nn.functional.pad(values, (0, 1))  # (B, T, F + 1)
            index = self.table[semitones + self.reach]  # (B, F)
            values = wide.gather(2, index[:, None].expand(values.shape))
            if self.rise.any():
                values = values + (values != 0) * self.rise * semitones[:, None, None]
        if self.power.any() and (factor != 1).any():
            values = values * factor[:, None, None] ** self.power
        return values


def draw(numbers: Tensor, variants: Tensor, draws: int) -> Tensor:
    """Uniform numbers (draws, B) in [0, 1), a function of item and variant (B,) int64 each."""
    return uniform(combine(numbers, variants), torch.zeros_like(numbers), draws)


def draw_semitones(chance: Tensor, rooms: Tensor, reach: int) -> Tensor:
    """Semitones (B,) int64, evenly among those within ``reach`` and within the room (B, 2) of each song."""
    low, high = rooms.clamp(-reach, reach).unbind(dim=1)
    return low + (chance * (high - low + 1)).long().clamp(max=high - low)


def rooms_of(songs: Sequence[Song]) -> Tensor:
    """Rooms (S, 2) int64 of songs."""
    return torch.tensor([room(song) for song in songs], dtype=torch.int64)
