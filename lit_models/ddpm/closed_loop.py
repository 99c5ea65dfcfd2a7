"""Tasks in closed loop: the costs that stand for them, and how well they end."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ..core.intervals import rate
from .batch import OutcomesLike, TaskLike
from .costs import CostFunction, Joystick, Obstacles, Sum, Waypoint
from .layout import StateLayout


def task_costs(task: TaskLike, layout: StateLayout, history: int, options: Mapping[str, Mapping[str, Any]]) -> Sum:
    """The costs of a task.

    Args:
        task: what shall be done.
        layout: of the columns.
        history: steps N before the current one.
        options: fields of ``joystick``, ``waypoint`` and ``obstacles``, such as their weights.
    """
    costs: list[CostFunction] = []
    if task.velocity is not None:
        costs.append(Joystick(layout, history, velocity=task.velocity, **options.get("joystick", {})))
    if task.waypoint is not None:
        costs.append(Waypoint(layout, history, goal=task.waypoint, **options.get("waypoint", {})))
    if task.obstacles is not None:
        costs.append(Obstacles(layout, history, discs=task.obstacles, **options.get("obstacles", {})))
    return Sum(tuple(costs))


class TaskOutcomes(Metric):
    """Success with its 95 % Wilson interval, seconds of the solved episodes, shares of falls and collisions.

    Counts and sums only, so that processes add up exactly.
    """

    full_state_update = False
    totals: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("totals", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outcomes: OutcomesLike) -> None:
        """Add N episodes."""
        success = outcomes.success.double()
        parts = [success, outcomes.falls, outcomes.collisions, success * outcomes.seconds, torch.ones_like(success)]
        self.totals += torch.stack([part.double().sum() for part in parts]).to(self.totals)

    def compute(self) -> dict[str, float]:
        """``success`` with ``low`` and ``high``, ``falls``, ``collisions``, and ``seconds`` if any succeeded."""
        solved, falls, collisions, seconds, episodes = self.totals.tolist()
        if not episodes:
            return {}
        found = rate("success", int(solved), int(episodes))
        found |= {"falls": falls / episodes, "collisions": collisions / episodes}
        return found | ({"seconds": seconds / solved} if solved else {})
