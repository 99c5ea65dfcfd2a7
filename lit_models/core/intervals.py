"""How sure a measured share is."""

from scipy.stats import binomtest


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
