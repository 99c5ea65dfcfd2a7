"""Expressive dynamics (DynamicsEngine): velocity and articulation of each note."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .classes import Classes
from .evaluation import Score
from .losses import Regression as RegressionLoss
from .losses import Term
from .metrics import Regression, absolute_error
from .module import SequenceModule
from .network import Hidden

VELOCITY, ARTICULATION, CLASSES = slice(0, 1), slice(1, 2), slice(2, 8)
"""Columns of the targets; the others are reserved."""


@dataclass(frozen=True)
class Objective:
    """Loss of velocity, articulation and class.

    Attributes:
        regression: ``mse`` or ``huber``, of velocity and articulation.
        huber_delta: where Huber's loss becomes linear.
        articulation_weight: of the articulation's loss beside the velocity's.
        class_weight: of the cross-entropy beside the velocity's loss.
    """

    regression: RegressionLoss = "mse"
    huber_delta: float = 0.1
    articulation_weight: float = 1.0
    class_weight: float = 0.1


class DynamicsEngine(SequenceModule):
    """32 features a note -> velocity / 127, articulation, and six velocity classes; a frame is a note.

    All outputs are sigmoids, of which the six classes of MidiBERT (Chou et al., arXiv:2107.05223) make a distribution:
    the loss is the cross-entropy of the softmax over their numbers z before the sigmoid. As odds y / (1 - y) = exp(z),
    the probability of a class is its odds over the sum of the odds of the six, and the largest output is the likeliest
    class: an exported network needs no other activation.

    Args:
        input_size: features F.
        output_size: outputs K.
        objective: loss of velocity, articulation and class.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("relu", 128), ("relu", 64))
    last = nn.Sigmoid
    terms: ClassVar = {
        "velocity": Term("distance", VELOCITY),
        "articulation": Term("distance", ARTICULATION, "articulation_weight"),
        "class": Term("classes", CLASSES, "class_weight"),
    }
    scores: ClassVar = {
        "velocity": Score(lambda h: Regression(1, prefix="velocity_"), VELOCITY, absolute_error),
        "articulation": Score(lambda h: Regression(1, prefix="articulation_"), ARTICULATION),
        "class": Score(lambda h: Classes(6, prefix="class_"), CLASSES),
    }
    headline = "velocity_mae"

    def __init__(
        self, input_size: int = 32, output_size: int = 16, objective: Objective = Objective(), **kwargs: Any
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)

    @torch.no_grad()
    def express(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Performance of notes.

        Args:
            inputs: raw features (B, T, F).

        Returns:
            MIDI velocities (B, T) int64 in 1-127, and durations over the time to the next onset (B, T) in 0-1.
        """
        outputs = self(inputs)
        velocity = (outputs[..., 0] * 127).round().long().clamp(1, 127)
        return velocity, outputs[..., 1]
