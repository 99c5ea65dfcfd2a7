import torch
from torchmetrics import MeanMetric, Metric

from lit_models.core.evaluation import Evaluation, by_row, measure_rows, without_twin


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


def test_a_metric_that_nothing_is_beside_is_found_and_a_loss_is_none():
    names = ["loss", "loss_mode", "velocity", "success", "success/random", "ade", "ade/low", "gap/expert"]
    assert without_twin(names, ["velocity"]) == ["ade"]


def test_kinds_of_metrics_are_shown_row_by_row_and_silent_rows_left_out():
    evaluation = Evaluation(["loss"], mean={"model": Mean(), "low": Mean()}, cost={"model": MeanMetric()})
    evaluation.add_losses({"loss": torch.tensor([1.0, 3.0])})
    evaluation.kinds["mean"]["model"].update(torch.tensor([4.0]))
    evaluation.kinds["cost"]["model"].update(5.0)
    assert evaluation.compute() == {"loss": 2.0, "mean": 4.0, "mean/low": 3.0, "cost": 5.0}
    evaluation.measure(late={"random": MeanMetric()})
    evaluation.kinds["late"]["random"].update(6.0)
    assert evaluation.compute()["late/random"] == 6.0
    evaluation.reset()
    assert not any(metric.update_called for kind in evaluation.kinds.values() for metric in kind.values())
