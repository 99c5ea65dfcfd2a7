"""Plan metrics: success in the real environment, and the protocol of the simulator that it takes."""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.intervals import rate

from .network import NUM_ACTIONS

Policy = Callable[[Any], Tensor]
"""Observation with B rows -> plans (B, L) int64."""


class RolloutsLike(Protocol):
    """Outcomes of N episodes."""

    @property
    def success(self) -> Tensor:
        """Whether the task was solved (N,) bool."""

    @property
    def steps(self) -> Tensor:
        """Steps taken (N,) int64."""

    @property
    def optimal(self) -> Tensor:
        """Steps of a shortest plan (N,) int64, -1 where unknown."""

    @property
    def returns(self) -> Tensor:
        """Sum of rewards (N,) float32."""


class Simulator(Protocol):
    """A datamodule that can execute plans in the real environment."""

    def rollout(
        self, policy: Policy, split: str, replan_every: int | None = None, rank: int = 0, world_size: int = 1
    ) -> RolloutsLike:
        """Execute the policy's plans in the episodes of a split, this rank's share of them."""

    def baselines(self, split: str, rank: int = 0, world_size: int = 1) -> dict[str, RolloutsLike]:
        """The same for policies to compare with, by name."""


class PlanLikelihood(Metric):
    """The NELBO of plans, beside what the expert and a uniform policy would reach; sums only."""

    full_state_update = False
    higher_is_better = False
    plans: Tensor
    actions: Tensor
    nelbo: Tensor
    floor: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("plans", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("actions", torch.tensor(0), dist_reduce_fx="sum")
        for name in ("nelbo", "floor"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, nelbo: Tensor, floor: Tensor, actions: Tensor) -> None:
        """Add plans.

        Args:
            nelbo: bound on -log p (B,), nats.
            floor: exact -log p under the expert (B,), nats; NaN where unknown.
            actions: actions of each plan, and 1 for its END (B,).
        """
        self.plans += len(nelbo)
        self.actions += actions.sum()
        self.nelbo += nelbo.double().sum()
        self.floor += floor.double().sum()

    def compute(self) -> dict[str, Tensor]:
        """``nelbo`` in nats a plan with its rows ``expert`` and ``random``, and ``bits_per_action`` likewise."""
        uniform = self.actions * math.log(NUM_ACTIONS + 1)
        totals = {"": self.nelbo, "/expert": self.floor, "/random": uniform}
        nelbo = {f"nelbo{row}": (nats / self.plans).float() for row, nats in totals.items()}
        bits = {f"bits_per_action{row}": (nats / self.actions / math.log(2)).float() for row, nats in totals.items()}
        return nelbo | bits


class PlanSuccess(Metric):
    """Success rate with its 95 % Wilson interval, excess steps over the optimum, and return.

    Counts and sums only, so that processes add up exactly. ``excess_steps`` is the mean over solved episodes of known
    optimum; NaN while there is none.
    """

    full_state_update = False
    higher_is_better = True
    solved: Tensor
    episodes: Tensor
    compared: Tensor
    excess: Tensor
    total_return: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("solved", "episodes", "compared", "excess"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total_return", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, rollouts: RolloutsLike) -> None:
        """Add episodes.

        Args:
            rollouts: outcomes of N episodes.
        """
        compared = rollouts.success & (rollouts.optimal >= 0)
        self.solved += int(rollouts.success.sum())
        self.episodes += rollouts.success.numel()
        self.compared += int(compared.sum())
        self.excess += int((rollouts.steps - rollouts.optimal)[compared].sum())
        self.total_return += float(rollouts.returns.double().sum())

    def compute(self) -> dict[str, Tensor]:
        """``success`` with ``success/low`` and ``success/high``, ``excess_steps``, ``return``."""
        solved, episodes = int(self.solved), int(self.episodes)
        if episodes == 0:
            return {}
        success = {name: torch.tensor(value) for name, value in rate("success", solved, episodes).items()}
        return success | {
            "excess_steps": (self.excess / self.compared).float(),
            "return": (self.total_return / episodes).float(),
        }
