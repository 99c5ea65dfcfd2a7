"""Motions made from held-out captions and sounds, beside real ones and noise."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from .batch import Batch
from .metrics import BeatConsistency, MotionMetrics
from .skeleton import MotionLayout

ROWS = ("model", "ground_truth", "noise")
GESTURING = ("shoulder", "elbow", "wrist", "arm", "hand")
"""Parts of the names of joints that follow what is heard; all joints do where none has such a name."""


class MotionEvaluation(nn.Module):
    """The metrics of every row, and the losses.

    Args:
        layout: of the columns.
        losses: names of the losses.
    """

    def __init__(self, layout: MotionLayout, losses: Sequence[str]) -> None:
        super().__init__()
        self.rows = {row: MotionMetrics(layout) for row in ROWS}
        arms = [name for name in layout.names if any(part in name.lower() for part in GESTURING)]
        self.beats = {row: BeatConsistency(layout, arms or None) for row in ROWS}
        self.losses = {name: MeanMetric() for name in ("loss", *losses)}
        self.metrics: nn.ModuleList = nn.ModuleList(  # so that they follow the module to its device
            [*self.rows.values(), *self.beats.values(), *self.losses.values()]
        )

    def add(self, losses: Mapping[str, Tensor], total: Tensor, made: Tensor, batch: Batch, noise: Tensor) -> None:
        """Add motions.

        Args:
            losses: by name (B,).
            total: their weighted sum (B,).
            made: by the model (B, T, F), physical units.
            batch: what was asked for, and the truth.
            noise: columns drawn without regard to anything (B, T, F).
        """
        for name, loss in {"loss": total, **losses}.items():
            self.losses[name].update(loss)
        for row, motion in (("model", made), ("ground_truth", batch.motion), ("noise", noise)):
            self.rows[row].update(motion, batch.valid, batch.motion)
            if batch.onsets is not None:
                self.beats[row].update(motion, batch.valid, batch.onsets)

    def compute(self) -> dict[str, Tensor]:
        """Losses, then all metrics as ``metric`` of the model and ``metric/row`` of the others."""
        found: dict[str, Tensor] = {name: metric.compute() for name, metric in self.losses.items()}
        for row in ROWS:
            told = self.rows[row].compute()
            if self.beats[row].update_called:  # there was sound
                told |= self.beats[row].compute()
            found |= {name if row == "model" else f"{name}/{row}": torch.tensor(value) for name, value in told.items()}
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in (*self.rows.values(), *self.beats.values(), *self.losses.values()):
            metric.reset()
