"""The trust region on a problem whose optimum is known: linear gains and costs, a KL of any shape."""

import numpy as np
import pytest
import torch
from torch import nn

from lit_models.cpo.optimizer import Surrogates, TrustRegion
from lit_models.cpo.trust_region import TrustRegionSettings

COUNT = 20
REWARD = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
STIFFNESS = torch.tensor([1.0, 2.0, 4.0, 0.5], dtype=torch.float64)
COST = torch.tensor([[1.0, 0.0, 1.0, 1.0], [-1.0, 0.5, 0.0, -1.0]], dtype=torch.float64)


class Linear:
    """Parameters x, from 0: reward g.x, costs b_i.x, Fisher matrix diag(h); what trials measure may be changed.

    Args:
        costs: rows b_i.
        kl: of x and the model's KL, what is measured.
        spoil: (trial number, means) -> means (2 + m,) that a trial shows.
    """

    def __init__(self, costs=COST[:1], kl=lambda x, model: model, spoil=lambda trial, means: means):
        self.x = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.costs, self.kl, self.spoil, self.calls = costs, kl, spoil, 0
        self.tried = []

    def __call__(self):
        model = (STIFFNESS * self.x.square()).sum() / 2.0
        means = torch.stack((REWARD @ self.x, self.kl(self.x, model), *(self.costs @ self.x)))
        if self.calls:
            self.tried.append(self.x.detach().clone())
            means = self.spoil(self.calls, means)
        self.calls += 1
        return Surrogates(COUNT * means, COUNT, 7 * model, 7)

    def step(self, gaps, **options):
        optimizer = TrustRegion([self.x], TrustRegionSettings(**{"damping": 0.0, "cg_tolerance": 1e-12} | options))
        optimizer.gaps = np.array(gaps, dtype=np.float64)
        found = optimizer.step(self)
        assert found.count == COUNT
        assert found.sums[0] == 0.0  # as it was before the step
        return optimizer.last


def along(x, other):
    return float(torch.nn.functional.cosine_similarity(x.detach(), other, dim=0))


@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_the_step_is_the_damped_natural_gradient_to_the_edge_of_the_region(damping):
    """Random signs give the trace of a diagonal matrix without error, so that the damping is exact."""
    task = Linear()
    told = task.step([-10.0], damping=damping)
    assert along(task.x, REWARD / (STIFFNESS + damping * STIFFNESS.mean())) == pytest.approx(1.0, abs=1e-12)
    assert 0.95 * 0.01 <= float((STIFFNESS * task.x.detach().square()).sum() / 2.0) <= 0.01
    assert told.reward_gain == pytest.approx(float(REWARD @ task.x.detach()))
    assert (told.case, told.multipliers, told.unusable) == ("inactive", [0.0], [False])
    assert told.products == 4 + 4  # probes, and one conjugate gradient in four dimensions: no constraint was in the way


def test_a_constraint_in_the_way_is_met_exactly_and_reported():
    task = Linear()
    told = task.step([-0.01])
    cost = float(COST[0] @ task.x.detach())
    assert cost == pytest.approx(0.01)
    assert told.cost_changes == [pytest.approx(cost)]
    assert told.multipliers[0] > 0.0
    assert told.products == 4 + 4 + 3  # and one for the constraint, which three parameters enter


def test_a_step_that_recovers_falls_by_the_gap_and_the_other_constraint_keeps_its_place():
    task = Linear(COST)
    told = task.step([-10.0, 0.24])
    assert told.case == "recovery"
    assert told.cost_changes[1] == pytest.approx(-0.24)
    assert told.multipliers[0] == 0.0 < told.multipliers[1]


def test_no_reward_may_be_lost_unless_limits_are_recovered():
    def falls(trial, means):
        return means * torch.tensor([-1.0, 1.0, 1.0])

    for gap, accepted in ((-10.0, False), (-0.01, False), (0.05, True), (10.0, True)):
        task = Linear(spoil=falls)
        assert task.step([gap]).accepted == accepted, gap
        assert bool(task.x.any()) == accepted


def test_equal_rewards_and_costs_are_good_enough():
    task = Linear(spoil=lambda trial, means: means * torch.tensor([0.0, 1.0, 0.0]))
    assert task.step([0.0]).accepted


@pytest.mark.parametrize("gaps", [[-0.05, -10.0], [0.05, -10.0]])
def test_a_satisfied_cost_may_rise_to_its_limit_and_a_violated_one_not_at_all(gaps):
    for above, accepted in ((-1e-6, True), (1e-6, False)):
        shown = torch.tensor([max(-gaps[0], 0.0) + above, 0.0], dtype=torch.float64)
        task = Linear(COST, spoil=lambda trial, means, shown=shown: torch.cat((means[:2].abs(), shown)))
        assert task.step(gaps).accepted == accepted


