"""Motions made from held-out captions and sounds, beside real ones, those of nearly the same caption, and noise."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from .batch import Batch
from .distribution import Diversity, Evaluator, FrechetDistance, MultiModality, TextRetrieval
from .metrics import BeatConsistency, MotionMetrics
from .skeleton import MotionLayout

ROWS = ("model", "ground_truth", "neighbour", "noise")
"""``neighbour``: the training motion of the most similar caption, where the data can tell it."""
GESTURING = ("shoulder", "elbow", "wrist", "arm", "hand")
"""Parts of the names of joints that follow what is heard; all joints do where none has such a name."""


class JudgedMetrics(nn.Module):
    """FID, diversity, multimodality, R-precision and matching score of one row.

    Args:
        size: of the evaluator's features.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.fid, self.diversity, self.multimodality = FrechetDistance(size), Diversity(), MultiModality()
        self.retrieval = TextRetrieval()

    def update(self, judge: Evaluator, motion: Tensor, batch: Batch) -> None:
        """Add motions (B, T, F) that were made, or are, for a batch."""
        made = judge.motion_features(motion, batch.valid)
        self.fid.update(judge.motion_features(batch.motion, batch.valid), real=True)
        self.fid.update(made, real=False)
        self.diversity.update(made)
        common = judge.common_features(motion, batch.valid, batch.captions)
        if common is not None:
            self.retrieval.update(*common, batch.item)

    def compute(self) -> dict[str, float]:
        """All that something was seen for."""
        told: dict[str, float] = {}
        for metric in self.children():
            told |= metric.compute() if metric.update_called else {}  # type: ignore[operator]
        return told

    def reset(self) -> None:
        """Forget everything."""
        for metric in self.children():
            metric.reset()  # type: ignore[operator]


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
        self.judged: dict[str, JudgedMetrics] = {}
        self.metrics: nn.ModuleList = nn.ModuleList(  # so that they follow the module to its device
            [*self.rows.values(), *self.beats.values(), *self.losses.values()]
        )
        self._judge: list[Evaluator] = []  # in a list, so that its weights are in nobody's checkpoint

    def judge_by(self, evaluator: Evaluator) -> None:
        """From now on also measure in the features of a trained evaluator."""
        self._judge = [evaluator]
        self.judged = {row: JudgedMetrics(evaluator.feature_size) for row in ROWS}
        self.metrics = nn.ModuleList(
            [*self.rows.values(), *self.beats.values(), *self.losses.values(), *self.judged.values()]
        )

    def add(self, losses: Mapping[str, Tensor], total: Tensor, rows: Mapping[str, Tensor], batch: Batch) -> None:
        """Add motions.

        Args:
            losses: by name (B,).
            total: their weighted sum (B,).
            rows: motions (B, T, F), physical units, of some of ``ROWS``; that of ``ground_truth`` is the batch's.
            batch: what was asked for, and the truth.
        """
        for name, loss in {"loss": total, **losses}.items():
            self.losses[name].update(loss)
        for row, motion in {**rows, "ground_truth": batch.motion}.items():
            self.rows[row].update(motion, batch.valid, batch.motion)
            if batch.onsets is not None:
                self.beats[row].update(motion, batch.valid, batch.onsets)
            for judge in self._judge:
                self.judged[row].update(judge.to(motion.device), motion, batch)

    def add_repeats(self, row: str, motions: Tensor, valid: Tensor) -> None:
        """Add G motions for each of B captions, (G, B, T, F), of ``valid`` (B, T) frames, of a row."""
        for judge in self._judge:
            features = torch.stack([judge.to(motions.device).motion_features(motion, valid) for motion in motions])
            self.judged[row].multimodality.update(features)

    def compute(self) -> dict[str, Tensor]:
        """Losses, then all metrics as ``metric`` of the model and ``metric/row`` of the others."""
        found: dict[str, Tensor] = {name: metric.compute() for name, metric in self.losses.items()}
        for row in ROWS:
            told: dict[str, float] = {}
            for metric in (self.rows[row], self.beats[row]):  # there may be no neighbours, and no sound
                told |= metric.compute() if metric.update_called else {}
            if self._judge:
                told |= self.judged[row].compute()
            found |= {name if row == "model" else f"{name}/{row}": torch.tensor(value) for name, value in told.items()}
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in self.metrics:
            metric.reset()  # type: ignore[operator]
