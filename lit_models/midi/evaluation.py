"""Evaluation: the metrics of a model on whole songs and, beside each, of what needs no model."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.batches.music import MusicBatch

from ..core import evaluation
from ..core.evaluation import MODEL
from .baselines import constant_logits
from .metrics import Likelihood, gathered

EPSILON = 1e-6
"""Least probability of the constant baseline."""
Probabilities = Literal["keys", "classes"]


class Score(NamedTuple):
    """A metric of some columns.

    Attributes:
        metric: makes one from the hyper-parameters; takes predictions, targets, mask, and what ``more`` gives.
        columns: of predictions, targets and mask.
        headline: sum and count (2,) of a batch, from the same arguments, whose ratio is the model's ``headline``.
        more: further arguments, from the module and the batch.
    """

    metric: Callable[[Mapping[str, Any]], Metric]
    columns: slice = slice(None)
    headline: Callable[..., Tensor] | None = None
    more: Callable[[Any, MusicBatch], tuple[Tensor, ...]] = lambda module, batch: ()

    def arguments(self, prediction: Tensor, batch: MusicBatch, module: Any) -> tuple[Tensor, ...]:
        """Arguments of the metric's update, from predictions (B, T, K) in the units of the targets."""
        parts = (prediction, batch.targets, batch.mask)
        return (*(part[..., self.columns] for part in parts), *self.more(module, batch))


class Sums(Metric):
    """Sums by name, added up over batches and processes.

    Args:
        shapes: of each.
    """

    full_state_update = False

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names = list(shapes)
        for name, shape in shapes.items():
            gathered(self, name, shape)

    def update(self, sums: Mapping[str, Tensor]) -> None:
        """Add one of each."""
        for name in self.names:
            setattr(self, name, getattr(self, name) + sums[name].double())

    def compute(self) -> dict[str, Tensor]:
        """All by name, float64."""
        return {name: getattr(self, name) for name in self.names}


class Evaluation(evaluation.Evaluation):
    """The sums of the losses, and the same metrics for several rows: the model and the baselines.

    Args:
        model: with the tables of ``SequenceModule``.
    """

    def __init__(self, model: Any) -> None:
        rows, named = (MODEL, *model.rows), (MODEL, "constant", "chance") if model.probabilities else ()
        scores = {name: {row: score.metric(model.hparams) for row in rows} for name, score in model.scores.items()}
        super().__init__((), **scores, likelihood={row: Likelihood(model.probabilities == "keys") for row in named})
        self.sums = Sums({name: term.shape for name, term in model.terms.items()})

    def update(self, model: Any, logits: Tensor, batch: MusicBatch, alone: bool) -> None:
        """Show a batch to everything.

        Args:
            model: the same.
            logits: what it gave before the last activation (B, T, K).
            batch: whole songs.
            alone: without the baselines, which do not change from epoch to epoch of a fit.
        """
        self.sums.update(model.sums(logits, batch))
        for row in _some((MODEL, *model.rows), alone):
            prediction = model.activation(logits) if row == MODEL else model.rows[row](model, batch)
            for name, score in model.scores.items():
                self.kinds[name][row].update(*score.arguments(prediction, batch, model))
        likelihood = self.kinds["likelihood"]
        for row in _some(likelihood, alone):
            likelihood[row].update(_logits(row, model, logits, batch), batch.targets, batch.mask)


def pooled(folds: Iterable[tuple[Any, Iterable[MusicBatch]]]) -> dict[str, Tensor]:
    """Metrics over the test songs of several models together, and of each one's baselines on its own songs.

    Args:
        folds: models of one class, each with the whole songs that judge it.
    """
    together: Evaluation | None = None
    with torch.no_grad():
        for model, batches in folds:
            together = together or Evaluation(model)
            for batch in batches:
                together.update(model, model.run(batch.inputs)[0].float(), batch, alone=False)
    return together.compute() if together else {}


def _some(rows: Iterable[str], alone: bool) -> list[str]:
    return [row for row in rows if row == MODEL or not alone]


def headline_sums(model: Any, outputs: Tensor, batch: MusicBatch) -> Tensor:
    """Sum and count (2,) of a batch whose ratio is the headline of the model, from its outputs (B, T, K)."""
    scores: list[Score] = list(model.scores.values())
    (measured,) = (score.headline(*score.arguments(outputs, batch, model)) for score in scores if score.headline)
    return measured


def _logits(row: str, model: Any, logits: Tensor, batch: MusicBatch) -> Tensor:
    """Logits of a row (B, T, K); chance is uniform over what the mask leaves."""
    if row == "chance":
        return torch.zeros_like(logits).masked_fill(~batch.mask, 0 if model.probabilities == "keys" else -torch.inf)
    if row == "constant":
        return constant_logits(model.target_mean, model.probabilities == "keys", EPSILON).expand_as(logits)
    return logits if row == MODEL else model.reference_logits(row, batch)
