"""What episodes earn, and what an optimum of no steps means."""

import torch

from lit_models.mdlm.metrics import PlanSuccess

from .test_metrics import Outcomes


def test_a_return_is_a_mean_over_all_episodes_and_a_goal_at_the_start_an_optimum_of_nought():
    metric = PlanSuccess()
    success = torch.tensor([True, True, False])
    metric.update(Outcomes(success, torch.tensor([2, 5, 9]), torch.tensor([0, 4, 1]), torch.tensor([0.5, 1.0, -0.75])))
    found = metric.compute()
    assert float(found["return"]) == 0.25
    assert float(found["excess_steps"]) == 1.5
