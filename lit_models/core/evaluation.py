"""Evaluation: held-out batches are completed, compared row by row, shown and logged."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from litmotif.errors import ArgumentError
from litmotif.names import BOUNDS

from .module import BaseModule
from .normalizer import Standardizer

MODEL = "model"
"""The row of the table of results whose metrics go by their names alone."""
LOSS = "loss"
"""What training minimises; the names of its terms begin with it, or are the ``losses`` of an ``Evaluation``."""


def by_row(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Table of results: ``metric`` of the row ``model``, ``metric/row`` of the others, without their intervals."""
    return {
        name if row == MODEL else f"{name}/{row}": torch.as_tensor(value)
        for row, values in results.items()
        for name, value in values.items()
        if row == MODEL or "/" not in name
    }


def measure_rows(metric: Metric, outcomes: Mapping[str, Any]) -> dict[str, Tensor]:
    """Table of results of one metric, which sees the outcomes of each row alone.

    Args:
        metric: gives numbers by name; on the device where processes add up.
        outcomes: what its update takes, by row.

    Returns:
        See ``by_row``; the same on all processes.
    """
    results = {}
    for row, outcome in outcomes.items():
        metric.reset()
        metric.update(outcome)
        results[row] = metric.compute()
    return by_row(results)


def without_twin(names: Iterable[str], losses: Collection[str] = ()) -> list[str]:
    """Names of a table of results that stand alone: a number that nothing is beside says nothing.

    Args:
        names: ``metric`` and ``metric/row``, without the split.
        losses: terms of what training minimises that do not begin with ``loss``; they need no twin.
    """
    given = set(names)
    split = [name.partition("/") for name in given]
    compared = {metric for metric, _, row in split if row and row not in BOUNDS}
    return sorted(m for m in given - compared - {*losses} if "/" not in m and not m.startswith(LOSS))


class Evaluation(nn.Module):
    """Losses, and metrics of every row of the table of results.

    Args:
        losses: names of the losses.
        **kinds: metrics by row, each of one kind. One whose value is no dictionary goes by the name of its kind; one
            that saw nothing stays silent.
    """

    def __init__(self, losses: Iterable[str], **kinds: Mapping[str, Metric]) -> None:
        super().__init__()
        self.losses: Any = nn.ModuleDict({name: MeanMetric() for name in losses})
        self.kinds: Any = nn.ModuleDict()
        self.measure(**kinds)

    def measure(self, **kinds: Mapping[str, Metric]) -> None:
        """Add kinds of metrics that are known only where a run begins."""
        for name, kind in kinds.items():
            self.kinds[name] = nn.ModuleDict(kind)

    def add_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Losses of B items by name, each (B,)."""
        for name, loss in losses.items():
            self.losses[name].update(loss)

    def compute(self) -> dict[str, Tensor]:
        """Losses, then all metrics as ``metric`` of the model and ``metric/row`` of the others."""
        found: dict[str, Tensor] = {name: metric.compute() for name, metric in self.losses.items()}
        for name, kind in self.kinds.items():
            values = {row: metric.compute() for row, metric in kind.items() if metric.update_called}
            found |= by_row({row: v if isinstance(v, Mapping) else {name: v} for row, v in values.items()})
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in self.modules():
            if isinstance(metric, Metric):
                metric.reset()


class EvaluatedModule(BaseModule):
    """A module that is judged on held-out batches, and logs one table of results for each split.

    A subclass adds what it finds in ``validation_step`` and says in ``results`` what came of it.
    """

    headline: ClassVar[str] = LOSS
    """The metric that fills ``val_metric`` of the history."""
    progress_bar: ClassVar[Collection[str]] = (LOSS,)
    """The metrics that the progress bar shows."""

    @property
    def data(self) -> Any:
        """The datamodule of this run, or None."""
        return getattr(self.trainer, "datamodule", None)

    def setup(self, stage: str) -> None:
        """Refuse to train in units that nobody has told.

        Raises:
            ValueError: no statistics of the data.
        """
        parts = [part for part in self.modules() if isinstance(part, Standardizer) and not part.running]
        if stage == "fit" and not all(part.fitted for part in parts):
            raise ArgumentError(
                f"{(name := type(self).__name__)}(statistics=None): in which units are the columns? "
                f"{name}.for_data(data) takes the data's; by hand, give statistics=data.statistics."
            )

    @abstractmethod
    def results(self, split: str) -> dict[str, Tensor]:
        """All that is logged of a split, by name; the next one begins anew."""

    def on_validation_epoch_end(self) -> None:
        """Log everything."""
        self._log_results("val")

    def on_test_epoch_end(self) -> None:
        """The same, with every baseline beside it."""
        self._log_results("test")

    def _log_results(self, split: str) -> None:
        for name, value in self.results(split).items():
            self.log(f"{split}/{name}", value, prog_bar=name in self.progress_bar)


class GenerativeModule(EvaluatedModule):
    """A module that completes held-out batches, in physical units, and shows what it made.

    A subclass sets ``evaluation``, and says how a batch is evaluated and shown.
    """

    evaluation: Evaluation

    @abstractmethod
    def evaluate(self, batch: Any) -> Any:
        """Complete a batch, add it to the evaluation, and give what was made."""

    @abstractmethod
    def shown(self, batch: Any, made: Any) -> tuple[Any, ...]:
        """What the ``show`` of the data takes."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Complete a batch, and compare."""
        self.evaluate(batch)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """The same; the first batch is kept for a picture."""
        made = self.evaluate(batch)
        if batch_idx == 0 and self.trainer.is_global_zero and hasattr(self.data, "show"):
            self.data.show(*self.shown(batch, made))

    def results(self, split: str) -> dict[str, Tensor]:
        """All that was found since the last time."""
        found = self.evaluation.compute()
        self.evaluation.reset()
        return found
