import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from lit_models.mdlm.metrics import PlanLikelihood, PlanSuccess


class Outcomes(NamedTuple):
    success: Tensor
    steps: Tensor
    optimal: Tensor
    returns: Tensor


def outcomes(solved, episodes=10):
    success = torch.arange(episodes) < solved
    return Outcomes(success, torch.full((episodes,), 8), torch.full((episodes,), 5), success.float() * 0.9)


def wilson(k, n, z=1.959963984540054):
    centre = (k / n + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(k / n * (1 - k / n) / n + z * z / (4 * n * n))
    return centre - half, centre + half


@pytest.mark.parametrize("solved", [0, 3, 10])
def test_success_has_wilsons_interval(solved):
    metric = PlanSuccess()
    metric.update(outcomes(solved))
    found = metric.compute()
    assert float(found["success"]) == pytest.approx(solved / 10)
    low, high = wilson(solved, 10)
    assert float(found["success/low"]) == pytest.approx(max(0.0, low), abs=1e-6)
    assert float(found["success/high"]) == pytest.approx(min(1.0, high), abs=1e-6)


def test_excess_counts_solved_episodes_of_known_optimum_only():
    metric = PlanSuccess()
    steps = torch.tensor([5, 9, 30, 7])
    metric.update(Outcomes(torch.tensor([True, True, False, True]), steps, torch.tensor([5, 7, 6, -1]), torch.ones(4)))
    assert float(metric.compute()["excess_steps"]) == 1.0
    unsolved = PlanSuccess()
    unsolved.update(outcomes(0))
    assert unsolved.compute()["excess_steps"].isnan()


def test_parts_add_up_to_the_whole():
    whole, parts = PlanSuccess(), PlanSuccess()
    whole.update(Outcomes(*(torch.cat(pair) for pair in zip(outcomes(3), outcomes(7), strict=True))))
    parts.update(outcomes(3))
    parts.update(outcomes(7))
    assert {k: float(v) for k, v in whole.compute().items()} == {k: float(v) for k, v in parts.compute().items()}


def test_likelihood_stands_between_its_floor_and_the_uniform_policy():
    metric = PlanLikelihood()
    metric.update(torch.tensor([2.0, 4.0]), torch.tensor([0.0, math.log(2)]), torch.tensor([3, 5]))
    found = metric.compute()
    assert float(found["nelbo"]) == pytest.approx(3.0)
    assert float(found["nelbo/expert"]) == pytest.approx(math.log(2) / 2)
    assert float(found["nelbo/random"]) == pytest.approx(4 * math.log(8))
    assert float(found["bits_per_action"]) == pytest.approx(6 / 8 / math.log(2))
    assert float(found["bits_per_action/random"]) == pytest.approx(3.0)


def test_an_unknown_floor_is_not_a_number():
    metric = PlanLikelihood()
    metric.update(torch.tensor([2.0]), torch.tensor([math.nan]), torch.tensor([3]))
    assert metric.compute()["nelbo/expert"].isnan()
