"""GroovePredictor: microtiming and velocity of drum hits on a grid of sixteenths."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from litmotif.batches.music import MusicBatch

from . import losses
from .losses import Regression as RegressionLoss
from .metrics import Regression
from .module import SequenceModule
from .network import Hidden
from .timing import Timing

DRUMS = 9
OFFSET, VELOCITY, SWING = slice(0, DRUMS), slice(DRUMS, 2 * DRUMS), slice(2 * DRUMS, 2 * DRUMS + 1)
"""Columns of the targets; the others are reserved."""
TEMPO, STEP_MS = "tempo", 125.0
"""The feature that holds beats a minute over 120, and the length of a sixteenth where it is 1."""


class Played(NamedTuple):
    """How hits shall be played; where there is no hit the numbers mean nothing.

    Attributes:
        offset: in sixteenths, early below 0 (B, T, 9) in [-0.5, 0.5].
        velocity: MIDI (B, T, 9) int64 in 1-127.
        swing: of the bar (B, T) in [-1, 1].
    """

    offset: Tensor
    velocity: Tensor
    swing: Tensor


class GroovePredictor(SequenceModule):
    """64 features of a drum pattern a sixteenth -> offsets, velocities and swing in [-1, 1].

    The humanisation of Gillick et al. (arXiv:1905.06118), causal but for the lookahead of the data. Offsets are in half
    sixteenths, velocities v / 63.5 - 1; only hits count. The row ``quantised`` plays every hit on the grid.

    Args:
        input_size: features F.
        output_size: outputs K.
        regression: ``mse`` or ``huber``.
        huber_delta: where Huber's loss becomes linear.
        velocity_weight: of the velocities' loss beside the offsets'.
        swing_weight: of the swing's loss beside the offsets'.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("tanh", 128), ("tanh", 64))
    headline = "timing_mae_ms"
    reference_rows = (*SequenceModule.reference_rows, "quantised")

    def __init__(
        self,
        input_size: int = 64,
        output_size: int = 32,
        regression: RegressionLoss = "mse",
        huber_delta: float = 0.2,
        velocity_weight: float = 1.0,
        swing_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)

    def last_activation(self) -> nn.Module:
        """Tanh."""
        return nn.Tanh()

    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """Three ratios."""
        return {"offset": (2,), "velocity": (2,), "swing": (2,)}

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Distances."""
        h, mask = self.hparams, batch.mask
        off = losses.distance(self.activation(logits), batch.targets, h["regression"], h["huber_delta"])  # (B, T, K)
        columns = {"offset": OFFSET, "velocity": VELOCITY, "swing": SWING}
        return {name: losses.ratio(off[..., which], mask[..., which]) for name, which in columns.items()}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The three terms."""
        h = self.hparams
        weights = {"offset": 1.0, "velocity": h["velocity_weight"], "swing": h["swing_weight"]}
        return {name: weight * losses.mean(sums[name]) for name, weight in weights.items()}

    def metrics(self) -> dict[str, Metric]:
        """Errors of time in ms and sixteenths, of velocities in 0-1, correlations, divergences."""
        return {
            "timing": Timing(),
            "offset": Regression(DRUMS, prefix="offset_"),
            "velocity": Regression(DRUMS, prefix="velocity_"),
        }

    def headline_sums(self, outputs: Tensor, batch: MusicBatch) -> Tensor:
        """Milliseconds by which hits are off; an offset is of half sixteenths."""
        late = (outputs - batch.targets).abs()[..., OFFSET] / 2
        return losses.ratio(late * self.step_ms(batch.inputs)[..., None], batch.mask[..., OFFSET])

    def judge(self, scores: Any, prediction: Tensor, batch: MusicBatch) -> None:
        """Hits."""
        targets, mask = batch.targets, batch.mask
        both = slice(0, 2 * DRUMS)
        scores["timing"].update(prediction[..., both], targets[..., both], mask[..., both], self.step_ms(batch.inputs))
        scores["offset"].update(prediction[..., OFFSET], targets[..., OFFSET], mask[..., OFFSET])
        loud, wanted = (prediction[..., VELOCITY] + 1) / 2, (targets[..., VELOCITY] + 1) / 2
        scores["velocity"].update(loud, wanted, mask[..., VELOCITY])

    def predictions(self, outputs: Tensor, batch: MusicBatch) -> dict[str, Any]:
        """One more row: on the grid, with the constant's velocities."""
        on_grid = self.target_mean.clone()
        on_grid[OFFSET] = 0.0
        return super().predictions(outputs, batch) | {"quantised": lambda: on_grid.expand_as(batch.targets)}

    def step_ms(self, inputs: Tensor) -> Tensor:
        """Length of a sixteenth (B, T) in milliseconds, from raw features (B, T, F).

        Raises:
            ValueError: no feature is the tempo.
        """
        names = list(self.hparams["features"])
        if TEMPO not in names:
            raise ValueError(
                f"GroovePredictor(features=...): none is called {TEMPO!r} (beats a minute / 120), which ms need."
            )
        return STEP_MS / inputs[..., names.index(TEMPO)].clamp(min=1e-3)

    @torch.no_grad()
    def humanize(self, inputs: Tensor) -> Played:
        """How the hits of a pattern shall be played, from its raw features (B, T, F)."""
        outputs = self(inputs)
        velocity = ((outputs[..., VELOCITY] + 1) * 63.5).round().long().clamp(1, 127)
        return Played(outputs[..., OFFSET] / 2, velocity, outputs[..., 2 * DRUMS])
