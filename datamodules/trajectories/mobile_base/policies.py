"""Policies of the mobile base: what they are shown and answer, and those that others are compared with."""

import torch
from torch import Tensor

from litmotif.batches.trajectories import History, Policy, Task
from litmotif.errors import ArgumentError

from ... import noise
from ...envs.mobile_base import LIMITS, Motion, advance
from .expert import facing, smooth, to_speeds, towards

PLAN = 16
"""Actions in a plan of the baselines: 1.6 s."""


def expert(history: History, task: Task) -> Tensor:
    """The analytic controllers, with the true dynamics as their forecast; the base turns to where it drives.

    Raises:
        ValueError: a task with neither a velocity nor a waypoint.
    """
    now = history.states[:, -1]
    motion = Motion(now[:, [0, 1, 4]], now[:, 5:8])
    action = history.actions[:, -1] if history.actions.shape[1] else motion.speed
    obstacles = now.new_zeros(len(now), 0, 3) if task.obstacles is None else task.obstacles
    plan = []
    for _ in range(PLAN):
        if task.velocity is not None:
            velocity = task.velocity
        elif task.waypoint is not None:
            velocity = towards(motion, task.waypoint, obstacles)
        else:
            raise ArgumentError(f"task of kind {task.kind!r} with neither velocity nor waypoint: give it one.")
        action = smooth(action, to_speeds(motion, velocity, facing(motion, velocity)))
        plan.append(action)
        motion, _ = advance(motion, action)
    return torch.stack(plan, 1)


def zero(history: History, task: Task) -> Tensor:
    """Stand still."""
    return history.states.new_zeros(len(history.states), PLAN, 3)


def random(history: History, task: Task) -> Tensor:
    """Any action within the limits, anew in each step; a function of episode and step."""
    key = noise.combine(history.episode)
    u = noise.uniform(key, torch.full_like(key, history.step), PLAN * 3)
    return (2 * u.T.reshape(-1, PLAN, 3) - 1) * u.new_tensor(LIMITS)


BASELINES: dict[str, Policy] = {"expert": expert, "zero": zero, "random": random}
