"""DynamicsEngine: how hard and how long each note is played."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from litmotif.batches.music import MusicBatch

from . import losses
from .classes import Classes
from .losses import Regression as RegressionLoss
from .metrics import Regression
from .module import SequenceModule
from .network import Hidden

VELOCITY, ARTICULATION, CLASSES = slice(0, 1), slice(1, 2), slice(2, 8)
"""Columns of the targets; the others are reserved."""


class DynamicsEngine(SequenceModule):
    """32 features a note -> velocity / 127, articulation, and six velocity classes; a frame is a note.

    All outputs are sigmoids, of which the six classes of MidiBERT (Chou et al., arXiv:2107.05223) make a distribution:
    the loss is the cross-entropy of the softmax over their numbers z before the sigmoid. As odds y / (1 - y) = exp(z),
    the probability of a class is its odds over the sum of the odds of the six, and the largest output is the likeliest
    class: an exported network needs no other activation.

    Args:
        input_size: features F.
        output_size: outputs K.
        regression: ``mse`` or ``huber``, of velocity and articulation.
        huber_delta: where Huber's loss becomes linear.
        articulation_weight: of the articulation's loss beside the velocity's.
        class_weight: of the cross-entropy beside the velocity's loss.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("relu", 128), ("relu", 64))
    headline = "velocity_mae"

    def __init__(
        self,
        input_size: int = 32,
        output_size: int = 16,
        regression: RegressionLoss = "mse",
        huber_delta: float = 0.1,
        articulation_weight: float = 1.0,
        class_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)

    def last_activation(self) -> nn.Module:
        """Sigmoid."""
        return nn.Sigmoid()

    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """Three ratios."""
        return {"velocity": (2,), "articulation": (2,), "class": (2,)}

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Distances, and the cross-entropy."""
        h, targets, mask = self.hparams, batch.targets, batch.mask
        off = losses.distance(self.activation(logits), targets, h["regression"], h["huber_delta"])  # (B, T, K)
        return {
            "velocity": losses.ratio(off[..., VELOCITY], mask[..., VELOCITY]),
            "articulation": losses.ratio(off[..., ARTICULATION], mask[..., ARTICULATION]),
            "class": losses.class_nll(logits[..., CLASSES], targets[..., CLASSES], mask[..., CLASSES]),
        }

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The three terms."""
        h = self.hparams
        weights = {"velocity": 1.0, "articulation": h["articulation_weight"], "class": h["class_weight"]}
        return {name: weight * losses.mean(sums[name]) for name, weight in weights.items()}

    def metrics(self) -> dict[str, Metric]:
        """Errors and correlations of both, accuracies of the class."""
        return {
            "velocity": Regression(1, prefix="velocity_"),
            "articulation": Regression(1, prefix="articulation_"),
            "class": Classes(6, prefix="class_"),
        }

    def headline_sums(self, outputs: Tensor, batch: MusicBatch) -> Tensor:
        """Errors of the velocity."""
        return losses.ratio((outputs - batch.targets).abs()[..., VELOCITY], batch.mask[..., VELOCITY])

    def judge(self, scores: Any, prediction: Tensor, batch: MusicBatch) -> None:
        """Velocities in 0-1."""
        for name, columns in (("velocity", VELOCITY), ("articulation", ARTICULATION), ("class", CLASSES)):
            scores[name].update(prediction[..., columns], batch.targets[..., columns], batch.mask[..., columns])

    @torch.no_grad()
    def express(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """How notes shall be played.

        Args:
            inputs: raw features (B, T, F).

        Returns:
            MIDI velocities (B, T) int64 in 1-127, and durations over the time to the next onset (B, T) in 0-1.
        """
        outputs = self(inputs)
        velocity = (outputs[..., 0] * 127).round().long().clamp(1, 127)
        return velocity, outputs[..., 1]
