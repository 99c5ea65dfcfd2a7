"""Analytic controllers of the mobile base: they drive to a point, dodge pillars, follow a velocity, stand still.

A direction is chosen among 48 by how far it leads away from the goal, how soon it is blocked, and how much it turns the
drive (the vector field histogram of Ulrich and Borenstein 1998, on discs instead of cells); the speed falls towards the
goal and where the way is short. All are pure functions of the motion and the wish, in any one frame.
"""

import math

import torch
from torch import Tensor

from litmotif.geometry.rotations import turned, wrapped

from ...envs.mobile_base import DT, LIMITS, RADIUS, Motion, within_limits

SLEW, YAW_SLEW = 2.0, 4.0  # m/s^2 and rad/s^2: how fast the controllers change their action
CRUISE = 1.0  # m/s
_APPROACH = 1.2  # 1/s: speed per distance left
_DIRECTIONS, _LOOK = 48, 2.5  # m ahead
_MARGIN, _CREEP = 0.15, 0.25  # m, kept from pillars; m/s, where that is violated
_AWAY = 4.0  # 1/s: speed per violation of the margin
_BLOCKED, _TURN = 4.0, 0.3  # rad: worth of a way that is blocked at once, share of a turn of the drive
_FACE, _FACE_MAX = 2.0, 1.2  # 1/s, rad/s: turning towards where it drives


def free_way(place: Tensor, direction: Tensor, obstacles: Tensor, most: Tensor) -> Tensor:
    """How far the footprint, with its margin, can go straight on.

    Args:
        place: (N, 2) m.
        direction: (N, D) rad.
        obstacles: (N, P, 3): x, y, radius in m.
        most: (N,) m: farther is not asked.

    Returns:
        (N, D) m; 0 into an obstacle whose margin is violated, unhindered out of it.
    """
    to = (obstacles[..., :2] - place.unsqueeze(1)).unsqueeze(1)  # (N, 1, P, 2)
    radius = (obstacles[..., 2] + RADIUS + _MARGIN).unsqueeze(1)  # (N, 1, P)
    along = to[..., 0] * direction.cos().unsqueeze(-1) + to[..., 1] * direction.sin().unsqueeze(-1)  # (N, D, P)
    distance = torch.hypot(to[..., 0], to[..., 1])
    depth = along.square() - (distance - radius) * (distance + radius)  # of the chord, halved and squared
    reached = (along - depth.clamp(min=0.0).sqrt()).clamp(min=0.0)
    reached = torch.where((depth > 0.0) & (along > 0.0), reached, torch.inf)
    return torch.minimum(reached.amin(-1), most.unsqueeze(1))


def towards(motion: Motion, goal: Tensor, obstacles: Tensor, cruise: Tensor | float = CRUISE) -> Tensor:
    """The velocity that leads to the goal, past the obstacles, and ends there.

    Args:
        motion: N bases.
        goal: (N, 2) m.
        obstacles: (N, P, 3): x, y, radius in m.
        cruise: speed of a free way in m/s, (N,) or one for all.

    Returns:
        (N, 2) m/s, in the frame of ``motion`` and ``goal``.
    """
    to = goal - motion.pose[:, :2]
    distance, bearing = torch.hypot(to[:, 0], to[:, 1]), torch.atan2(to[:, 1], to[:, 0])
    speed = (_APPROACH * distance).clamp(max=cruise)
    if obstacles.shape[1] == 0:
        return torch.stack((speed * bearing.cos(), speed * bearing.sin()), -1)
    off = wrapped(torch.arange(_DIRECTIONS, device=goal.device) * (2 * math.pi / _DIRECTIONS))  # (D,)
    drive = turned(motion.speed[:, :2], motion.pose[:, 2])
    course, moving = torch.atan2(drive[:, 1], drive[:, 0]).unsqueeze(1), torch.hypot(drive[:, 0], drive[:, 1])
    direction, look = bearing.unsqueeze(1) + off, distance.clamp(0.05, _LOOK)
    free = free_way(motion.pose[:, :2], torch.cat((direction, course), 1), obstacles, look)
    free, ahead = free[:, :-1], free[:, -1]
    turn = moving.unsqueeze(1) * wrapped(direction - course).abs()
    cost = off.abs() + _BLOCKED * (1.0 - free / look.unsqueeze(1)).square() + _TURN * turn
    best = cost.argmin(1, keepdim=True)
    # slow where the chosen way is short, and where the drive still leads into something
    shortest = torch.minimum(free.gather(1, best).squeeze(1), ahead)
    speed = torch.minimum(speed, _CREEP + _APPROACH * shortest)
    chosen = direction.gather(1, best).squeeze(1)
    return torch.stack((speed * chosen.cos(), speed * chosen.sin()), -1) + _away(motion, obstacles)


def _away(motion: Motion, obstacles: Tensor) -> Tensor:
    """The velocity (N, 2) that leads out of violated margins: noise would lean against a pillar that is only passed."""
    to = motion.pose[:, None, :2] - obstacles[..., :2]  # (N, P, 2)
    distance = torch.hypot(to[..., 0], to[..., 1])
    violated = (obstacles[..., 2] + RADIUS + _MARGIN - distance).clamp(min=0.0)
    return (to * (_AWAY * violated / distance.clamp(min=1e-6)).unsqueeze(-1)).sum(1)


def facing(motion: Motion, velocity: Tensor, offset: Tensor | float = 0.0) -> Tensor:
    """The yaw rate (N,) that turns the base to where it drives, (N, 2) m/s, or ``offset`` rad to the left of it."""
    error = wrapped(torch.atan2(velocity[:, 1], velocity[:, 0]) + offset - motion.pose[:, 2])
    moving = (torch.hypot(velocity[:, 0], velocity[:, 1]) / 0.3).clamp(max=1.0)
    return (_FACE * error).clamp(-_FACE_MAX, _FACE_MAX) * moving


def within_reach(wish: Tensor) -> Tensor:
    """Wanted speeds (N, 3), slowed down where an axis would exceed its limit: the direction stays."""
    forward, sideways = wish[:, 0].abs() / LIMITS[0], wish[:, 1].abs() / LIMITS[1]
    planar = wish[:, :2] / torch.maximum(forward, sideways).clamp(min=1.0).unsqueeze(1)
    return within_limits(torch.cat((planar, wish[:, 2:]), -1))


def smooth(last: Tensor, wish: Tensor) -> Tensor:
    """The next action: from the last one (N, 3) towards the wanted speeds (N, 3), no faster than the slew limits."""
    change = within_reach(wish) - last
    planar = torch.hypot(change[:, 0], change[:, 1]).unsqueeze(1)
    change_planar = change[:, :2] * (SLEW * DT / planar.clamp(min=SLEW * DT))
    change_yaw = change[:, 2:].clamp(-YAW_SLEW * DT, YAW_SLEW * DT)
    return last + torch.cat((change_planar, change_yaw), -1)


def to_speeds(motion: Motion, velocity: Tensor, yaw_rate: Tensor) -> Tensor:
    """Wanted speeds (N, 3) in the base's own frame for a velocity (N, 2) in the frame of ``motion``."""
    return torch.cat((turned(velocity, -motion.pose[:, 2]), yaw_rate.unsqueeze(1)), -1)
