"""EmotionRecognizer: valence and arousal of what is heard."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from litmotif.batches.music import MusicBatch
from litmotif.seeding import generator

from . import losses
from .metrics import Regression
from .module import SequenceModule
from .network import Hidden

VALENCE_AROUSAL, QUADRANT, MODE, DENSITY = slice(0, 2), slice(2, 6), 6, 7
"""Columns of the targets; the others are reserved."""


class EmotionRecognizer(SequenceModule):
    """128 features of notes or sound a frame -> an embedding of 64 whose first two are valence and arousal in [-1, 1].

    The loss is the masked squared error of both, and on demand 1 - CCC of each over the batch (concordance, the measure
    of the field). An auxiliary linear head reads all 64 outputs and learns the quadrant, the mode (major or minor) and
    the density of notes; it shapes the embedding and is no part of the exported chain.

    Args:
        input_size: features F.
        output_size: targets K, and width of the embedding.
        ccc_weight: of 1 - CCC, the mean over valence and arousal.
        auxiliary_weight: of each of the three auxiliary losses.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("tanh", 512), ("tanh", 256), ("lstm", 128))
    headline = "cosine"

    def __init__(
        self,
        input_size: int = 128,
        output_size: int = 64,
        ccc_weight: float = 0.5,
        auxiliary_weight: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if output_size <= DENSITY:
            raise ValueError(
                f"output_size={output_size}: the targets of this model have {DENSITY + 1} columns or more."
            )
        self.auxiliary = nn.Linear(output_size, 6)

    def last_activation(self) -> nn.Module:
        """Tanh."""
        return nn.Tanh()

    def loss_shapes(self) -> dict[str, tuple[int, ...]]:
        """Ratios, and the moments of valence and arousal."""
        return {"error": (2,), "moments": (6, 2), "quadrant": (2,), "mode": (2,), "density": (2,)}

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Squared errors, moments, and the auxiliary head's losses."""
        outputs, targets, mask = self.activation(logits), batch.targets, batch.mask
        pair, wanted, known = (x[..., VALENCE_AROUSAL] for x in (outputs, targets, mask))  # (B, T, 2)
        told = self.auxiliary(outputs)  # (B, T, 6)
        mode = F.binary_cross_entropy_with_logits(told[..., 4], (targets[..., MODE] > 0).float(), reduction="none")
        density = (told[..., 5] - targets[..., DENSITY]).square()
        return {
            "error": losses.ratio((pair - wanted).square(), known),
            "moments": losses.moments(pair, wanted, known),
            "quadrant": losses.class_nll(told[..., :4], targets[..., QUADRANT], mask[..., QUADRANT]),
            "mode": losses.ratio(mode, mask[..., MODE]),
            "density": losses.ratio(density, mask[..., DENSITY]),
        }

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Error, concordance and the three auxiliary terms; a data set without ratings has no concordance."""
        h = self.hparams
        terms = {"error": losses.mean(sums["error"])}
        if h["ccc_weight"]:
            rated = (sums["moments"][0] > 0).all()
            terms["ccc"] = h["ccc_weight"] * rated * (1 - losses.concordance(sums["moments"]).mean())
        for name in ("quadrant", "mode", "density"):
            terms[name] = h["auxiliary_weight"] * losses.mean(sums[name])
        return terms

    def metrics(self) -> dict[str, Metric]:
        """Errors and correlations; ``quadrant_accuracy``, the share of frames where both signs are right."""
        return {"emotion": Regression(2, ["valence", "arousal"]), "quadrant_accuracy": MeanMetric()}

    def headline_sums(self, outputs: Tensor, batch: MusicBatch) -> Tensor:
        """Cosine of the known values of each frame."""
        pair, wanted, known = (x[..., VALENCE_AROUSAL] for x in (outputs, batch.targets, batch.mask))
        near = F.cosine_similarity(pair.masked_fill(~known, 0.0), wanted.masked_fill(~known, 0.0), dim=-1)
        return losses.ratio(near, known.any(dim=-1))

    def judge(self, scores: Any, prediction: Tensor, batch: MusicBatch) -> None:
        """Valence and arousal."""
        pair, wanted, known = (x[..., VALENCE_AROUSAL] for x in (prediction, batch.targets, batch.mask))
        scores["emotion"].update(pair, wanted, known)
        same = ((pair >= 0) == (wanted >= 0)).all(dim=-1)
        scores["quadrant_accuracy"].update(same.float(), weight=known.all(dim=-1).float())

    def predictions(self, outputs: Tensor, batch: MusicBatch) -> dict[str, Any]:
        """Chance is one point a song, uniform over the square: many a song has one label throughout."""
        seed, shape = self.hparams["seed"], batch.targets.shape
        keys = batch.song.tolist()

        def chance() -> Tensor:
            points = torch.stack([2 * torch.rand(shape[2], generator=generator(seed, song)) - 1 for song in keys])
            return points[:, None].expand(shape).to(outputs)

        return super().predictions(outputs, batch) | {"chance": chance}

    @torch.no_grad()
    def emotion(self, inputs: Tensor) -> Tensor:
        """Valence and arousal (B, T, 2) of raw features (B, T, F)."""
        return self(inputs)[..., VALENCE_AROUSAL]  # type: ignore[no-any-return]
