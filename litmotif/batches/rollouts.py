"""Rollouts: steps of environments for learning, whole episodes for evaluation."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

Act = Callable[[Tensor, int], Tensor]
"""Observations (N, D) and the number of the step -> actions (N, A), or (N,) for one choice."""


class Transition(NamedTuple):
    """One step of N environments.

    Attributes:
        observation: (N, D) float32; of the next episode where one has ended.
        reward: (N,) float32.
        costs: (N, M) float32.
        terminated: (N,) bool.
        truncated: (N,) bool.
        final_observation: (F, D) the last of the episodes that ended, in the order of the rows.
        success: (N,) bool.
        measures: (N,) each.
    """

    observation: Tensor
    reward: Tensor
    costs: Tensor
    terminated: Tensor
    truncated: Tensor
    final_observation: Tensor
    success: Tensor
    measures: dict[str, Tensor]


class Rollout(NamedTuple):
    """T steps of N environments; an episode that ends is followed by the next one in the same row.

    Attributes:
        observation: (T, N, D) float32, before each action.
        action: (T, N, A) float32, int64 for choices, (T, N) for a single one.
        reward: (T, N) float32.
        costs: (T, N, M) float32.
        terminated: (T, N) bool: a terminal state followed.
        ended: (T, N) bool: the episode ended, by a terminal state or a time limit.
        last_observation: (N, D) after the last action.
        final_observation: (F, D) what the F episodes that ended saw last, in the order of ``ended`` read row by row.
        age: (T, N) int64: steps of the episode so far, this one included.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    costs: Tensor
    terminated: Tensor
    ended: Tensor
    last_observation: Tensor
    final_observation: Tensor
    age: Tensor


class Episodes(NamedTuple):
    """Outcomes of E whole episodes.

    Attributes:
        returns: (E,) float32, undiscounted.
        costs: (E, M) float32, undiscounted.
        lengths: (E,) int64.
        success: (E,) bool.
        measures: (E,) float32 each: means over the episode.
    """

    returns: Tensor
    costs: Tensor
    lengths: Tensor
    success: Tensor
    measures: dict[str, Tensor]
