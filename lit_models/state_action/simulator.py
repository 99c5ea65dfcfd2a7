"""Simulator protocol: what a datamodule with a world offers, to try plans in a closed loop."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from litmotif.batches.trajectories import Policy


class OutcomesLike(Protocol):
    """How N episodes of a task ended."""

    @property
    def success(self) -> Tensor:
        """(N,) bool."""

    @property
    def seconds(self) -> Tensor:
        """Until the episode ended (N,)."""

    @property
    def falls(self) -> Tensor:
        """(N,) bool."""

    @property
    def collisions(self) -> Tensor:
        """(N,) bool."""


class ClosedLoop(Protocol):
    """A datamodule with a world to act in."""

    def rollout(
        self, policy: Policy, split: str, replan_every: int = 4, rank: int = 0, world_size: int = 1
    ) -> Mapping[str, OutcomesLike]:
        """Outcomes by task; this process takes every ``world_size``-th episode from ``rank``."""

    def baselines(self, split: str, rank: int = 0, world_size: int = 1) -> Mapping[str, Mapping[str, OutcomesLike]]:
        """The same for policies to compare with: by their name, then by task."""
