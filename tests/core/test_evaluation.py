import torch
from torchmetrics import Metric

from lit_models.core.evaluation import by_row, measure_rows


class Mean(Metric):
    """A mean with a bound of its interval."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, values):
        self.total += values.sum()
        self.count += len(values)

    def compute(self):
        return {"mean": self.total / self.count, "mean/low": self.total / self.count - 1} if self.count else {}


def test_each_row_is_measured_alone_and_the_model_keeps_its_interval():
    metric = Mean()
    metric.update(torch.full((100,), 7.0))  # of another time
    outcomes = {"model": torch.tensor([1.0, 3.0]), "random": torch.tensor([0.0]), "none": torch.tensor([])}
    assert measure_rows(metric, outcomes) == {"mean": 2.0, "mean/low": 1.0, "mean/random": 0.0}


def test_a_table_without_a_model_has_the_other_rows():
    assert by_row({"random": {"mean": 0.5, "mean/low": 0.1}, "copy": {}}) == {"mean/random": 0.5}
