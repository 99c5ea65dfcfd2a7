"""Batch protocol: what the modules read of their data."""

from typing import Protocol

from torch import Tensor


class Batch(Protocol):
    """B songs of up to T frames; a frame is a step of time, or a note."""

    @property
    def inputs(self) -> Tensor:
        """Raw features (B, T, F) float32; anything behind the end."""

    @property
    def targets(self) -> Tensor:
        """(B, T, K) float32; anything where the mask is off."""

    @property
    def mask(self) -> Tensor:
        """Mask of the targets that count (B, T, K) bool."""

    @property
    def song(self) -> Tensor:
        """Position of each row's song in its split (B,) int64."""
