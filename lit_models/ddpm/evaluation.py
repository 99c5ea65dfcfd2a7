"""Held-out windows: what the model plans from their past, beside the truth, a held pose and noise."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from .costs import CostFunction
from .layout import StateLayout
from .metrics import Feet, TrajectoryMetrics
from .normalizer import Normalizer
from .planner import Plan

ROWS = ("model", "ground_truth", "hold_last", "noise")
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
    states = noise[0][..., -size:] * normalizer.state_std + normalizer.state_mean  # without the emphasis projection
    actions = noise[1] * normalizer.action_std + normalizer.action_mean
    return Plan(
        torch.cat([truth.states[:, : history + 1], states[:, history + 1 :]], dim=1),
        torch.cat([truth.actions[:, :history], actions[:, history:]], dim=1),
    )


class Evaluation(nn.Module):
    """The metrics of every row, and the losses.

    Args:
        layout: of the columns.
        history: steps N before the current one.
        action_horizon: actions that count.
        rows: names of the rows.
    """

    def __init__(self, layout: StateLayout, history: int, action_horizon: int | None, rows: Sequence[str]) -> None:
        super().__init__()
        self.history = history
        self.rows = {row: TrajectoryMetrics(layout, history, action_horizon) for row in rows}
        self.losses = {name: MeanMetric() for name in LOSSES}
        self.costs = {row: MeanMetric() for row in rows} if "guided" in rows else {}
        self.metrics: nn.ModuleList = nn.ModuleList(  # so that they follow the module to its device
            [*self.rows.values(), *self.losses.values(), *self.costs.values()]
        )

    def add_losses(self, *losses: Tensor) -> None:
        """Losses of B windows, in the order of ``LOSSES``, each (B,)."""
        for metric, loss in zip(self.losses.values(), losses, strict=True):
            metric.update(loss)

    def add(
        self,
        plans: Mapping[str, Plan],
        truth: Plan,
        normalizer: Normalizer,
        noise: tuple[Tensor, ...],
        guide: CostFunction | None,
        feet: Feet | None,
    ) -> None:
        """Add plans.

        Args:
            plans: by row, (G, B, W, ...).
            truth: (B, W, ...).
            normalizer: for the row ``noise``.
            noise: standard normal, of the shapes of the streams.
            guide: the cost that steers the row ``guided``; it is told for all rows.
            feet: forward kinematics of soles.
        """
        others = {
            "ground_truth": truth,
            "hold_last": hold_last(truth, self.history),
            "noise": pure_noise(truth, self.history, normalizer, noise),
        }
        for row, plan in {**plans, **others}.items():
            soles = None if feet is None else feet(plan.states)
            self.rows[row].update(*plan, *truth, feet=soles)
            if guide is not None:
                flat = (part.reshape(-1, *part.shape[-2:]) for part in plan)
                self.costs[row].update(guide(*flat))

    def compute(self) -> dict[str, Tensor]:
        """Losses, then all metrics as ``metric`` of the model and ``metric/row`` of the others."""
        found: dict[str, Tensor] = {name: metric.compute() for name, metric in self.losses.items()}
        for row, metric in self.rows.items():
            for name, value in metric.compute().items():
                found[name if row == "model" else f"{name}/{row}"] = torch.tensor(value)
        for row, cost in self.costs.items():
            found["guide_cost" if row == "model" else f"guide_cost/{row}"] = cost.compute()
        return found

    def reset(self) -> None:
        """Forget everything."""
        for metric in (*self.rows.values(), *self.losses.values(), *self.costs.values()):
            metric.reset()