def test_where_no_step_satisfies_all_the_weighted_sum_of_costs_must_fall():
    opposed = torch.stack((COST[0], -COST[0] + torch.tensor([0.0, 0.1, 0.0, 0.0])))
    told = Linear(opposed).step([1.0, 1.0])
    assert told.case == "infeasible"
    one, other = told.multipliers
    assert min(one, other) > 0.0
    for sign in (-1.0, 1.0):  # the first rises by 1, the second falls by enough, or by not quite enough
        shown = torch.tensor([1.0, -(one / other) * (1.0 - sign * 0.01)], dtype=torch.float64)
        task = Linear(opposed, spoil=lambda trial, means, shown=shown: torch.cat((means[:2], shown)))
        assert task.step([1.0, 1.0]).accepted == (sign < 0.0)


@pytest.mark.parametrize(
    ("scale", "power", "trials"),
    [(0.3, 1.0, 2), (0.02, 1.0, 4), (3.0, 1.0, 2), (50.0, 1.0, 4), (3.0, 2.0, 20), (0.1, 0.7, 20)],
)
def test_the_measured_kl_comes_to_the_target_whatever_its_shape(scale, power, trials):
    """By proportion where it is proportional; within what is known to be too small and too large otherwise."""
    task = Linear(kl=lambda x, model: scale * 0.01 * (model.detach() / 0.01) ** power)
    told = task.step([-10.0], corrections=20)
    assert told.accepted
    assert 0.9 <= told.kl_share <= 1.0
    assert told.kl == pytest.approx(told.kl_share * 0.01)
    assert told.trials == len(task.tried) <= trials


def test_of_several_good_trials_the_one_with_the_largest_kl_is_kept():
    shares = [0.5, 0.7, 0.6, 0.4, 0.3, 0.2]

    def told(trial, means):
        means[1] = 0.01 * shares[trial - 1]
        return means

    task = Linear(spoil=told)
    found = task.step([-10.0])
    assert found.kl_share == pytest.approx(0.7)
    assert torch.equal(task.x, task.tried[1])
    assert found.trials == 6


def test_backtracks_shorten_the_first_step_ever_faster():
    """By shrink, shrink^3, shrink^5, ...: few trials reach far."""

    def bad_until_the_ninth(trial, means):
        return means if trial == 9 else means * float("nan")

    task = Linear(spoil=bad_until_the_ninth)
    told = task.step([-10.0], corrections=6, backtracks=10, shrink=0.8)
    assert told.accepted
    assert told.trials == 9
    lengths = [float(x.norm() / task.tried[0].norm()) for x in task.tried]
    assert lengths[6:] == pytest.approx([0.8, 0.8**3, 0.8**5])
    assert torch.equal(task.x, task.tried[-1])
    assert lengths[:6] == sorted(lengths[:6], reverse=True)  # a KL that is not finite is too large


def test_when_nothing_is_good_the_old_policy_stays_and_nothing_is_claimed():
    task = Linear(COST, spoil=lambda trial, means: means * float("inf"))
    told = task.step([-10.0, -10.0], corrections=2, backtracks=3)
    assert not task.x.any()
    assert (told.accepted, told.trials, told.kl, told.kl_share, told.reward_gain) == (False, 5, 0.0, 0.0, 0.0)
    assert told.cost_changes == [0.0, 0.0]


def test_a_cost_that_rises_more_than_its_slope_says_is_held_by_asking_for_more():
    """The measured cost is 1.3 times the model's; the limit is still met, and nearly used."""
    task = Linear(spoil=lambda trial, means: means * torch.tensor([1.0, 1.0, 1.3]))
    told = task.step([-0.02])
    assert told.accepted
    missed = 0.3 * 0.02  # by the first trial; a fifth more than that is taken off
    assert told.cost_changes[0] == pytest.approx(1.3 * (0.02 - 1.2 * missed))
    assert told.trials == 2


def test_a_constraint_met_late_is_solved_with_the_fisher_matrix_of_the_old_policy():
    """It is first asked for when a trial has moved the parameters; the kept graph reads them as they stand."""

    class Stiffening(Linear):
        def __call__(self):
            found = super().__call__()
            stiff = (STIFFNESS * self.x.square()).sum() / 2.0 + 30.0 * self.x.pow(4).sum()
            return Surrogates(found.sums, COUNT, 7 * stiff, 7)

    kl = {"kl": lambda x, model: 0.2 * model}  # the first radius is too small: the cost shows later
    first = Stiffening(**kl)
    first.step([-10.0], corrections=1, backtracks=0)
    gap = -1.5 * float(COST[0] @ first.tried[0])
    late, never = Stiffening(**kl), Linear(**kl)
    assert late.step([gap]).case == "inactive"  # at first
    never.step([gap])
    assert float(COST[0] @ late.x.detach()) == pytest.approx(-gap, rel=1e-6)
    torch.testing.assert_close(late.x, never.x, rtol=1e-6, atol=1e-9)


def test_a_parameter_that_a_surrogate_does_not_read_has_no_slope_and_one_group_is_all():
    task = Linear()
    idle = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def closure():
        found = task()
        return Surrogates(found.sums, found.count, found.curvature + idle.square().sum(), found.curvature_count)

    optimizer = TrustRegion([task.x, idle])
    optimizer.gaps = np.array([-10.0])
    optimizer.step(closure)
    assert optimizer.last.accepted
    assert torch.equal(idle, torch.ones_like(idle))
    with pytest.raises(ValueError, match="one radius"):
        TrustRegion([{"params": [task.x]}, {"params": [idle]}])
