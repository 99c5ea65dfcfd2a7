"""One registered module with its data, at tiny size."""

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import callbacks
import datamodules
import lit_models
from lit_models.core.hparams import keys, parameters

from ..nested import merged
from .registry import REGISTRY

NAMES = sorted(REGISTRY)
RECORDS = {
    "RunHistory": {"plots": False},  # what pictures show is in the files
    "LearningRateMonitor": {},
    "ResultsTable": {},
}
"""What writes down a run, as ``configs/defaults.yaml`` has it, without the pictures."""


def saver(**options):
    """A ``ModelCheckpoint`` that saves when all other callbacks of the epoch are done."""
    settings = {"enable_version_counter": False, "save_on_train_epoch_end": True, "auto_insert_metric_name": False}
    return {"class_path": "ModelCheckpoint", "init_args": options | settings}


def records(classes):
    """Entries of ``trainer.callbacks``."""
    return [{"class_path": path, "init_args": options} for path, options in classes.items()]


def make_data(name, **changes):
    entry = REGISTRY[name]
    return getattr(datamodules, entry.data)(**dict(entry.tiny_data) | changes)


def make(name, data=None, **changes):
    """A module and its datamodule, linked as the command links them."""
    kind, data = getattr(lit_models, name), data or make_data(name)
    torch.manual_seed(0)
    linked = {link: getattr(data, link) for link in data.links if link in parameters(kind)}
    return kind(**linked | merged(REGISTRY[name].tiny, changes)), data


def noisy(name):
    """Dropout, where a module has it: its random numbers have to survive a kill too."""
    return {"network": {"dropout": 0.1}} if "network.dropout" in keys(getattr(lit_models, name)) else {}


def make_trainer(folder, *extra: Callback, ema=True, **changes):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "max_epochs": 3,
        "num_sanity_val_steps": 0,
    }
    averaging = [callbacks.EMAWeights(decay=0.9)] if ema else []
    return Trainer(**settings | changes, callbacks=[*averaging, *extra])


def each_step(folder):
    """A checkpoint after every step."""
    return ModelCheckpoint(
        folder, filename="{step}", every_n_train_steps=1, save_top_k=-1, auto_insert_metric_name=True
    )


def same_state(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
