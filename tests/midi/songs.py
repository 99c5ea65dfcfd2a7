"""Made-up songs of which a model can know everything."""

from typing import NamedTuple

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

import lit_models
from lit_models.midi.dynamics import CLASSES
from lit_models.midi.groove import DRUMS

NAMES = ("EmotionRecognizer", "MelodyTransformer", "HarmonyPredictor", "DynamicsEngine", "GroovePredictor")


class Songs(NamedTuple):
    inputs: Tensor
    targets: Tensor
    mask: Tensor
    song: Tensor

    def rows(self, which):
        return Songs(*(part[which] for part in self))

    def padded(self, frames, fill):
        """The same songs with frames behind their ends."""
        more = [part.new_full((len(part), frames, part.shape[2]), fill) for part in self[:3]]
        more[2][:] = False
        return Songs(*(torch.cat(pair, dim=1) for pair in zip(self[:3], more, strict=True)), self.song)


def make_songs(name, songs=8, frames=24, seed=0):
    """Targets that are functions of the inputs now."""
    h = getattr(lit_models, name)().hparams
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(songs, frames, h["input_size"], generator=source)
    targets = torch.zeros(songs, frames, h["output_size"])
    mask = torch.zeros(targets.shape, dtype=torch.bool)
    hidden = inputs[..., :8]
    if name == "EmotionRecognizer":
        targets[..., :2] = torch.tanh(hidden[..., :2])
        quadrant = (hidden[..., 0] > 0).long() * 2 + (hidden[..., 1] > 0)
        targets[..., 2:6] = torch.nn.functional.one_hot(quadrant, 4)
        targets[..., 6], targets[..., 7] = hidden[..., 2].sign(), torch.tanh(hidden[..., 3])
        mask[..., :8] = True
    elif name == "MelodyTransformer":
        targets[..., :8], mask[:] = (hidden > 1).float(), True
    elif name == "HarmonyPredictor":
        targets[..., :8], mask[..., :25] = torch.nn.functional.one_hot(hidden.argmax(-1), 8).float(), True
    elif name == "DynamicsEngine":
        velocity = torch.sigmoid(hidden[..., 0])
        targets[..., 0], targets[..., 1] = velocity, torch.sigmoid(hidden[..., 1])
        targets[..., CLASSES] = torch.nn.functional.one_hot((velocity * 6).long().clamp(max=5), 6).float()
        mask[..., :8] = True
    else:
        inputs[..., -1] = torch.rand(songs, frames, generator=source) + 0.5  # beats a minute over 120
        targets[..., :8], targets[..., 9:17] = torch.tanh(hidden), torch.tanh(-hidden)
        hits = torch.rand(songs, frames, DRUMS, generator=source) < 0.5
        mask[..., :9], mask[..., 9:18] = hits, hits
        mask[..., 18] = True
    return Songs(inputs, targets, mask, torch.arange(songs))


def make(name, **changes):
    size = getattr(lit_models, name)().hparams["input_size"]
    features = [*(f"f{k}" for k in range(size - 1)), "tempo"]
    torch.manual_seed(0)
    return getattr(lit_models, name)(**{"features": features} | changes)


class Data(LightningDataModule):
    """The same songs everywhere."""

    def __init__(self, songs, batch_size=4):
        super().__init__()
        self.songs, self.batch_size = songs, batch_size

    def train_dataloader(self):
        batches = [self.songs.rows(part) for part in torch.arange(len(self.songs.inputs)).split(self.batch_size)]
        return DataLoader(batches, batch_size=None)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def make_trainer(**changes):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "max_epochs": 1,
    }
    return Trainer(**settings | changes)


def attached(module, **state):
    """A module that thinks it is in the hands of a trainer."""
    trainer = make_trainer(max_epochs=1)
    module.trainer = trainer
    module.log = lambda *args, **kwargs: None
    for name, value in state.items():
        setattr(trainer.state, name, value)
    return module
