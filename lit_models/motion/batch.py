"""What the module reads of its data."""

from typing import Protocol

from torch import Tensor


class Batch(Protocol):
    """B motions of up to T frames."""

    @property
    def motion(self) -> Tensor:
        """(B, T, F), physical units; anything behind the end."""

    @property
    def valid(self) -> Tensor:
        """Frames that exist (B, T) bool, a prefix."""

    @property
    def captions(self) -> list[str]:
        """One a motion, empty for none."""

    @property
    def audio(self) -> Tensor | None:
        """Features (B, T, A) at the motion's frame rate, or none."""

    @property
    def onsets(self) -> Tensor | None:
        """When sounds set in (B, N) s, NaN behind the last, or none."""

    @property
    def item(self) -> Tensor:
        """Position of each row in its split (B,) int64."""
