"""The smallest run whose module can be exported: frames of three columns, a GRU, two outputs."""

import torch
from torch import nn
from torch.utils.data import DataLoader

from datamodules.core import BaseDataModule
from lit_models.core.module import BaseModule

CONFIG = """\
# litmotif fit -c stream.yaml
# Three columns in, two out
seed_everything: 0
model: {class_path: tests.export.tiny.Stream}
data: {class_path: tests.export.tiny.StreamData, init_args: {rows: 8}}
trainer: {accelerator: cpu, max_epochs: 1, logger: false, callbacks: [], enable_progress_bar: false}
"""


class Stream(BaseModule):
    """Normalises, a GRU, a matrix."""

    def __init__(self, input_size: int = 3, attention: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.network = nn.ModuleList([nn.GRU(input_size, 4, batch_first=True), nn.Linear(4, 2), nn.Tanh()])
        if attention:
            self.network.append(nn.MultiheadAttention(2, 1, batch_first=True))

    def export_layers(self):
        return list(self.network)

    def export_normaliser(self):
        return torch.tensor([60.0, 0.0, -1.0]), torch.tensor([20.0, 1.0, 0.5])

    def export_thresholds(self):
        return {"second": 0.5}

    def forward(self, x):
        mean, std = self.export_normaliser()
        recurrent, matrix, activation, *_ = self.network
        return activation(matrix(recurrent((x - mean) / std)[0]))

    def training_step(self, batch, batch_idx):
        loss = self(batch).square().mean()
        self.log("val/loss", loss)
        return loss


class StreamData(BaseDataModule):
    """Knows what it is."""

    def __init__(self, rows: int = 4, **kwargs):
        super().__init__(**kwargs)

    def train_dataloader(self):
        return DataLoader(torch.ones(self.hparams["rows"], 5, 3), batch_size=4)

    def describe(self):
        frame = {"length": 0.5, "unit": "beats"}
        return {"frame": frame, "features": ["tempo", "up", "down"], "sha256": f"of {self.hparams['rows']} rows"}
