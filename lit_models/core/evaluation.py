"""Evaluation: held-out batches are completed, compared row by row, shown and logged."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from .module import BaseModule


class Evaluation(nn.Module):
    """Losses, and metrics of every row of the table of results.

    Args:
        losses: names of the losses.
        *kinds: metrics by row, each of one kind, which give numbers by name; one that saw nothing stays silent.
    """

    def __init__(self, losses: Sequence[str], *kinds: Mapping[str, Metric]) -> None:
        super().__init__()
        self.losses, self.kinds = {name: MeanMetric() for name in losses}, [*kinds]
        of_rows = [metric for kind in kinds for metric in kind.values()]
        self.metrics = nn.ModuleList([*self.losses.values(), *of_rows])  # so that they follow the module to its device

    def measure(self, *kinds: Mapping[str, Metric]) -> None:
        """Add kinds of metrics that are known only where a run begins."""
        for kind in kinds:
            self.kinds.append(kind)
            self.metrics.extend(kind.values())

    def add_losses(self, losses: Mapping[str, Tensor]) -> None:
        """Losses of B items by name, each (B,)."""
        for name, loss in losses.items():
            self.losses[name].update(loss)

    def compute(self) -> dict[str, Tensor]:
        """Losses, then all metrics as ``metric`` of the model and ``metric/row`` of the others."""
        found: dict[str, Tensor] = {name: metric.compute() for name, metric in self.losses.items()}
        for kind in self.kinds:
            for row, metric in kind.items():
                told = metric.compute() if metric.update_called else {}
                of_row = {name if row == "model" else f"{name}/{row}": value for name, value in told.items()}
                found |= {name: torch.as_tensor(value) for name, value in of_row.items()}
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in self.metrics:
            metric.reset()  # type: ignore[operator]


class EvaluatedModule(BaseModule):
    """A module whose held-out batches go through an ``Evaluation``.

    A subclass sets ``evaluation`` and ``normalizer``, and says how a batch is evaluated and shown.
    """

    headline: ClassVar[str] = "loss"
    """The metric that the progress bar shows."""
    evaluation: Evaluation
    normalizer: Any

    @property
    def data(self) -> Any:
        """The datamodule of this run, or None."""
        return getattr(self.trainer, "datamodule", None)

    def setup(self, stage: str) -> None:
        """Take the statistics of the data; a checkpoint brings its own afterwards."""
        if not self.normalizer.fitted and hasattr(self.data, "statistics"):
            self.normalizer.fit(**self.data.statistics)

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

    def on_validation_epoch_end(self) -> None:
        """Log everything."""
        self.log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """The same, with every baseline beside it."""
        self.log_evaluation("test")

    def log_evaluation(self, split: str) -> None:
        """Log what was found since the last time."""
        for name, value in self.evaluation.compute().items():
            self.log(f"{split}/{name}", value, prog_bar=name == self.headline)
        self.evaluation.reset()
