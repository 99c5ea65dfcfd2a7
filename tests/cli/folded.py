"""Data with folds, and a module that predicts: one weight, six numbers."""

from typing import NamedTuple

import torch
from torch.utils.data import DataLoader

from datamodules.core import BaseDataModule
from lit_models.core.module import BaseModule

SONGS = [f"song {k}" for k in range(6)]


class Rows(NamedTuple):
    inputs: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor
    song: torch.Tensor


class Slope(BaseModule):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.slope = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch, batch_idx):
        loss = (self.slope * batch.inputs - batch.targets)[batch.mask].square().mean()
        self.log("val/loss", loss)
        return loss

    def test_step(self, batch, batch_idx):
        self.log("test/total", batch.inputs.sum(), reduce_fx="sum")
        self.log("test/total/constant", 2 * batch.inputs.sum(), reduce_fx="sum")

    def predict_step(self, batch, batch_idx):
        return batch.inputs * 10


class Folded(BaseDataModule):
    """Song k has k + 1 frames of the number k, and belongs to fold k % folds."""

    def __init__(self, folds: int | None = None, fold: int = 0, **kwargs):
        super().__init__(**kwargs)

    def songs_of(self, split):
        h = self.hparams
        return [song for k, song in enumerate(SONGS) if (k % h["folds"] == h["fold"]) == (split == "test")]

    def _loader(self, split):
        songs = [SONGS.index(song) for song in self.songs_of(split)]
        frames = torch.arange(6)
        rows = [(torch.full((6, 1), float(k)), (frames <= k)[:, None], place) for place, k in enumerate(songs)]
        batches = [Rows(x[None], 2 * x[None], mask[None], torch.tensor([place])) for x, mask, place in rows]
        return DataLoader(batches, batch_size=None)

    def train_dataloader(self):
        return self._loader("train")

    def test_dataloader(self):
        return self._loader("test")

    predict_dataloader = test_dataloader


class Unfolded(BaseDataModule):
    pass
