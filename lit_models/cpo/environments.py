"""Environment protocols: what a datamodule of rollouts hands out, steps to learn from and episodes to be judged by."""

from typing import Protocol

from litmotif.batches.rollouts import Act, Episodes, Rollout


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

    def collect(self, act: Act) -> Rollout:
        """Let the policy act for T steps."""


class EvaluationLike(Protocol):
    """An evaluation batch: fresh episodes of a split, the same at each evaluation."""

    @property
    def first(self) -> int:
        """Position of this process's first episode among all."""

    @property
    def total(self) -> int:
        """Episodes of all processes together."""

    def evaluate(self, act: Act) -> Episodes:
        """Let the policy act until each episode has ended."""

    def baselines(self) -> dict[str, Episodes]:
        """The same for policies to compare with, by name."""
