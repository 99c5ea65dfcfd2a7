"""A small module, its data and a quiet Trainer, shared by the tests of the callbacks."""

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES = 4
"""Training batches of an epoch."""


def loader(batches=BATCHES):
    """The same batch again and again, so that a run resumed in mid-epoch needs no loader that remembers its place."""
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).repeat(batches, 1)
    return DataLoader(TensorDataset(x, 3 * x[:, :1] + 1), batch_size=3)


class Line(LightningModule):
    """A frozen layer, batch statistics (buffers) and a trainable layer; notes the weights that each stage saw."""

    def __init__(self, lr=0.05):
        super().__init__()
        torch.manual_seed(0)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.norm = nn.BatchNorm1d(2, affine=False)
        self.line = nn.Linear(2, 1)
        self.lr = lr
        self.seen = {}

    def forward(self, x):
        return self.line(self.norm(self.frozen(x)))

    def loss(self, batch, stage):
        self.seen.setdefault(stage, []).append(self.line.weight.detach().clone())
        x, y = batch
        return (self(x) - y).square().mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch, "train")
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.loss(batch, "val"))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self.loss(batch, "test"))

    def predict_step(self, batch, batch_idx):
        return self.loss(batch, "predict")

    def configure_optimizers(self):
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], self.lr)

    def train_dataloader(self):
        return loader()

    def val_dataloader(self):
        return loader(1)

    test_dataloader = predict_dataloader = val_dataloader


class Alternating(Line):
    """Two optimisers by hand, both stepped once in ``every`` batches."""

    def __init__(self, every=1):
        super().__init__()
        self.automatic_optimization = False
        self.every = every

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch, "train")
        self.manual_backward(loss)
        if (batch_idx + 1) % self.every == 0:
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()

    def configure_optimizers(self):
        return [torch.optim.SGD([parameter], self.lr) for parameter in self.line.parameters()]


class RawWeights(Callback):
    """The raw weights after each batch, from the initial ones on."""

    def __init__(self):
        self.history = []

    def on_train_start(self, trainer, pl_module):
        if not self.history:
            self._note(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *_):
        self._note(pl_module)

    def _note(self, pl_module):
        self.history.append(pl_module.line.weight.detach().clone())


class StopIn(Callback):
    """Raises in the middle of a stage."""

    def __init__(self, hook, error, epoch=0):
        self.error, self.epoch = error, epoch
        setattr(self, hook, self._raise)

    def _raise(self, trainer, *_):
        if trainer.current_epoch >= self.epoch:
            raise self.error


def make_trainer(folder, *callbacks, **changes):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "max_epochs": 2,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return Trainer(**settings | changes, callbacks=list(callbacks))


def each_step(folder):
    return ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)


def read(path):
    return torch.load(path, weights_only=True)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
