"""Statistics of episodes against SciPy and by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from lit_models.cpo.metrics import EpisodeStatistics, excess, feasibility_first


def episodes(n=400, seed=0):
    g = torch.Generator().manual_seed(seed)
    return SimpleNamespace(
        returns=torch.randn(n, generator=g) + 5.0,
        costs=torch.rand(n, 2, generator=g) * torch.tensor([1.0, 10.0]),
        lengths=torch.randint(1, 50, (n,), generator=g),
        success=torch.rand(n, generator=g) < 0.7,
        measures={"effort": torch.rand(n, generator=g)},
    )


def measured(*parts, limits=None):
    statistics = EpisodeStatistics(["a", "b"], limits or {}, ["effort"])
    for part in parts:
        statistics.update(part)
    return {name: float(value) for name, value in statistics.compute().items()}


def test_means_have_the_interval_of_the_t_distribution_where_they_are_nearly_normal():
    data = episodes()
    results = measured(data)
    returns = data.returns.double().numpy()
    low, high = stats.t.interval(0.95, len(returns) - 1, returns.mean(), stats.sem(returns))
    assert results["return"] == pytest.approx(returns.mean())
    assert (results["return/low"], results["return/high"]) == pytest.approx((low, high), abs=0.02)
    assert results["effort"] == pytest.approx(float(data.measures["effort"].mean()))


def test_an_interval_covers_the_truth_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        results = measured(episodes(60, seed))
        hits += results["cost_b/low"] <= 5.0 <= results["cost_b/high"]
    assert 88 <= hits <= 100


def test_the_share_of_safe_episodes_needs_every_limit():
    data = episodes()
    results = measured(data, limits={"a": 0.5, "b": 4.0})
    kept = (data.costs[:, 0] <= 0.5) & (data.costs[:, 1] <= 4.0)
    assert results["safe"] == pytest.approx(float(kept.float().mean()))
    assert results["cost_a/limit"] == 0.5
    assert "safe" not in measured(data)


def test_the_worst_twentieth_is_the_mean_of_the_largest_costs():
    data = episodes(200)
    expected = np.sort(data.costs[:, 1].numpy())[-10:].mean()
    assert measured(data)["cvar_b"] == pytest.approx(expected)


def test_parts_and_their_order_do_not_matter():
    one, other = episodes(50, 1), episodes(30, 2)
    assert measured(one, other) == measured(other, one)


def test_equal_values_have_an_interval_of_no_width():
    data = episodes(10)
    data.returns[:] = 3.0
    results = measured(data)
    assert results["return/low"] == results["return"] == results["return/high"] == 3.0


def test_a_policy_within_the_limits_is_better_than_any_other():
    limits = {"a": 2.0}

    def score(value, cost):
        return feasibility_first({"return": torch.tensor(value), "cost_a": torch.tensor(cost)}, limits)

    assert score(5.0, 1.0) < score(-50.0, 1.9) < 0.0 < score(1e6, 2.1) < score(1e6, 3.0)
    assert excess({"cost_a": torch.tensor(3.0)}, limits) == pytest.approx(0.5)
    assert excess({"cost_a": torch.tensor(0.5)}, {"a": 0.0}) == pytest.approx(0.5)
