"""Chord prediction (HarmonyPredictor): the chord of each frame of a melody."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from litmotif.errors import ArgumentError

from .classes import Classes, hits, roots
from .equivariance import commute
from .evaluation import Score
from .losses import Term
from .module import SequenceModule
from .network import Hidden


@dataclass(frozen=True)
class Objective:
    """Cross-entropy of chords.

    Attributes:
        label_smoothing: share of the target spread over the classes of the vocabulary, in [0, 1).

    Raises:
        ValueError: a share out of its range.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ArgumentError(f"objective.label_smoothing={self.label_smoothing}: a share, at least 0 and under 1.")


class HarmonyPredictor(SequenceModule):
    """128 features of the melody (and of the chord before) -> the probabilities of 64 chord classes.

    The loss is the cross-entropy under the softmax over all 64 outputs, which is what the exported network computes:
    classes that the vocabulary of the data leaves out learn to be impossible.

    Args:
        input_size: features F.
        output_size: classes K.
        objective: cross-entropy of chords.
        equivariant: tie the weights so that a transposed melody has exactly the transposed chords, see
            ``equivariance``; needs the names ``features`` and ``outputs``, and a backbone of dense layers or
            ``residual_tcn``. Then there is nothing to learn from transposed songs.
        **kwargs: see ``SequenceModule``.
    """

    architecture: ClassVar[frozenset[str]] = SequenceModule.architecture | {"equivariant"}
    hidden: ClassVar[Hidden] = (("tanh", 256), ("tanh", 128))
    last = nn.Softmax
    terms: ClassVar = {"chord": Term("classes")}
    scores: ClassVar = {"chord": Score(lambda h: Classes(h["output_size"], roots(h["outputs"])), headline=hits)}
    probabilities = "classes"
    headline = "accuracy"

    def __init__(
        self,
        input_size: int = 128,
        output_size: int = 64,
        objective: Objective = Objective(),
        equivariant: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if equivariant:
            commute(self.network, self.normalizer, self.hparams["features"], self.hparams["outputs"])
