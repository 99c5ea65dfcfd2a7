"""Music emotion recognition (EmotionRecognizer): valence and arousal of what is heard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError
from litmotif.seeding import generator

from .evaluation import Score
from .linear_start import begin_linear
from .losses import Term, valid_frames
from .metrics import Pieces, Regression, cosine
from .module import SequenceModule
from .network import Hidden, Network

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


def by_ridge(module: "EmotionRecognizer", batch: MusicBatch) -> Tensor:
    """Ridge regression of whole pieces, on the mean of their features; the constant where none was fitted.

    Unlike the model it knows the end of a piece when it judges the beginning.
    """
    if not module.hparams["ridge"]:
        return module.target_mean.expand_as(batch.targets)
    weights = torch.tensor(module.hparams["ridge"])[:, :2].to(batch.inputs)  # (F + 1, 2)
    known = valid_frames(batch.mask)[..., None]  # (B, T, 1)
    features = (batch.inputs * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)  # (B, F)
    found = torch.zeros_like(batch.targets)
    found[..., VALENCE_AROUSAL] = (features @ weights[:-1] + weights[-1]).clamp(-1, 1)[:, None]
    return found


class EmotionRecognizer(SequenceModule):
    """128 features of notes or sound a frame -> an embedding of 64 whose first two are valence and arousal in [-1, 1].

    The loss is the masked squared error of both, and on demand 1 - CCC of each over the batch (concordance, the measure
    of the field). It is judged beat by beat and piece by piece (``piece_``), as publications do, beside a ridge
    regression on the mean features of a piece. It begins as such a regression of each frame, whose mean over a piece is
    the same, on the features that a transposition leaves as they are; and learns the rest. An auxiliary linear head
    reads all 64 outputs and learns the quadrant, the mode (major or minor) and the density of notes; it shapes the
    embedding and is no part of the exported chain.

    Args:
        input_size: features F.
        output_size: targets K, and width of the embedding.
        objective: weights of the loss.
        ridge: weights (F + 1, 4) of regressions on raw features, the intercept last, from the data; None for none. The
            first two columns stand beside the model, it begins as the last two.
        begin_at_ridge: begin so, with the backbone ``requirement``.
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
        "pieces": Score(lambda h: Pieces(2, ["valence", "arousal"], prefix="piece_"), VALENCE_AROUSAL),
        "quadrant_accuracy": Score(lambda h: QuadrantAccuracy(), VALENCE_AROUSAL),
    }
    rows: ClassVar = {**SequenceModule.rows, "chance": uniform_points, "ridge": by_ridge}
    headline = "cosine"

    def __init__(
        self,
        input_size: int = 128,
        output_size: int = 64,
        objective: Objective = Objective(),
        ridge: Sequence[Sequence[float]] | None = None,
        begin_at_ridge: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_size, output_size, **kwargs)
        if output_size < DENSITY.stop:
            raise ArgumentError(
                f"output_size={output_size}: the targets of this model have {DENSITY.stop} columns or more."
            )
        if ridge and (len(ridge), len(ridge[0])) != (input_size + 1, 4):
            raise ArgumentError(
                f"ridge has {len(ridge)} rows of {len(ridge[0])} for {input_size} features: F + 1 of 4."
            )
        if ridge and begin_at_ridge and self.group(Network).backbone == "requirement":
            raw, norm = torch.tensor(ridge)[:, 2:], self.normalizer  # (F + 1, 2)
            begin_linear(self.network.layers, raw[:-1] * norm.std[:, None], raw[-1] + norm.mean @ raw[:-1])
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
