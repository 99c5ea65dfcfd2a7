"""Motions made from held-out captions and sounds, beside real ones, those of nearly the same caption, and noise."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from litmotif.batches.motion import MotionBatch

from ...core.evaluation import Evaluation
from ..metrics import BeatConsistency, MotionMetrics
from ..skeleton import MotionLayout
from .distribution import Diversity, Evaluator, FrechetDistance, MultiModality, TextRetrieval

ROWS = ("model", "ground_truth", "neighbour", "noise")
"""``neighbour``: the training motion of the most similar caption, where the data can tell it."""
Keys = Sequence[tuple[int, ...]]
"""What the random stream of each row is drawn from."""
REPEATED = 32
"""Captions for which motion is made several times."""
GESTURING = ("shoulder", "elbow", "wrist", "arm", "hand")
"""Parts of the names of joints that follow what is heard; all joints do where none has such a name."""


class MotionEvaluation(Evaluation):
    """The metrics of every row, and the losses.

    Args:
        layout: of the columns.
        losses: names of the losses.
    """

    def __init__(self, layout: MotionLayout, losses: Sequence[str]) -> None:
        motions = {row: MotionMetrics(layout) for row in ROWS}
        arms = [name for name in layout.names if any(part in name.lower() for part in GESTURING)]
        beats = {row: BeatConsistency(layout, arms or None) for row in ROWS}
        super().__init__(("loss", *losses), motions=motions, beats=beats)
        self.layout = layout
        self._judge: list[Evaluator] = []  # in a list, so that its weights are in nobody's checkpoint

    def judge_by(self, evaluator: Evaluator | None) -> None:
        """From now on also measure FID, diversity, multimodality and R-precision, in a trained evaluator's features."""
        if evaluator is None:
            return
        self._judge = [evaluator]
        if "fid" not in self.kinds:
            self.measure(
                fid={row: FrechetDistance(evaluator.feature_size) for row in ROWS},
                diversity={row: Diversity() for row in ROWS},
                multimodality={row: MultiModality() for row in ROWS},
                retrieval={row: TextRetrieval() for row in ROWS},
            )

    def add(self, rows: Mapping[str, Tensor], batch: MotionBatch) -> None:
        """Add motions.

        Args:
            rows: motions (B, T, F), physical units, of some of ``ROWS``; that of ``ground_truth`` is the batch's.
            batch: what was asked for, and the truth.
        """
        for row, motion in {**rows, "ground_truth": batch.motion}.items():
            self.kinds["motions"][row].update(motion, batch.valid, batch.motion)
            if batch.onsets is not None:
                self.kinds["beats"][row].update(motion, batch.valid, batch.onsets)
            for judge in self._judge:
                self._judged(judge.to(motion.device), row, motion, batch)

    def _judged(self, judge: Evaluator, row: str, motion: Tensor, batch: MotionBatch) -> None:
        motion, real = self._seen(judge, motion), self._seen(judge, batch.motion)
        made = judge.motion_features(motion, batch.valid)
        self.kinds["fid"][row].update(judge.motion_features(real, batch.valid), real=True)
        self.kinds["fid"][row].update(made, real=False)
        self.kinds["diversity"][row].update(made)
        common = judge.common_features(motion, batch.valid, batch.captions)
        if common is not None:
            self.kinds["retrieval"][row].update(*common, batch.item)

    def repeat(
        self,
        batch: MotionBatch,
        made: Tensor,
        times: int,
        make: Callable[[MotionBatch, Keys, Sequence[int]], Tensor],
        noise: Callable[[Keys, int], Tensor],
    ) -> None:
        """More motions for the first captions of a split, for multimodality.

        Args:
            batch: some of the split.
            made: the first motion for each of its captions (B, T, F).
            times: motions for each caption, the first one included; below 2 does nothing.
            make: motions (R, T, F) for R rows of the batch, a random stream each.
            noise: pure noise (R, T, F) in physical units.
        """
        if times < 2 or not self._judge:
            return
        few = (batch.item < REPEATED).nonzero()[:, 0].tolist()
        keys = [[(4, int(batch.item[row]), again) for row in few] for again in range(times)]
        found = [made[few], *(make(batch, of_rows, few) for of_rows in keys[1:] if few)]
        self.add_repeats("model", torch.stack(found), batch.valid[few])
        drawn = [noise(of_rows, made.shape[1]) for of_rows in keys]
        self.add_repeats("noise", torch.stack(drawn), batch.valid[few])

    def add_repeats(self, row: str, motions: Tensor, valid: Tensor) -> None:
        """Add G motions for each of B captions, (G, B, T, F), of ``valid`` (B, T) frames, of a row."""
        for judge in self._judge:
            judge = judge.to(motions.device)
            features = torch.stack([judge.motion_features(self._seen(judge, motion), valid) for motion in motions])
            self.kinds["multimodality"][row].update(features)

    def _seen(self, judge: Evaluator, motion: Tensor) -> Tensor:
        return motion if judge.contacts == self.layout.contacts else self.layout.without_contacts(motion)
