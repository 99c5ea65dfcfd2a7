"""Drum humanisation (GroovePredictor): microtiming and velocity of hits on a grid of sixteenths."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError

from .evaluation import Score
from .losses import Regression as RegressionLoss
from .losses import Term
from .metrics import Regression
from .module import SequenceModule
from .network import Hidden
from .timing import Timing, timing_error

DRUMS = 9
OFFSET, VELOCITY, SWING = slice(0, DRUMS), slice(DRUMS, 2 * DRUMS), slice(2 * DRUMS, 2 * DRUMS + 1)
HITS = slice(0, 2 * DRUMS)
"""Columns of the targets; the others are reserved."""
TEMPO, STEP_MS = "tempo", 125.0
"""The feature that holds beats a minute over 120, and the length of a sixteenth where it is 1."""


class Played(NamedTuple):
    """Performance of the hits; where there is no hit the numbers mean nothing.

    Attributes:
        offset: in sixteenths, early below 0 (B, T, 9) in [-0.5, 0.5].
        velocity: MIDI (B, T, 9) int64 in 1-127.
        swing: of the bar (B, T) in [-1, 1].
    """

    offset: Tensor
    velocity: Tensor
    swing: Tensor


class Loudness(Regression):
    """Errors of velocities in 0-1, from outputs in [-1, 1]."""

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add hits."""
        super().update((prediction + 1) / 2, (target + 1) / 2, mask)


def quantised(module: "GroovePredictor", batch: MusicBatch) -> Tensor:
    """On the grid, with the constant's velocities."""
    on_grid = module.target_mean.clone()
    on_grid[OFFSET] = 0.0
    return on_grid.expand_as(batch.targets)


@dataclass(frozen=True)
class Objective:
    """Loss of offsets, velocities and swing.

    Attributes:
        regression: ``mse`` or ``huber``.
        huber_delta: where Huber's loss becomes linear.
        velocity_weight: of the velocities' loss beside the offsets'.
        swing_weight: of the swing's loss beside the offsets'.
    """

    regression: RegressionLoss = "mse"
    huber_delta: float = 0.2
    velocity_weight: float = 1.0
    swing_weight: float = 0.1


class GroovePredictor(SequenceModule):
    """64 features of a drum pattern a sixteenth -> offsets, velocities and swing in [-1, 1].

    The humanisation of Gillick et al. (arXiv:1905.06118), causal but for the lookahead of the data. Offsets are in half
    sixteenths, velocities v / 63.5 - 1; only hits count. The row ``quantised`` plays every hit on the grid.

    Args:
        input_size: features F.
        output_size: outputs K.
        objective: loss of offsets, velocities and swing.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("tanh", 128), ("tanh", 64))
    last = nn.Tanh
    terms: ClassVar = {
        "offset": Term("distance", OFFSET),
        "velocity": Term("distance", VELOCITY, "velocity_weight"),
        "swing": Term("distance", SWING, "swing_weight"),
    }
    scores: ClassVar = {
        "timing": Score(lambda h: Timing(), HITS, timing_error, lambda module, batch: (module.step_ms(batch.inputs),)),
        "offset": Score(lambda h: Regression(DRUMS, prefix="offset_"), OFFSET),
        "velocity": Score(lambda h: Loudness(DRUMS, prefix="velocity_"), VELOCITY),
    }
    rows: ClassVar = {**SequenceModule.rows, "quantised": quantised}
    headline = "timing_mae_ms"

    def __init__(
        self, input_size: int = 64, output_size: int = 32, objective: Objective = Objective(), **kwargs: Any
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)

    def step_ms(self, inputs: Tensor) -> Tensor:
        """Length of a sixteenth (B, T) in milliseconds, from raw features (B, T, F).

        Raises:
            ValueError: no feature is the tempo.
        """
        names = list(self.hparams["features"])
        if TEMPO not in names:
            raise ArgumentError(
                f"GroovePredictor(features=...): none is called {TEMPO!r} (beats a minute / 120), which ms need."
            )
        return STEP_MS / inputs[..., names.index(TEMPO)].clamp(min=1e-3)

    @torch.no_grad()
    def humanize(self, inputs: Tensor) -> Played:
        """Performance of a pattern, from its raw features (B, T, F)."""
        outputs = self(inputs)
        velocity = ((outputs[..., VELOCITY] + 1) * 63.5).round().long().clamp(1, 127)
        return Played(outputs[..., OFFSET] / 2, velocity, outputs[..., 2 * DRUMS])
