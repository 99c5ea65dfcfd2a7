"""Small modules whose every step is known."""

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader


class Walk(LightningModule):
    """Plain SGD on one trainable matrix; a frozen layer and a buffer beside it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, 1)
        self.frozen = nn.Linear(2, 1).requires_grad_(False)
        self.norm = nn.BatchNorm1d(2)
        self.seen = []

    def training_step(self, batch, batch_idx):
        loss = (self.net(self.norm(batch)) - 1).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def record(self):
        self.seen.append(self.net.weight.detach().clone())

    def validation_step(self, batch, batch_idx):
        self.record()
        self.log("val/loss", float(len(self.seen)))
        self.log("val/success", 0.5)

    def on_validation_epoch_end(self):
        self.record()

    def test_step(self, batch, batch_idx):
        self.record()
        for name, value in {"success": 0.75, "success/low": 0.5, "success/high": 0.9, "success/random": 0.1}.items():
            self.log(f"test/{name}", value)
        self.log("test/nelbo", 1.23456)
        self.log("test/nelbo/expert", 1.0)

    def predict_step(self, batch, batch_idx):
        self.record()
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=0.1)


class TwoOptimizers(Walk):
    """Manual optimisation: the global step advances by two a batch."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward((self.net(batch) - 1).square().mean())
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD([p], lr=0.1) for p in (self.net.weight, self.net.bias)]


def batches(count=4, seed=0):
    data = torch.randn(count, 8, 2, generator=torch.Generator().manual_seed(seed))
    return DataLoader(list(data), batch_size=None)


def trainer(folder, *callbacks, **changes):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": 3,
        "default_root_dir": folder,
    }
    return Trainer(**settings | changes, callbacks=list(callbacks))
