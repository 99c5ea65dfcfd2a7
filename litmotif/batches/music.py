"""Batch of music frames: what MusicFrames hands to a module."""

from typing import NamedTuple

from torch import Tensor


class MusicBatch(NamedTuple):
    """B songs, or pieces of songs, of up to T frames.

    Attributes:
        inputs: raw features (B, T, F) float32, columns as ``MusicFrames.features`` names them; 0 behind the end.
        targets: (B, T, K) float32, columns as ``MusicFrames.outputs`` names them; 0 behind the end.
        mask: targets that are known (B, T, K) bool; none behind the end.
        song: position of each row's song in its split (B,) int64, see ``MusicFrames.songs_of``.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    song: Tensor
