"""A small constrained task, learned in a second."""

import torch
from lightning.pytorch import Trainer

import datamodules
import lit_models

from ..nested import merged

TINY = {"cost_limits": {"cost0": 8.7}, "network": {"hidden_size": 16, "num_layers": 1}, "critics": {"batch": 128}}


def make(name="CPO", updates=3, data=(), **changes):
    settings = {
        "env": "litmotif/TabularCMDP-v0",
        "num_envs": 32,
        "rollout_length": 16,
        "steps_per_epoch": updates,
        "val": 16,
        "test": 16,
        "eval_envs": 16,
    }
    rollouts = datamodules.Rollouts(**settings | dict(data))
    torch.manual_seed(0)
    module = getattr(lit_models, name)(
        observation_size=rollouts.observation_size,
        action_size=rollouts.action_size,
        action_kind=rollouts.action_kind,
        cost_names=rollouts.cost_names,
        **merged(TINY, changes),
    )
    return module, rollouts


def make_trainer(folder, *callbacks, **changes):
    settings = {
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return Trainer(accelerator="cpu", **settings | changes, callbacks=list(callbacks))


def fit(folder, *callbacks, epochs=1, **changes):
    module, rollouts = make(**changes)
    trainer = make_trainer(folder, *callbacks, max_epochs=epochs)
    trainer.fit(module, rollouts)
    return module, trainer
