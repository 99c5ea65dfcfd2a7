"""HarmonyPredictor: the chord of each frame of a melody."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import Metric

from litmotif.batches.music import MusicBatch

from . import losses
from .classes import Classes, roots
from .equivariance import commute
from .module import SequenceModule
from .network import Hidden


class HarmonyPredictor(SequenceModule):
    """128 features of the melody (and of the chord before) -> the probabilities of 64 chord classes.

    The loss is the cross-entropy under the softmax over all 64 outputs, which is what the exported network computes:
    classes that the vocabulary of the data leaves out learn to be impossible.

    Args:
        input_size: features F.
        output_size: classes K.
        label_smoothing: share of the target spread over the classes of the vocabulary, in [0, 1).
        equivariant: tie the weights so that a transposed melody has exactly the transposed chords, see
            ``equivariance``; needs the names ``features`` and ``outputs``, and a backbone of dense layers or
            ``residual_tcn``. Then there is nothing to learn from transposed songs.
        **kwargs: see ``SequenceModule``.
    """

    architecture: ClassVar[frozenset[str]] = SequenceModule.architecture | {"equivariant"}
    hidden: ClassVar[Hidden] = (("tanh", 256), ("tanh", 128))
    headline = "accuracy"
    likelihood = "classes"

    def __init__(
        self,
        input_size: int = 128,
        output_size: int = 64,
        label_smoothing: float = 0.0,
        equivariant: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing}: a share, at least 0 and under 1.")
        if equivariant:
            commute(self.network, self.normalizer, self.hparams["features"], self.hparams["outputs"])

    def last_activation(self) -> nn.Module:
        """Softmax."""
        return nn.Softmax(dim=-1)

    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """One ratio."""
        return {"chord": (2,)}

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Cross-entropy."""
        smoothing = self.hparams["label_smoothing"]
        return {"chord": losses.class_nll(logits, batch.targets, batch.mask, smoothing)}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Nats a frame."""
        return {"chord": losses.mean(sums["chord"])}

    def metrics(self) -> dict[str, Metric]:
        """Accuracies, macro precision, recall and F1, of roots and on changes too."""
        names = self.hparams["outputs"]
        return {"chord": Classes(self.hparams["output_size"], roots(names) if names else None)}

    def headline_sums(self, outputs: Tensor, batch: MusicBatch) -> Tensor:
        """Frames whose class is found."""
        truth = batch.targets.masked_fill(~batch.mask, 0.0)
        right = outputs.argmax(dim=-1) == truth.argmax(dim=-1)
        return losses.ratio(right.float(), truth.amax(dim=-1) > 0)

    def judge(self, scores: Any, prediction: Tensor, batch: MusicBatch) -> None:
        """Probabilities, of which the likeliest count."""
        scores["chord"].update(prediction, batch.targets, batch.mask)
