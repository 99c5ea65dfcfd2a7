"""Frame store: all songs as one set of tensors, and the windows that are gathered from them."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litmotif.batches.music import MusicBatch

from ..core import DataError, Draw
from ..files.broken import report
from .augment import Movement, draw, draw_semitones
from .readers.base import Broken, broken_songs
from .song import Song
from .tasks import Frames, Task
from .tasks.base import Array

_CHUNK = 65536
"""Frames at a time when statistics are made."""


class Statistics(NamedTuple):
    """Of each column over the frames one learns from."""

    input_mean: Tensor
    """(F,)"""
    input_std: Tensor
    """(F,); 1 where a column does not vary"""
    target_mean: Tensor
    """(K,) over known targets; 0 where none is"""


def framed(task: Task, songs: Sequence[Song], max_bad: float, where: str) -> list[tuple[Song, Frames]]:
    """Songs with their frames; a song whose frames cannot be made counts as broken, and is named and left out.

    Raises:
        DataError: more than ``max_bad`` of them are.
    """
    found: list[Any] = []
    for song in songs:
        name = song.source or song.name
        with broken_songs(name if name == song.name else f"{name}, {song.name}", found):
            found.append((song, task.frames(song)))
    broken = [one for one in found if isinstance(one, Broken)]
    if broken:
        told = report(broken, len(found), where)
        if len(broken) > max_bad * len(found):
            raise DataError(f"{told}\nTolerated: {max_bad:.0%} (max_bad). Repair or remove them.")
        warnings.warn(told, stacklevel=2)
    return [one for one in found if not isinstance(one, Broken)]


class FrameStore:
    """N frames of S songs, end to end; what is 0 or 1 only takes a byte.

    Args:
        songs: frames of each.
        rooms: semitones (S, 2) that each can be moved down and up.

    Attributes:
        starts: first frame of each song (S,).
        lengths: frames of each song (S,).
    """

    def __init__(self, songs: Iterable[Frames], rooms: Tensor) -> None:
        parts = list(songs)
        self.rooms = rooms
        self.lengths = torch.tensor([len(part.inputs) for part in parts])
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.inputs = _joined([part.inputs for part in parts])
        self.targets = _joined([part.targets for part in parts])
        whole = all((part.mask == part.mask[:, :1]).all() for part in parts)
        self.mask = torch.from_numpy(np.concatenate([part.mask[:, :1] if whole else part.mask for part in parts]))
        self.columns = self.inputs.shape[1], self.targets.shape[1]

    def gather(self, index: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (..., F), targets (..., K) and mask (..., K) of frames (...), 0 where not ``valid`` (...)."""
        valid = valid[..., None]
        mask = (self.mask[index] & valid).expand(*index.shape, self.columns[1])
        return self.inputs[index].float() * valid, self.targets[index].float() * valid, mask

    def statistics(self, songs: Sequence[int]) -> Statistics:
        """Over all frames of ``songs``, as they are, in float64."""
        of = torch.tensor(songs)
        frames = torch.cat(
            [torch.arange(int(a), int(a + n)) for a, n in zip(self.starts[of], self.lengths[of], strict=True)]
        )
        sums = torch.zeros(2, self.columns[0], dtype=torch.float64)
        known = torch.zeros(2, self.columns[1], dtype=torch.float64)
        pivot = self.inputs[frames[0]].double()  # near the mean, for the sake of the difference of squares
        for chunk in torch.tensor_split(frames, tuple(range(_CHUNK, len(frames), _CHUNK))):
            inputs, targets, mask = self.gather(chunk, torch.ones(len(chunk), dtype=torch.bool))
            away = inputs.double() - pivot
            sums += torch.stack([away.sum(dim=0), away.square().sum(dim=0)])
            known += torch.stack([(targets.double() * mask).sum(dim=0), mask.sum(dim=0)])
        mean = sums[0] / len(frames)
        std = (sums[1] / len(frames) - mean.square()).clamp(min=0).sqrt()
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        return Statistics((pivot + mean).float(), std.float(), (known[0] / known[1].clamp(min=1)).float())


def _joined(parts: Sequence[Array]) -> Tensor:
    whole = np.concatenate(parts)
    binary = all(((part == 0) | (part == 1)).all() for part in parts)
    return torch.from_numpy(whole.astype(np.uint8) if binary else whole)


class Windows:
    """The songs of one split; a batch is padded to its longest row.

    In training an item is a window of up to ``frames`` frames, beginning anywhere in its song, transposed and faster or
    slower; a song has as many items as such windows lie in it end to end. Otherwise an item is a whole song, and
    songs come in order of length, so that batches waste little.

    Args:
        store: of all songs.
        songs: numbers of the songs of this split.
        frames: longest window of training; None takes whole songs.
        train: draw windows, transposition and tempo.
        task: for what its columns mean.
        transpose: most semitones either way.
        tempo: most relative change of tempo, such as 0.1.
    """

    def __init__(
        self,
        store: FrameStore,
        songs: Sequence[int],
        frames: int | None,
        train: bool,
        task: Task,
        transpose: int = 0,
        tempo: float = 0.0,
    ) -> None:
        self.store, self.songs, self.train = store, torch.tensor(songs), train
        self.frames = frames if train else None
        self.reach, self.tempo = (transpose, tempo) if train else (0, 0.0)
        lengths = store.lengths[self.songs]
        if self.frames is None:
            self.items = torch.arange(len(lengths)) if train else lengths.argsort(stable=True)
        else:
            windows = ((lengths + self.frames // 2) // self.frames).clamp(min=1)
            self.items = torch.arange(len(lengths)).repeat_interleave(windows)
        self.moves = [Movement(layout, self.reach) for layout in (task.inputs, task.targets)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitems__(self, draws: Sequence[Draw]) -> MusicBatch:
        """One batch."""
        numbers, variants = torch.tensor(draws).unbind(dim=1)
        place = self.items[numbers]
        song = self.songs[place]
        length = self.store.lengths[song]
        size = length if self.frames is None else length.clamp(max=self.frames)
        chance = draw(numbers, variants, 3)
        start = self.store.starts[song] + (chance[0].double() * (length - size + 1)).long()
        steps = torch.arange(int(size.max()))
        valid = steps < size[:, None]
        index = torch.where(valid, start[:, None] + steps, 0)
        inputs, targets, mask = self.store.gather(index, valid)
        if self.train and (self.reach or self.tempo):
            semitones = draw_semitones(chance[1], self.store.rooms[song], self.reach)
            factor = 1 + self.tempo * (2 * chance[2] - 1)
            inputs, targets = (
                move(values, semitones, factor) for move, values in zip(self.moves, (inputs, targets), strict=True)
            )
        return MusicBatch(inputs, targets, mask, place)
