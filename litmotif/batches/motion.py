"""Motions with their captions and sound."""

from typing import NamedTuple

from torch import Tensor


class MotionBatch(NamedTuple):
    """B motions of up to T frames.

    Attributes:
        motion: (B, T, F) float32, physical units, columns as ``MotionClips.features`` names them; 0 behind the end.
        valid: frames that exist (B, T) bool, a prefix.
        captions: one a motion, drawn of those it has; empty where it has none.
        audio: features (B, T, A) at the motion's frame rate, None where the clips have no sound.
        onsets: when sounds set in, seconds from the first frame (B, N), NaN behind the last; None without sound.
        item: position of each row in its split (B,) int64.
    """

    motion: Tensor
    valid: Tensor
    captions: list[str]
    audio: Tensor | None
    onsets: Tensor | None
    item: Tensor
