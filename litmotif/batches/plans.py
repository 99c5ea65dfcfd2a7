"""Observations and plans in a grid world: what MiniGridPlans hands to a planner, and how its plans end."""

from typing import NamedTuple

from torch import Tensor

NUM_ACTIONS = 7
"""left 0, right 1, forward 2, pickup 3, drop 4, toggle 5, done 6."""
END = 7
"""Fills a plan behind its last action."""


class Observation(NamedTuple):
    """What the agent is shown, B rows.

    Attributes:
        image: (B, W, H, 3) uint8: object, colour and state id of each cell, as MiniGrid gives them.
        direction: (B,) int64: heading, 0 right, 1 down, 2 left, 3 up.
        mission: (B, N) int64: word ids from 1, 0 for padding and unknown words; N = 0 without missions.
    """

    image: Tensor
    direction: Tensor
    mission: Tensor


class PlanBatch(NamedTuple):
    """Observations and expert plans, B rows of L slots.

    Attributes:
        observation: where the plans start.
        plan: (B, L) int64: actions 0 to 6, then END = 7 to the end; no END where the plan goes on behind the window.
        floor: (B,) float32: exact -log p of the plan for an expert that draws uniformly among all optimal plans, in
            nats; NaN where their number is unknown.
        item: (B,) int64: position of the row in its split.
    """

    observation: Observation
    plan: Tensor
    floor: Tensor
    item: Tensor


class Rollouts(NamedTuple):
    """Outcomes of N episodes.

    Attributes:
        success: (N,) bool: the environment gave a reward.
        steps: (N,) int64: actions taken.
        optimal: (N,) int64: actions of a shortest plan, -1 where unknown.
        returns: (N,) float32: sum of rewards, at most 1.
    """

    success: Tensor
    steps: Tensor
    optimal: Tensor
    returns: Tensor
