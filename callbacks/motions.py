"""Motions that a module predicts, as files that other programs open."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from litmotif.errors import ArgumentError


class WriteMotions(Callback):
    """Has the datamodule write each predicted motion: ``motions/NUMBER.bvh``, ``.npz`` and ``.gif`` in the run folder.

    The module predicts motions (B, T, F); the batch tells their lengths (``valid``), ``captions`` and numbers
    (``item``).

    Args:
        most: motions that are written, all processes together.

    Raises:
        ValueError: ``most`` is below 1.
    """

    def __init__(self, most: int = 16) -> None:
        if most < 1:
            raise ArgumentError(f"most={most}: at least 1 motion.")
        self.most = most

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write those of the batch whose number is small enough."""
        folder = trainer.log_dir  # asks all processes, so it must not stand behind a condition on the rank
        write = getattr(getattr(trainer, "datamodule", None), "write", None)
        if folder is None or write is None:
            return
        lengths: Sequence[int] = batch.valid.sum(dim=1).tolist()
        motions: Sequence[Tensor] = outputs
        for motion, length, caption, item in zip(motions, lengths, batch.captions, batch.item.tolist(), strict=True):
            if item < self.most:
                path = Path(folder) / "motions" / f"{item:04d}"
                path.parent.mkdir(parents=True, exist_ok=True)
                write(motion[:length], caption, path)
