"""The clips of a split as tensors, of which batches are cut."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from litmotif.batches.motion import MotionBatch

from ..core import DataError, Draw, random_stream
from ..files.checks import naming
from ..sound import audio_features, onsets
from .clip import Clip
from .features import to_features


class Row(NamedTuple):
    """One clip."""

    motion: Tensor
    """(T, F)"""
    captions: tuple[str, ...]
    audio: Tensor | None
    """(T, A)"""
    onsets: Tensor | None
    """(N,) s"""


def make_row(clip: Clip, features: Mapping[str, Any], bands: int) -> Row:
    """The tensors of a clip; its sound as ``bands`` of log-mel and onset strength.

    Raises:
        DataError: the clip does not have such features, or its sound is too short or of too low a rate.
    """
    motion = to_features(clip, features)
    if clip.audio is None or not bands:
        return Row(motion, clip.captions, None, None)
    with naming(clip.source or clip.name):
        heard = audio_features(*clip.audio, clip.fps, len(clip), bands)
        return Row(motion, clip.captions, heard, onsets(*clip.audio))


class ClipTable:
    """Clips of one split; a batch is padded to its longest motion.

    Args:
        rows: the clips.
        frames: longest motion of a batch: a longer clip is shown from a random frame on in training, from its first
            one otherwise.
        fps: frames a second.
        train: draw captions and beginnings; otherwise the first caption.
    """

    def __init__(self, rows: Sequence[Row], frames: int, fps: float, train: bool) -> None:
        if not rows:
            raise DataError(
                "a split without clips: give data.val and data.test a smaller share, 0 for none, or more clips."
            )
        self.rows, self.frames, self.fps, self.train = list(rows), frames, fps, train

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, draws: Sequence[Draw]) -> MotionBatch:
        """One batch."""
        cut = [self._cut(*draw) for draw in draws]
        motion = torch.nn.utils.rnn.pad_sequence([row.motion for row in cut], batch_first=True)
        lengths = torch.tensor([len(row.motion) for row in cut])
        heard = [row.audio for row in cut if row.audio is not None]
        begun = [row.onsets for row in cut if row.onsets is not None]
        whole = len(heard) == len(cut)
        return MotionBatch(
            motion,
            torch.arange(motion.shape[1]) < lengths[:, None],
            [row.captions[0] if row.captions else "" for row in cut],
            torch.nn.utils.rnn.pad_sequence(heard, batch_first=True) if whole else None,
            torch.nn.utils.rnn.pad_sequence(begun, batch_first=True, padding_value=torch.nan) if whole else None,
            torch.tensor([index for index, _ in draws]),
        )

    def _cut(self, index: int, variant: int) -> Row:
        row = self.rows[index]
        start, caption = 0, row.captions[:1]
        if self.train:
            stream = random_stream(index, variant)
            start = int(stream.integers(max(len(row.motion) - self.frames, 0) + 1))
            if row.captions:
                caption = (row.captions[int(stream.integers(len(row.captions)))],)
        stop = start + self.frames
        audio = None if row.audio is None else row.audio[start:stop]
        begun = row.onsets
        if begun is not None:
            begun = begun - start / self.fps
            begun = begun[(begun >= 0) & (begun < len(row.motion[start:stop]) / self.fps)]
        return Row(row.motion[start:stop], caption, audio, begun)
