"""Voice separation: the notes of percussion, and those of the melody."""

import numpy as np

from ..song import DRUMS, Song
from .base import Array

MELODY = ("melody", "soprano", "vocal", "voice", "lead")
"""Names of the melody's voice, the surest first."""


def in_voices(song: Song, chosen: Array) -> Array:
    """Notes (N,) bool of the voices that are ``chosen`` (V,) bool."""
    return np.asarray(chosen[song.voice], dtype=bool)


def drums(song: Song) -> Array:
    """Notes (N,) bool of percussion."""
    return in_voices(song, np.array([voice == DRUMS for voice in song.voices]))


def melody(song: Song) -> Array:
    """Notes (N,) bool of the melody.

    It is the voice that is called so (``MELODY``), or the only one that is no percussion where that is monophonic;
    otherwise the skyline (Uitdenbogerd and Zobel 1999): of the notes that begin together, the highest.
    """
    names = [voice.lower() for voice in song.voices]
    for wanted in MELODY:
        called = np.array([wanted in name for name in names])
        if (found := in_voices(song, called)).any():
            return found
    pitched = ~drums(song)
    last = np.ones(len(pitched), bool)  # notes of one onset are in order of pitch
    onset = song.onset[pitched]
    last[np.flatnonzero(pitched)[:-1]] = np.diff(onset) > 1e-3
    return np.asarray(pitched & last)


def monophonic(song: Song, notes: Array) -> tuple[Array, Array, Array]:
    """The ``notes`` (N,) bool as a line: onsets, ends and keys (M,); a note ends at the latest when the next begins."""
    onset, pitch = song.onset[notes], song.pitch[notes]
    end = onset + song.duration[notes]
    end[:-1] = np.minimum(end[:-1], onset[1:])
    return onset, end, pitch
