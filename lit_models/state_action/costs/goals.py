"""Costs of where to go and how."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..frames import heading
from .base import Cost, Values


@dataclass(frozen=True, eq=False)
class Joystick(Cost):
    """Move as a stick says: 1/2 sum ||v_xy - g||^2 over the steps (Diffuse-CLoC, arXiv:2503.11801, section 4.4).

    Attributes:
        velocity: g, forwards and to the left, m/s (2,); None leaves it open.
        yaw_rate: anticlockwise, rad/s, compared with the turn from each future step to the next; None leaves it open.

    Raises:
        ValueError: nothing is given, or the layout has no root.
    """

    velocity: Values | None = None
    yaw_rate: Values | None = None

    def __post_init__(self) -> None:
        if self.velocity is None and self.yaw_rate is None:
            raise ArgumentError("give velocity, yaw_rate or both.")
        if self.velocity is not None:
            self.require("velocity", 2)
        self.layout.slice("root_vel")

    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """See ``Cost.of_future``."""
        cost = states.new_zeros(len(states))
        if self.velocity is not None:
            error = states[..., self.layout.slice("root_vel")][..., :2] - self.per_step("velocity", states, 1)
            cost = cost + error.square().sum(dim=(1, 2)) / 2
        if self.yaw_rate is not None:
            turn = heading(states, self.layout).diff(dim=1)  # (B, H - 1)
            rate = torch.atan2(turn.sin(), turn.cos()) * self.layout.fps  # the short way round
            goal = self.per_step("yaw_rate", states, 0)
            goal = goal[:, 1:] if goal.shape[1] > 1 else goal
            cost = cost + (rate - goal).square().sum(dim=1) / 2
        return cost


@dataclass(frozen=True, eq=False)
class Waypoint(Cost):
    """Go to a point and stop there (Diffuse-CLoC, arXiv:2503.11801, section 4.4).

    sum (1 - e^-2d) ||p - g||^2 + e^-2d ||v||^2 over the steps, d = ||p - g|| held constant in the gradient.

    Attributes:
        goal: g, x and y (2,) m.

    Raises:
        ValueError: not two numbers, or the layout has no root.
    """

    goal: Values

    def __post_init__(self) -> None:
        self.require("goal", 2)
        self.layout.slice("root_pos")

    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """See ``Cost.of_future``."""
        offset = states[..., self.layout.slice("root_pos")][..., :2] - self.per_step("goal", states, 1)
        speed = states[..., self.layout.slice("root_vel")][..., :2]
        near = torch.exp(-2 * torch.linalg.vector_norm(offset.detach(), dim=-1))  # (B, H)
        return ((1 - near) * offset.square().sum(dim=-1) + near * speed.square().sum(dim=-1)).sum(dim=1)


@dataclass(frozen=True, eq=False)
class Keyframe(Cost):
    """Be in a given state at given steps: sum_k w_k ||s_k - g_k||^2.

    Attributes:
        columns: which, such as ``root_pos``, ``root_pos/x``, ``joint_pos/left_knee_joint`` or ``body_pos/left_hand``.
        steps: ahead of the current one, 1 to H, K of them.
        values: g (K, size) in the unit and frame of the columns.
        weights: w (K,); None weighs all alike.

    Raises:
        ValueError: unknown columns, or numbers that do not fit together.
    """

    columns: str
    steps: Sequence[int]
    values: Values
    weights: Values | None = None

    def __post_init__(self) -> None:
        where = self.layout.slice(self.columns)
        self.require("values", where.stop - where.start)
        if torch.as_tensor(self.values).shape[-2:-1] != (len(self.steps),):
            shape = tuple(torch.as_tensor(self.values).shape)
            raise ArgumentError(f"values has shape {shape}; one row for each of the {len(self.steps)} steps.")
        if self.weights is not None:
            self.require("weights", len(self.steps))
        if any(step < 1 for step in self.steps):
            raise ArgumentError(f"steps={list(self.steps)}: 1 is the step after the current one.")

    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """See ``Cost.of_future``.

        Raises:
            ValueError: a step beyond the horizon.
        """
        if max(self.steps) > states.shape[1]:
            raise ArgumentError(f"keyframe: steps={list(self.steps)} with a horizon of {states.shape[1]} steps.")
        reached = states[:, [step - 1 for step in self.steps], self.layout.slice(self.columns)]  # (B, K, size)
        error = (reached - self.per_sample("values", states, 2)).square().sum(dim=-1)  # (B, K)
        return (error if self.weights is None else error * self.per_sample("weights", states, 1)).sum(dim=1)
