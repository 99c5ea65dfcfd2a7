"""What the module reads of its data, and what a simulator must offer to try plans in a closed loop."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor


class Batch(Protocol):
    """Windows of trajectories: N past steps, the current one, H future ones; W = N + 1 + H."""

    @property
    def states(self) -> Tensor:
        """States (B, W, S), physical units, in the character frame of the current step."""

    @property
    def actions(self) -> Tensor:
        """Actions (B, W, A), physical units; the one of index i is done at state i and leads to state i + 1."""

    @property
    def item(self) -> Tensor:
        """Position of each row in its split (B,) int64."""


class HistoryLike(Protocol):
    """What has happened up to now, in the character frame of the current step."""

    @property
    def states(self) -> Tensor:
        """States (B, N + 1, S), the last one is the current one."""

    @property
    def actions(self) -> Tensor:
        """Actions between them (B, N, A)."""

    @property
    def episode(self) -> Tensor:
        """Number of each row's episode (B,) int64."""

    @property
    def step(self) -> int:
        """Actions executed so far."""


class TaskLike(Protocol):
    """What shall be done, in the character frame of the current step."""

    @property
    def kind(self) -> str:
        """``joystick``, ``waypoint`` or ``forest``."""

    @property
    def velocity(self) -> Tensor | None:
        """Wanted velocity of the root (B, 2), m/s."""

    @property
    def waypoint(self) -> Tensor | None:
        """Where to go (B, 2), m."""

    @property
    def obstacles(self) -> Tensor | None:
        """Discs to stay out of (B, P, 3): x, y, radius, m."""


Policy = Callable[[Any, Any], Tensor]
"""(history, task) -> actions (B, K, A), physical units, the first one for now."""


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
