"""Direction of a metric, lower or higher is better, told by its name."""

import re
from typing import Literal

Direction = Literal["min", "max"]

LOWER = frozenset(
    {"loss", "nelbo", "nll", "kl", "mse", "mae", "rmse", "error", "cost", "fid", "fgd", "excess", "bits", "perplexity"}
)
HIGHER = frozenset(
    {"success", "accuracy", "acc", "f1", "return", "reward", "precision", "recall", "r2", "ccc"}
    | {"similarity", "cosine", "correlation"}
)


def direction_of(metric: str) -> Direction | None:
    """``min`` or ``max`` by the words of a name such as ``val/excess_steps``; None where it does not tell."""
    words = set(re.split(r"[/_\-. ]", metric.lower()))
    lower, higher = bool(words & LOWER), bool(words & HIGHER)
    if lower == higher:
        return None
    return "min" if lower else "max"
