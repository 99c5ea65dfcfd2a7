"""Prompt of a motion model: text, sound and beginning, and the files of the motions that are made of them."""

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from ..core import DataError
from .table import ClipTable


class Motions(Protocol):
    """What is asked of the datamodule, see ``MotionClips``."""

    max_frames: int

    def split(self, name: str) -> ClipTable:
        """The clips of a split."""

    def write(self, motion: Tensor, caption: str, path: Path) -> Sequence[Path]:
        """Write a motion (T, F); the files."""


class MotionPrompt:
    """Text, sound and beginning of a motion: BVH (where its columns are rotations), npz and GIF of each that is made.

    What is not said is that of a motion of the test split.

    Args:
        data: test motions.
        motion: which of them, by its number.
        text: what the motion shall be.
        num_frames: frames to make.
        prefix_frames: frames of the test motion that are given as a beginning.
        number: how many motions.

    Raises:
        DataError: no such motion, or a number out of its range.
    """

    fills: ClassVar[frozenset[str]] = frozenset({"text", "audio", "num_frames", "prefix", "given"})

    def __init__(
        self,
        data: Motions,
        motion: int = 0,
        text: str | None = None,
        num_frames: int | None = None,
        prefix_frames: int = 0,
        number: int = 1,
    ) -> None:
        rows = data.split("test").rows
        if not 0 <= motion < len(rows) or number < 1:
            raise DataError(f"--motion {motion} --number {number}: 0 to {len(rows) - 1}, and at least 1.")
        row, self.data = rows[motion], data
        frames = num_frames or min(len(row.motion), data.max_frames)
        if not 0 <= prefix_frames <= min(frames, len(row.motion)) or frames < 1:
            most = min(frames, len(row.motion))
            raise DataError(f"--num_frames {frames} --prefix_frames {prefix_frames}: at least 1, and 0 to {most}.")
        self.text = text if text is not None else next(iter(row.captions), "")
        if strange := unheard(self.text, (caption for one in data.split("train").rows for caption in one.captions)):
            warnings.warn(f"No training caption says {', '.join(strange)}: the model can only guess.", stacklevel=2)
        self.condition: dict[str, Any] = {
            "text": [self.text] * number,
            "num_frames": frames,
            "audio": None if row.audio is None else row.audio[:frames].expand(number, -1, -1),
            "prefix": row.motion[:prefix_frames] if prefix_frames else None,
        }

    def write(self, made: Tensor, stem: Path) -> list[Path]:
        """Write ``stem_0.bvh``, ``stem_0.npz``, ``stem_0.gif`` and so on.

        Args:
            made: motions (B, T, F).
            stem: path without an ending.
        """
        named = ((motion, stem.with_name(f"{stem.name}_{number}")) for number, motion in enumerate(made))
        return [file for motion, path in named for file in self.data.write(motion, self.text, path)]


def unheard(text: str, captions: Iterable[str]) -> list[str]:
    """Words of a text that no caption has, in their order."""
    known = {word for caption in captions for word in _words(caption)}
    return [word for word in dict.fromkeys(_words(text)) if word not in known]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
