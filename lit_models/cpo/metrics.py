"""Episode statistics of a policy: return, costs, success, with intervals."""

from typing import Any

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from litmotif.batches.rollouts import Episodes
from litmotif.intervals import rate


class EpisodeStatistics(Metric):
    """Means over whole episodes with 95 % intervals, and how often the limits were kept.

    Intervals of means are percentile bootstraps over episodes (2,000 seeded resamples); of rates, Wilson's. ``cvar_*``
    is the mean of the worst 5 % of episodes.

    Args:
        cost_names: of the M costs.
        limits: limits by name, in cost an episode.
        measure_names: whatever else the environment measures.
    """

    full_state_update = False
    higher_is_better = True
    returns: list[Tensor]
    costs: list[Tensor]
    lengths: list[Tensor]
    success: list[Tensor]
    measures: list[Tensor]

    def __init__(
        self, cost_names: list[str], limits: dict[str, float], measure_names: list[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.cost_names, self.limits, self.measure_names = cost_names, limits, measure_names or []
        for name in ("returns", "costs", "lengths", "success", "measures"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, episodes: Episodes) -> None:
        """Add episodes.

        Args:
            episodes: outcomes of E whole episodes.
        """
        self.returns.append(episodes.returns)
        self.costs.append(episodes.costs)
        self.lengths.append(episodes.lengths)
        self.success.append(episodes.success)
        if self.measure_names:
            self.measures.append(torch.stack([episodes.measures[name] for name in self.measure_names], dim=1))

    def compute(self) -> dict[str, Tensor]:
        """``return``, ``length``, ``success`` and ``cost_NAME``, each with rows ``low`` and ``high``; ``cvar_NAME``.

        ``cost_share`` is the share of its limit that the worst mean cost uses: above 1 a limit is exceeded.
        ``safe`` is the share of episodes that keep every limit; ``cost_NAME/limit`` stands beside each limited cost.
        """
        columns = {"return": dim_zero_cat(self.returns), "length": dim_zero_cat(self.lengths).float()}
        costs = dim_zero_cat(self.costs)  # (E, M)
        if self.measure_names:
            columns |= dict(zip(self.measure_names, dim_zero_cat(self.measures).T, strict=True))
        columns |= {f"cost_{name}": costs[:, number] for number, name in enumerate(self.cost_names)}
        results: dict[str, Tensor] = {}
        for name, values in columns.items():
            results |= _mean(name, np.sort(values.double().cpu().numpy()))  # the same whatever process had which
        results |= _rate("success", dim_zero_cat(self.success))
        kept = torch.ones(len(costs), dtype=torch.bool, device=costs.device)
        for number, name in enumerate(self.cost_names):
            column = costs[:, number]
            results[f"cvar_{name}"] = column.sort().values[-max(1, len(column) // 20) :].mean().float()
            if name in self.limits:
                results[f"cost_{name}/limit"] = torch.tensor(self.limits[name])
                kept &= column <= self.limits[name]
        if not self.limits:
            return results
        worst = max(share(float(results[f"cost_{name}"]), limit) for name, limit in self.limits.items())
        return results | {"cost_share": torch.tensor(worst)} | _rate("safe", kept)


def scale(limit: float) -> float:
    """The unit of what is relative to a limit: its size, 1 where it is 0. A negative limit bounds from above too."""
    return abs(limit) or 1.0


def share(cost: float, limit: float) -> float:
    """How much of its limit a cost uses: 1 at the limit, above 1 beyond it, whatever the sign of the limit."""
    return 1.0 + (cost - limit) / scale(limit)


def excess(results: dict[str, Tensor], limits: dict[str, float]) -> float:
    """The largest mean cost above its limit, as a fraction of the limit (of 1 where it is 0); 0 where all are kept."""
    return max([0.0, *(share(float(results[f"cost_{name}"]), limit) - 1.0 for name, limit in limits.items())])


def feasibility_first(results: dict[str, Tensor], limits: dict[str, float]) -> float:
    """A score to minimise that puts every policy within the limits before every other.

    In (-1, 0) falling with the return where all limits are kept; else the largest relative excess.
    """
    worst, value = excess(results, limits), float(results["return"])
    return worst if worst > 0.0 else -0.5 * (1.0 + value / (1.0 + abs(value)))


def _mean(name: str, values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, Tensor]:
    low = high = float(values.mean())
    if len(values) > 1 and np.ptp(values) > 0.0:
        interval = bootstrap(
            (values,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0), batch=200
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    rows = {name: float(values.mean()), f"{name}/low": low, f"{name}/high": high}
    return {key: torch.tensor(value, dtype=torch.float32) for key, value in rows.items()}


def _rate(name: str, hits: Tensor) -> dict[str, Tensor]:
    found = rate(name, int(hits.sum()), hits.numel())
    return {key: torch.tensor(value, dtype=torch.float32) for key, value in found.items()}
