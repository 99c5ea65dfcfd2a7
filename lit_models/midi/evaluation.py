"""The metrics of a model and, beside each, what needs no model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from .metrics import Found, gathered

MODEL = "model"
Scores = Mapping[str, Metric]


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


class Evaluation(nn.Module):
    """The same metrics for several rows: the model and the baselines.

    Args:
        make: new metrics by name; one whose value is no dictionary goes by its name.
        rows: names of the baselines.
    """

    def __init__(self, make: Callable[[], Scores], rows: Sequence[str]) -> None:
        super().__init__()
        self.rows = nn.ModuleDict({row: nn.ModuleDict(dict(make())) for row in (MODEL, *rows)})

    def scores(self, row: str) -> Any:
        """The metrics of a row by name."""
        return self.rows[row]

    def compute(self, rows: Sequence[str]) -> Found:
        """``metric`` of the model, ``metric/row`` of the others."""
        found: Found = {}
        for row in rows:
            for name, metric in self.scores(row).items():
                value = metric.compute()
                told = value if isinstance(value, dict) else {name: value}
                found |= {key if row == MODEL else f"{key}/{row}": torch.as_tensor(v) for key, v in told.items()}
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in self.metrics():
            metric.reset()

    def metrics(self) -> Iterator[Metric]:
        """Of all rows."""
        return (module for module in self.modules() if isinstance(module, Metric))
