"""MotionEvaluator as a LightningModule: the features in which generated motion is compared with real motion."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import MeanMetric

from litmotif.batches.motion import MotionBatch
from litmotif.errors import ArgumentError

from ...core.checkpoint import load, plain
from ...core.evaluation import MODEL, EvaluatedModule, Evaluation
from ...core.normalizer import Statistics
from ..text import Text, make_text_encoder
from .distribution import TextRetrieval
from .network import MotionAutoencoder, Network, TextMotionEvaluator


class MotionEvaluator(EvaluatedModule):
    """An auto-encoder of motions, and a common space of motions and texts (Guo et al., CVPR 2022, section 6).

    The vectors of the auto-encoder are what FID, diversity and multimodality are measured in; in the common space a
    motion finds its text among others. It is trained on real motion alone, once; ``MotionDDPM`` takes it by
    ``evaluator``.

    Args:
        features: what the columns mean, from the data.
        statistics: mean and standard deviation of the columns, from the data.
        network: sizes of both judges.
        text: how captions are embedded; without an encoder there is the auto-encoder alone.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    batch: ClassVar = MotionBatch
    architecture: ClassVar[frozenset[str]] = frozenset({"features", "network", "text"})
    shapeless: ClassVar[frozenset[str]] = frozenset({"network.temperature"})

    def __init__(
        self,
        features: dict[str, Any],
        statistics: Statistics | None = None,
        network: Network = Network(),
        text: Text = Text(size=64),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        size, sizes = features["size"], self.group(Network)
        self.autoencoder = MotionAutoencoder(size, sizes, statistics)
        self.text = make_text_encoder(self.group(Text))
        self.common: TextMotionEvaluator | None = None
        if self.text is not None:
            self.common = TextMotionEvaluator(size, self.text.size, sizes, statistics)
        contrast = None if self.common is None else self.common.contrast
        self.evaluation = Evaluation(
            (),
            autoencoder={row: MeanMetric() for row in (MODEL, "constant")},
            retrieval={row: TextRetrieval(shuffled=row != MODEL, contrast=contrast) for row in (MODEL, "shuffled")},
        )

    # ------------------------------------------------------------------ features
    @property
    def feature_size(self) -> int:
        """Length D of the features."""
        return self.group(Network).feature_size

    @property
    def contacts(self) -> int:
        """Columns of contacts that it looks at."""
        return int(self.hparams["features"].get("contacts", 0))

    def motion_features(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Physical motion (B, T, F) and frames that exist (B, T) bool to the auto-encoder's vectors (B, D)."""
        return self.autoencoder.features(motion, valid)

    def common_features(self, motion: Tensor, valid: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """Motions and texts in their common space, two of (B, D); None for an evaluator without text."""
        if self.common is None or self.text is None:
            return None
        return self.common.features(motion, valid), self.common.embed_text(self.text(captions).to(self.device))

    # ------------------------------------------------------------------ training
    def training_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """Both losses, of which neither knows the other's weights."""
        loss = self.autoencoder.loss(batch.motion, batch.valid)
        common = self.common_features(batch.motion, batch.valid, batch.captions)
        if common is not None and self.common is not None:
            loss = loss + self.common.contrast(*map(self._of_all, common))
        rows = len(batch.motion)
        self.log_means({"train/loss": loss}, rows)
        return loss

    def _of_all(self, rows: Tensor) -> Tensor:
        """Rows (B, D) of all processes: a motion is told from all texts of the global batch."""
        if self.trainer.world_size == 1:
            return rows
        gathered = self.all_gather(rows, sync_grads=True)  # (W, B, D)
        return gathered.transpose(0, 1).flatten(0, 1)  # type: ignore[union-attr]  # (B * W, D)

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: MotionBatch, batch_idx: int) -> None:
        """What is lost on the way through the vector, and whether held-out motions find their texts."""
        constant = self.autoencoder.error(torch.zeros_like(batch.motion), batch.motion, batch.valid)
        for row, lost in ((MODEL, self.autoencoder.loss(batch.motion, batch.valid)), ("constant", constant)):
            self.evaluation.kinds["autoencoder"][row].update(lost, len(batch.motion))
        common = self.common_features(batch.motion, batch.valid, batch.captions)
        if common is not None:
            for retrieval in self.evaluation.kinds["retrieval"].values():
                retrieval.update(*common, batch.item)

    test_step = validation_step

    def results(self, split: str) -> dict[str, Tensor]:
        """Both losses and the retrieval, beside a constant motion and shuffled texts."""
        found = self.evaluation.compute()
        self.evaluation.reset()
        losses = [found[name].float() for name in ("autoencoder", "contrast") if name in found]
        return found | {"loss": torch.stack(losses).sum()}

    def predict_step(self, batch: MotionBatch, batch_idx: int) -> Tensor:
        """The auto-encoder's vectors (B, D) of real motions."""
        return self.motion_features(batch.motion, batch.valid)


def load_evaluator(path: str | None, features: Any) -> MotionEvaluator | None:
    """The trained evaluator of a run folder or checkpoint, its weights held; where there is none, that is said.

    Args:
        path: as ``load`` takes it.
        features: what the columns mean that it is to judge; it may be one of all of them but the contacts.

    Raises:
        ValueError: another model, or one of other features.
    """
    if path is None:
        rank_zero_info("model.evaluator is not set: no FID, R-precision, matching score, diversity, multimodality.")
        return None
    found = load(path)
    if not isinstance(found, MotionEvaluator):
        raise ArgumentError(f"model.evaluator={path}: a {type(found).__name__}. Give the run of a MotionEvaluator.")
    theirs, ours = plain(found.hparams["features"]), plain(features)
    bare = {name: value for name, value in ours.items() if name != "contacts"}
    bare["size"] -= ours.get("contacts", 0)
    if theirs not in (ours, bare):
        raise ArgumentError(
            f"model.evaluator={path} was trained on features {theirs}, and these are {ours}. Train one on these: "
            "litmotif fit -c motion/evaluator with the same data."
        )
    return found.requires_grad_(False)
