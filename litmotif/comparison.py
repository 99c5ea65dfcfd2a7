"""Comparison of algorithms over seeds (Agarwal et al., NeurIPS 2021, arXiv:2108.13264; Colas et al., arXiv:1904.06979).

A run of training with one seed is one independent observation; the scenarios on which it is judged are not. Scores are
arrays (S, K): S seeds, K scenarios (1 where a run has one number), and higher is better unless said otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Scores = NDArray[np.float64]
RESAMPLES = 2000
CONFIDENCE = 0.95


def interquartile_mean(scores: Scores) -> float:
    """The mean of the middle half of all scores (section 4.3)."""
    return float(stats.trim_mean(np.asarray(scores), 0.25, axis=None))


def stratified_interval(
    scores: Sequence[Scores], statistic: Callable[..., float], source: np.random.Generator
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic, seeds drawn again within each scenario (section 4.1).

    Args:
        scores: one array (S, K) for each argument of ``statistic``.
        statistic: of arrays (S, K).
        source: of the resamples.

    Returns:
        Lower and upper bound; NaN where an array has one seed, of which no other could have been drawn.
    """
    if min(len(one) for one in scores) < 2:
        return float("nan"), float("nan")
    drawn = [
        statistic(*(np.take_along_axis(one, source.integers(len(one), size=one.shape), axis=0) for one in scores))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def probability_of_improvement(first: Scores, second: Scores) -> float:
    """P(X > Y) + P(X = Y) / 2, X and Y runs of the two on one scenario, averaged over scenarios (equation 2)."""
    apart = first[:, None] - second[None]  # (S, S', K)
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def effect_size(first: Scores, second: Scores, paired: bool) -> float:
    """Cohen's d of the means of runs: of their differences where paired, else by the pooled deviation."""
    x, y = first.mean(axis=1), second.mean(axis=1)
    if paired:
        apart = x - y
        spread = float(np.std(apart, ddof=1))
        return float(apart.mean()) / spread if spread else _sign_of_infinity(apart.mean())
    freedom = len(x) + len(y) - 2
    spread = float(np.sqrt(((len(x) - 1) * x.var(ddof=1) + (len(y) - 1) * y.var(ddof=1)) / freedom))
    return float(x.mean() - y.mean()) / spread if spread else _sign_of_infinity(x.mean() - y.mean())


def _sign_of_infinity(difference: Any) -> float:
    return float(np.sign(difference)) * float("inf") if difference else 0.0


def permutation_p_value(first: Scores, second: Scores, paired: bool, source: np.random.Generator) -> float:
    """Two-sided p-value of the difference of the means over runs, by permutation: exact where there are few.

    Paired runs change their signs, others their labels. With S pairs no p-value is below 2 / 2^S.
    """
    found = stats.permutation_test(
        (first.mean(axis=1), second.mean(axis=1)),
        _mean_difference,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=9999,
        alternative="two-sided",
        rng=source,
    )
    return float(found.pvalue)


def _mean_difference(x: Scores, y: Scores, axis: int = -1) -> Any:
    return np.mean(x, axis=axis) - np.mean(y, axis=axis)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number, step down (Holm 1979): the family is wrong at most as often as one test."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def performance_profile(scores: Scores, thresholds: Scores) -> Scores:
    """Share of all runs and scenarios whose score is above each threshold (section 4.2)."""
    return (np.asarray(scores).reshape(-1, 1) > thresholds).mean(axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Comparison:
    """What two algorithms differ by in one metric.

    Attributes:
        difference: of the means, in the metric's own unit and sign.
        improvement: probability that the first is better, with its bounds.
        p: by permutation; None where one of them has a single seed.
        effect: Cohen's d, positive where the first is better; None likewise.
        pairs: seeds that both have, where they are paired; 0 where they are not.
    """

    difference: float
    improvement: tuple[float, float, float]
    p: float | None
    effect: float | None
    pairs: int


def compare(
    first: dict[int, Scores], second: dict[int, Scores], lower_is_better: bool, source: np.random.Generator
) -> Comparison:
    """Compare two algorithms by their runs.

    Args:
        first: scores (K,) by seed; runs of one seed are paired, where both have the same seeds.
        second: likewise.
        lower_is_better: of the metric.
        source: of the resamples.
    """
    paired = first.keys() == second.keys()
    seeds = sorted(first)
    x = np.stack([first[seed] for seed in seeds])
    y = np.stack([second[seed] for seed in (seeds if paired else sorted(second))])
    difference = float(x.mean() - y.mean())
    if lower_is_better:
        x, y = -x, -y
    bounds = stratified_interval([x, y], probability_of_improvement, source)
    tested = min(len(x), len(y)) > 1
    return Comparison(
        difference,
        (probability_of_improvement(x, y), *bounds),
        permutation_p_value(x, y, paired, source) if tested else None,
        effect_size(x, y, paired) if tested else None,
        len(seeds) if paired else 0,
    )
