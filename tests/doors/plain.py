"""A project of a user's own: plain classes that know Lightning and nothing of ours, and two that do."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from datamodules.core import BaseDataModule
from lit_models.core.module import BaseModule


class Plain(LightningModule):
    """Logs ``val_loss``, as Lightning's examples do."""

    def __init__(self, width: int = 3):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.net(batch).square().mean(), batch_size=len(batch))

    def test_step(self, batch, batch_idx):
        self.log("test_loss", self.net(batch).square().mean(), batch_size=len(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class WithData(Plain):
    """Brings its own loaders."""

    def train_dataloader(self):
        return DataLoader(torch.ones(8, 3), batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


class Silent(WithData):
    """Validates and logs nothing."""

    def validation_step(self, batch, batch_idx):
        pass


class PlainData(LightningDataModule):
    """Four batches of two."""

    def train_dataloader(self):
        return DataLoader(torch.ones(8, 3), batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


class Ours(BaseModule):
    """The same on our base."""

    def __init__(self, width: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.net = torch.nn.Linear(width, 1)

    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.net(batch).square().mean(), batch_size=len(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.net(batch).square().mean(), batch_size=len(batch))


class OurData(BaseDataModule):
    """Four batches of two."""

    def train_dataloader(self):
        return DataLoader(torch.ones(8, 3), batch_size=2)

    val_dataloader = test_dataloader = train_dataloader


class Neither:
    """No module, no data."""
