"""Music emotion recognition (EmotionRecognizer): valence and arousal of what is heard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError
from litmotif.seeding import generator

from .evaluation import Score
from .losses import Term
from .metrics import Regression, cosine
from .module import SequenceModule
from .network import Hidden

VALENCE_AROUSAL, QUADRANT, MODE, DENSITY = slice(0, 2), slice(2, 6), slice(6, 7), slice(7, 8)
"""Columns of the targets; the others are reserved."""


class QuadrantAccuracy(MeanMetric):
    """The share of frames where both signs are right."""

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:  # type: ignore[override]
        """Add valence and arousal (B, T, 2), and which are known."""
        same = ((prediction >= 0) == (target >= 0)).all(dim=-1)
        super().update(same.float(), weight=mask.all(dim=-1).float())


def uniform_points(module: "EmotionRecognizer", batch: MusicBatch) -> Tensor:
    """Chance: one point a song, uniform over the square, for many a song has one label throughout."""
    seed, shape = module.hparams["seed"], batch.targets.shape
    points = [2 * torch.rand(shape[2], generator=generator(seed, song)) - 1 for song in batch.song.tolist()]
    return torch.stack(points)[:, None].expand(shape).to(batch.targets)


@dataclass(frozen=True)
class Objective:
    """Weights of the loss beside the squared error.

    Attributes:
        ccc_weight: of 1 - CCC, the mean over valence and arousal.
        auxiliary_weight: of each of the three auxiliary losses.
    """

    ccc_weight: float = 0.5
    auxiliary_weight: float = 0.1


class EmotionRecognizer(SequenceModule):
    """128 features of notes or sound a frame -> an embedding of 64 whose first two are valence and arousal in [-1, 1].

    The loss is the masked squared error of both, and on demand 1 - CCC of each over the batch (concordance, the measure
    of the field). An auxiliary linear head reads all 64 outputs and learns the quadrant, the mode (major or minor) and
    the density of notes; it shapes the embedding and is no part of the exported chain.

    Args:
        input_size: features F.
        output_size: targets K, and width of the embedding.
        objective: weights of the loss.
        **kwargs: see ``SequenceModule``.
    """

    hidden: ClassVar[Hidden] = (("tanh", 512), ("tanh", 256), ("lstm", 128))
    last = nn.Tanh
    terms: ClassVar = {
        "error": Term("distance", VALENCE_AROUSAL),
        "ccc": Term("concordance", VALENCE_AROUSAL, "ccc_weight"),
        "quadrant": Term("classes", QUADRANT, "auxiliary_weight"),
        "mode": Term("sign", MODE, "auxiliary_weight"),
        "density": Term("distance", DENSITY, "auxiliary_weight"),
    }
    scores: ClassVar = {
        "emotion": Score(lambda h: Regression(2, ["valence", "arousal"]), VALENCE_AROUSAL, cosine),
        "quadrant_accuracy": Score(lambda h: QuadrantAccuracy(), VALENCE_AROUSAL),
    }
    rows: ClassVar = {**SequenceModule.rows, "chance": uniform_points}
    headline = "cosine"

    def __init__(
        self, input_size: int = 128, output_size: int = 64, objective: Objective = Objective(), **kwargs: Any
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if output_size < DENSITY.stop:
            raise ArgumentError(
                f"output_size={output_size}: the targets of this model have {DENSITY.stop} columns or more."
            )
        self.auxiliary = nn.Linear(output_size, 6)

    def sums(self, logits: Tensor, batch: MusicBatch) -> dict[str, Tensor]:
        """Of valence and arousal, and of what the auxiliary head makes of all outputs in the columns behind them."""
        outputs = self.activation(logits)  # (B, T, K)
        heads = torch.cat([outputs[..., VALENCE_AROUSAL], self.auxiliary(outputs)], dim=-1)  # (B, T, 8)
        weights = self.hparams["objective"]
        return {name: term.sums(heads, heads, batch, weights) for name, term in self.terms.items()}

    def losses(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Error, concordance where it is wanted, and the three auxiliary terms."""
        terms = super().losses(sums)
        return terms if self.group(Objective).ccc_weight else {name: terms[name] for name in terms if name != "ccc"}

    @torch.no_grad()
    def emotion(self, inputs: Tensor) -> Tensor:
        """Valence and arousal (B, T, 2) of raw features (B, T, F)."""
        return self(inputs)[..., VALENCE_AROUSAL]  # type: ignore[no-any-return]
