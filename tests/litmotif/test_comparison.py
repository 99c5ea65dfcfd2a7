"""Comparison over seeds: other ways to the same numbers, and how often its intervals and tests are wrong."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from litmotif import comparison


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def source(seed=0):
    return np.random.default_rng(seed)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert comparison.interquartile_mean(np.array([[-100.0, 1], [2, 3], [4, 5], [6, 1e6]])) == 3.5


def test_the_probability_of_improvement_is_that_of_mann_whitney():
    first, second = draw(7, 1), draw(5, 1, seed=1).round(1)
    u = stats.mannwhitneyu(first[:, 0], second[:, 0]).statistic
    assert comparison.probability_of_improvement(first, second) == pytest.approx(u / 35)
    assert comparison.probability_of_improvement(first, first) == 0.5


def test_the_interval_is_scipys_where_there_is_one_scenario():
    scores = draw(12, 1)
    low, high = comparison.stratified_interval([scores], lambda x: float(x.mean()), source())
    theirs = stats.bootstrap((scores[:, 0],), np.mean, method="percentile", rng=source(1)).confidence_interval
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.05)


def test_seeds_are_drawn_again_within_each_scenario():
    scores = np.stack([np.zeros(6), np.full(6, 10.0)], axis=1)  # nothing varies within a scenario
    assert comparison.stratified_interval([scores], lambda x: float(x.mean()), source()) == (5.0, 5.0)
    assert np.isnan(comparison.stratified_interval([scores[:1]], lambda x: float(x.mean()), source())).all()


def test_a_paired_p_value_is_the_share_of_the_signs_that_are_as_far():
    first, second = draw(6, 3), draw(6, 3, seed=1)
    apart = (first - second).mean(axis=1)
    means = [abs(np.mean(np.array(signs) * apart)) for signs in product((1, -1), repeat=6)]
    expected = np.mean([mean >= abs(apart.mean()) - 1e-12 for mean in means])
    assert comparison.permutation_p_value(first, second, True, source()) == pytest.approx(expected)


def test_an_unpaired_test_is_right_as_often_as_it_says():
    wrong = [
        comparison.permutation_p_value(draw(5, 1, seed=k), draw(5, 1, seed=10_000 + k), False, source()) <= 0.05
        for k in range(400)
    ]
    assert stats.binomtest(sum(wrong), len(wrong), 12 / 252).pvalue > 1e-3  # of 252 ways 12 are as far as 5 % lets be


def test_holm_is_the_closed_test_of_bonferroni():
    p = [0.01, 0.04, 0.03, 0.2]

    def closed(i):
        others = [j for j in range(4) if j != i]
        groups = [
            [i, *(j for j, take in zip(others, taken, strict=True) if take)] for taken in product((0, 1), repeat=3)
        ]
        return max(min(1.0, len(g) * min(p[j] for j in g)) for g in groups)

    assert comparison.holm(p) == pytest.approx([closed(i) for i in range(4)])


@pytest.mark.parametrize("paired", [True, False])
def test_the_effect_is_cohens(paired):
    first, second = draw(8, 1), draw(8, 1, seed=1)
    t = (stats.ttest_rel if paired else stats.ttest_ind)(first[:, 0], second[:, 0]).statistic
    assert comparison.effect_size(first, second, paired) == pytest.approx(t / np.sqrt(8 if paired else 4))


def test_a_profile_falls_from_all_runs_to_none():
    shares = comparison.performance_profile(np.array([[1.0], [2], [3]]), np.array([0.0, 1, 2.5, 3]))
    assert shares.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_lower_is_better_turns_the_answer_and_not_the_difference():
    low, high = {0: np.array([1.0]), 1: np.array([2.0])}, {0: np.array([3.0]), 1: np.array([4.0])}
    found = comparison.compare(low, high, True, source())
    assert (found.difference, found.improvement[0], found.pairs) == (-2.0, 1.0, 2)
    assert found.effect == float("inf")
    alone = comparison.compare({0: low[0]}, high, False, source())
    assert (alone.p, alone.effect, alone.pairs) == (None, None, 0)
