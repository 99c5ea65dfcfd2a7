"""A Trainer that does nothing but train: no loggers, checkpoints, bars or summaries, and no validation."""

from typing import Any

from lightning.pytorch import Trainer

OFF = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")


def quiet_trainer(**settings: Any) -> Trainer:
    """One epoch on the CPU."""
    silent = dict.fromkeys(OFF, False) | {"num_sanity_val_steps": 0, "limit_val_batches": 0}
    return Trainer(max_epochs=1, accelerator="cpu", **silent, **settings)
