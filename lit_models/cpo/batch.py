"""What the modules read of their data: anything with these parts will do."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Act = Callable[[Tensor, int], Tensor]
"""Observations (N, D) and the number of the step -> actions (N, A), or (N,) for choices."""


class RolloutLike(Protocol):
    """T steps of N episodes; an episode that ends is followed by the next one in the same row."""

    @property
    def observation(self) -> Tensor:
        """(T, N, D) float32, before each action."""

    @property
    def action(self) -> Tensor:
        """(T, N, A) float32, or (T, N) int64 for choices."""

    @property
    def reward(self) -> Tensor:
        """(T, N) float32."""

    @property
    def costs(self) -> Tensor:
        """(T, N, M) float32."""

    @property
    def terminated(self) -> Tensor:
        """(T, N) bool: a terminal state followed."""

    @property
    def ended(self) -> Tensor:
        """(T, N) bool: the episode ended, by a terminal state or a time limit."""

    @property
    def last_observation(self) -> Tensor:
        """(N, D) after the last action."""

    @property
    def final_observation(self) -> Tensor:
        """(F, D) what the F episodes that ended saw last, in the order of ``ended`` read row by row."""


class CollectorLike(Protocol):
    """A training batch: environments that stand ready for the next T steps."""

    @property
    def first(self) -> int:
        """Position of this process's first environment among all."""

    @property
    def total(self) -> int:
        """Environments of all processes together."""

    @property
    def max_episode_steps(self) -> int | None:
        """Steps after which an episode is truncated; None where there is no limit."""

    def collect(self, act: Act) -> RolloutLike:
        """Let the policy act for T steps."""


class EpisodesLike(Protocol):
    """Outcomes of E whole episodes."""

    @property
    def returns(self) -> Tensor:
        """(E,) undiscounted."""

    @property
    def costs(self) -> Tensor:
        """(E, M) undiscounted."""

    @property
    def lengths(self) -> Tensor:
        """(E,) int64."""

    @property
    def success(self) -> Tensor:
        """(E,) bool; all False where the environment does not tell."""

    @property
    def measures(self) -> dict[str, Tensor]:
        """(E,) each: means over the episode of whatever else the environment measures."""


class EvaluationLike(Protocol):
    """An evaluation batch: fresh episodes of a split, the same at each evaluation."""

    @property
    def first(self) -> int:
        """Position of this process's first episode among all."""

    @property
    def total(self) -> int:
        """Episodes of all processes together."""

    def evaluate(self, act: Act) -> EpisodesLike:
        """Let the policy act until each episode has ended."""

    def baselines(self) -> dict[str, EpisodesLike]:
        """The same for policies to compare with, by name."""
