"""Conjugate gradients of nothing, and scores of policies that keep their limits."""

from types import SimpleNamespace

import pytest
import torch

from lit_models.cpo.metrics import EpisodeStatistics, excess, feasibility_first
from lit_models.cpo.trust_region import conjugate_gradient


def test_right_hand_sides_of_nought_need_no_product():
    solution, products = conjugate_gradient(pytest.fail, torch.zeros(2, 3), iterations=5, tolerance=0.0)
    assert products == 0
    assert not solution.any()


def test_what_is_solved_takes_no_more_steps_while_the_others_go_on():
    """The first row is solved by one product, the second by three: both exactly."""
    rhs = torch.tensor([[0.0, 2.0, 0.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    diagonal = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    solution, products = conjugate_gradient(lambda rows: rows * diagonal, rhs, iterations=9, tolerance=1e-12)
    assert products == 3
    torch.testing.assert_close(solution, rhs / diagonal)


def test_where_every_limit_is_kept_nothing_is_in_excess_and_a_higher_return_scores_lower():
    def results(value, cost):
        return {"return": torch.tensor(value), "cost_a": torch.tensor(cost)}

    assert excess(results(0.0, 1.5), {"a": 2.0}) == 0.0
    assert excess(results(0.0, 99.0), {}) == 0.0
    assert excess(results(0.0, 3.0) | {"cost_b": torch.tensor(9.0)}, {"a": 2.0, "b": 4.0}) == 1.25
    scores = [feasibility_first(results(value, 1.0), {"a": 2.0}) for value in (-1e6, -1.0, 0.0, 1.0, 1e6)]
    assert scores == pytest.approx([0.0, -0.25, -0.5, -0.75, -1.0], abs=1e-5)
    assert feasibility_first(results(5.0, 3.0), {"a": 2.0}) == 0.5


def test_success_is_a_rate_with_its_interval_and_a_limit_that_is_just_met_is_kept():
    metric = EpisodeStatistics(["a"], {"a": 2.0})
    metric.update(
        SimpleNamespace(
            returns=torch.arange(4.0),
            costs=torch.tensor([[1.0], [2.0], [2.5], [0.0]]),
            lengths=torch.full((4,), 7),
            success=torch.tensor([True, False, False, False]),
        )
    )
    found = {name: float(value) for name, value in metric.compute().items()}
    assert (found["success"], found["safe"], found["length"]) == (0.25, 0.75, 7.0)
    assert 0.0 < found["success/low"] < 0.25 < found["success/high"] < 0.75
    assert found["cvar_a"] == 2.5  # of four episodes the worst one
