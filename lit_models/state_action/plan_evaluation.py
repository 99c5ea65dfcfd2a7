"""Held-out windows: what the model plans from their past, beside the truth, a held pose and noise."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from ..core.evaluation import Evaluation
from .costs import CostFunction
from .layout import StateLayout
from .metrics import Feet, TrajectoryMetrics
from .normalizer import Normalizer
from .planner import Plan

ROWS = ("model", "mean_plan", "ground_truth", "hold_last", "noise")
"""``mean_plan``: the mean of several plans from one past, which no single one of them is as near to the truth as."""
LOSSES = ("loss", "state_loss", "action_loss")


def hold_last(truth: Plan, history: int) -> Plan:
    """The current state for ever, and the last action (or none): (B, W, ...)."""
    states, actions = truth.states.clone(), truth.actions.clone()
    states[:, history + 1 :] = states[:, history : history + 1]
    actions[:, history:] = actions[:, history - 1 : history] if history else 0.0
    return Plan(states, actions)


def pure_noise(truth: Plan, history: int, normalizer: Normalizer, noise: tuple[Tensor, ...]) -> Plan:
    """What is not known drawn from a normal law of each column, without regard to the past."""
    size = truth.states.shape[-1]
    states = normalizer.states.physical(noise[0][..., -size:])  # without the emphasis projection
    actions = normalizer.actions.physical(noise[1])
    return Plan(
        torch.cat([truth.states[:, : history + 1], states[:, history + 1 :]], dim=1),
        torch.cat([truth.actions[:, :history], actions[:, history:]], dim=1),
    )


class PlanEvaluation(Evaluation):
    """Plans beside what happened, a held pose and noise.

    Args:
        layout: of the columns.
        history: steps N before the current one.
        action_horizon: actions that count.
        guided: whether there are plans under a cost, which is then told for all rows.
    """

    def __init__(self, layout: StateLayout, history: int, action_horizon: int | None, guided: bool) -> None:
        rows = (*ROWS, "guided") if guided else ROWS
        plans = {row: TrajectoryMetrics(layout, history, action_horizon) for row in rows}
        super().__init__(LOSSES, plans=plans, guide_cost={row: MeanMetric() for row in rows} if guided else {})
        self.history = history

    def add(
        self,
        plans: Mapping[str, Plan],
        truth: Plan,
        normalizer: Normalizer,
        noises: Sequence[tuple[Tensor, ...]],
        guide: CostFunction | None,
        feet: Feet | None,
    ) -> None:
        """Add plans.

        Args:
            plans: by row, (G, B, W, ...).
            truth: (B, W, ...).
            normalizer: for the row ``noise``.
            noises: G of them for the row ``noise``, standard normal, of the shapes of the streams.
            guide: the cost that steers the row ``guided``; it is told for all rows.
            feet: forward kinematics of soles.
        """
        drawn = [pure_noise(truth, self.history, normalizer, noise) for noise in noises]
        others = {
            "ground_truth": truth,
            "hold_last": hold_last(truth, self.history),
            "noise": Plan(*map(torch.stack, zip(*drawn, strict=True))),
        }
        if len(plans["model"].states) > 1:
            others["mean_plan"] = Plan(*(part.mean(dim=0) for part in plans["model"]))
        for row, plan in {**plans, **others}.items():
            soles = None if feet is None else feet(plan.states)
            self.kinds["plans"][row].update(*plan, *truth, feet=soles)
            if guide is not None:
                flat = (part.reshape(-1, *part.shape[-2:]) for part in plan)
                self.kinds["guide_cost"][row].update(guide(*flat))
