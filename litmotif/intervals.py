"""Confidence intervals of a share (Wilson) and of a mean (Student)."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, t


def rate(name: str, hits: int, total: int) -> dict[str, float]:
    """A share with its 95 % Wilson interval.

    Args:
        name: of the metric.
        hits: how many of ``total``.
        total: at least 1.

    Returns:
        ``name``, ``name/low`` and ``name/high``.
    """
    interval = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return {name: hits / total, f"{name}/low": float(interval.low), f"{name}/high": float(interval.high)}


def mean(name: str, values: Sequence[float]) -> dict[str, float]:
    """A mean with its standard error and its 95 % interval by Student's t.

    Args:
        name: of the mean.
        values: n independent ones, at least 2.

    Returns:
        ``name``, ``low``, ``high`` and ``standard error``, s / sqrt(n).
    """
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    centre, reach = float(np.mean(values)), float(t.ppf(0.975, len(values) - 1)) * error
    return {name: centre, "low": centre - reach, "high": centre + reach, "standard error": error}
