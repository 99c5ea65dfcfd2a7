"""The smallest pair that the command can run: one weight, no test, nothing linked but what the data declares."""

import torch
from torch.utils.data import DataLoader

from datamodules.core import BaseDataModule
from lit_models.core.module import BaseModule

CONFIG = """\
# litmotif fit -c plain.yaml
# One weight
seed_everything: 0
model: {class_path: tests.cli.plain.Plain}
data: {class_path: tests.cli.plain.PlainData}
trainer: {accelerator: cpu, max_epochs: 2, enable_progress_bar: false, enable_model_summary: false}
"""
QUICK = ["--trainer.logger=false", "--trainer.callbacks=[]"]


class Plain(BaseModule):
    """No horizon, no words, no test_step."""

    architecture = frozenset({"width"})

    def __init__(self, width: int = 3, slope: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.net = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        loss = self.hparams["slope"] * self.net(batch).square().mean()
        self.log("val/loss", loss)
        return loss


class Sized(Plain):
    """Takes what some data knows."""

    def __init__(self, depth: int = 1, **kwargs):
        super().__init__(**kwargs)


class PlainData(BaseDataModule):
    """No horizon, no view_size, no words, no test split."""

    def __init__(self, width: int = 3, **kwargs):
        super().__init__(**kwargs)

    def train_dataloader(self):
        return DataLoader(torch.ones(8, self.hparams["width"]), batch_size=4)


class SizedData(PlainData):
    """Knows what a module takes, and says so."""

    links = ("depth",)
    depth = 7


class SilentData(PlainData):
    """Knows the same, and does not offer it."""

    depth = 7


class TestedData(PlainData):
    """Has a test split, whatever the module makes of it."""

    test_dataloader = PlainData.train_dataloader


class OtherData(PlainData):
    """Has options of the same names that mean something else."""


class JudgedData(TestedData):
    """Has every split."""

    val_dataloader = predict_dataloader = PlainData.train_dataloader


class Judged(Plain):
    """Is judged by its loss."""

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.net(batch).square().mean())

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.net(batch).square().mean())

    def predict_step(self, batch, batch_idx):
        return self.net(batch)
