"""Recordings of the mobile base, made in seconds: the embedded data of the trajectory models.

Three behaviours take turns over the episodes: ``waypoint`` drives from goal to goal in the open and stops there,
``joystick`` follows velocity commands in its own frame, ``swerve`` drives from goal to goal through a forest. Each
episode begins at rest. Ornstein-Uhlenbeck noise (Uhlenbeck and Ornstein 1930) on the executed action shows how to come
back. An episode with a fall or a touch is drawn anew.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.errors import ArgumentError
from litmotif.geometry.rotations import about, turned

from ... import noise
from ...envs.mobile_base import (
    DT,
    LIMITS,
    TIPPING,
    Motion,
    advance,
    pillar_gap,
    standing,
    wall_gap,
    within_limits,
)
from ...robots.recording import Recording, Slice
from .expert import facing, smooth, to_speeds, towards
from .scenes import HALF_WIDTH, LENGTH, Scene, draw, nearest_obstacles, plant, polar

BEHAVIOURS = ("waypoint", "joystick", "swerve")
NOISE_RATE, NOISE = 0.8, 0.1  # 1/s; per sqrt(s), of the action noise: 0.079 (m/s, rad/s) rms

_STREAM_PLAN, _STREAM_NOISE = 2, 1 << 16
_FORWARD = (-0.6, LIMITS[0])  # m/s, of the joystick's commands
_SEEN, _REACH = 8, 4.0  # obstacles, m


class Episodes(NamedTuple):
    """E episodes of T steps, world frame; the action of a step leads from its state to the next.

    Attributes:
        root_pos: (E, T, 3) m, z = 0.
        root_quat: (E, T, 4), unit quaternion x, y, z, w of the heading.
        root_vel: (E, T, 3) m/s, world frame.
        body_vel: (E, T, 2) m/s, forward and sideways in the base's own frame.
        yaw_rate: (E, T, 1) rad/s.
        actions: (E, T, 3), as executed: m/s forward, m/s sideways, rad/s.
        behaviour: (E,) int64, index into ``BEHAVIOURS``.
    """

    root_pos: Tensor
    root_quat: Tensor
    root_vel: Tensor
    body_vel: Tensor
    yaw_rate: Tensor
    actions: Tensor
    behaviour: Tensor


class ActionNoise:
    """Ornstein-Uhlenbeck noise, exact at any step, stationary from the start.

    Args:
        key: (N,) int64, one an episode.
        sigma: per sqrt(s); the noise has rms sigma / sqrt(2 NOISE_RATE).
    """

    def __init__(self, key: Tensor, sigma: float) -> None:
        self.key, self.decay, self.rms = key, math.exp(-NOISE_RATE * DT), sigma / math.sqrt(2 * NOISE_RATE)
        self.value = self.rms * self._normal(0)

    def step(self, moment: int) -> Tensor:
        """The noise (N, 3) of this moment, which counts from 1."""
        self.value = self.decay * self.value + math.sqrt(1 - self.decay**2) * self.rms * self._normal(moment)
        return self.value

    def _normal(self, moment: int) -> Tensor:
        return noise.normal(self.key, torch.full_like(self.key, _STREAM_NOISE + moment), 3).T


class _Plan(NamedTuple):
    """What N episodes want, segment by segment; ``wish`` is a goal, or speeds in the base's own frame."""

    ends: Tensor  # (N, S) steps
    wish: Tensor  # (N, S, 2) or (N, S, 3)
    cruise: Tensor  # (N, S) m/s
    offset: Tensor  # (N, S) rad, of the heading to the left of the drive
    scene: Scene


def record(num: int = 200, steps: int = 200, seed: int = 0) -> Episodes:
    """Episode e is a function of (seed, e), whatever ``num``.

    Args:
        num: E >= 1.
        steps: T >= 1, of 0.1 s.
        seed: of everything.

    Raises:
        ValueError: a number out of its range.
    """
    if num < 1 or steps < 1:
        raise ArgumentError(f"num={num}, steps={steps}: both must be at least 1.")
    pose, speed = torch.empty(2, num, steps, 3)
    actions, behaviour = torch.empty(num, steps, 3), torch.arange(num) % len(BEHAVIOURS)
    for index in range(len(BEHAVIOURS)):
        rows, attempt = torch.arange(index, num, len(BEHAVIOURS)), 0
        while len(rows):
            *parts, safe = _episodes(noise.combine(seed, rows, attempt), index, steps)
            for whole, part in zip((pose, speed, actions), parts, strict=True):
                whole[rows[safe]] = part[safe]
            rows, attempt = rows[~safe], attempt + 1
    return Episodes(*to_root(pose, speed), speed[..., :2].clone(), speed[..., 2:].clone(), actions, behaviour)


def to_root(pose: Tensor, speed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Poses and speeds (..., 3) of ``Motion`` as root position (..., 3), quaternion (..., 4), velocity (..., 3)."""
    flat = torch.zeros_like(pose[..., :1])
    return (
        torch.cat((pose[..., :2], flat), -1),
        about("z", pose[..., 2]),
        torch.cat((turned(speed[..., :2], pose[..., 2]), flat), -1),
    )


def to_recordings(episodes: Episodes) -> list[Recording]:
    """The episodes as recordings, named by number and behaviour; each is a motion of its own."""
    return [
        Recording(
            f"base/{number:05d}-{BEHAVIOURS[int(episodes.behaviour[number])]}",
            1 / DT,
            root_pos=episodes.root_pos[number].double(),
            root_quat=episodes.root_quat[number].double(),
            root_vel=episodes.root_vel[number].double(),
            planar=True,
            local=torch.cat((episodes.body_vel[number], episodes.yaw_rate[number]), -1).double(),
            slices=(Slice("body_vel", 2, "m/s", "local"), Slice("yaw_rate", 1, "rad/s", "local")),
            actions=episodes.actions[number].double(),
            action_slices=(Slice("velocity", 2, "m/s"), Slice("yaw_rate", 1, "rad/s")),
        )
        for number in range(len(episodes.behaviour))
    ]


def _episodes(key: Tensor, behaviour: int, steps: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Poses, speeds and actions (n, T, 3), and whether all went well (n,)."""
    plan, shaking = _draw_plan(key, BEHAVIOURS[behaviour], steps), ActionNoise(key, NOISE)
    motion, last = standing(plan.scene.start), torch.zeros_like(plan.scene.start)
    safe = torch.ones_like(key, dtype=torch.bool)
    poses, speeds, actions = torch.empty(3, len(key), steps, 3)
    rows = torch.arange(len(key))
    for step in range(steps):
        segment = (plan.ends <= step).sum(1)
        last = smooth(last, _wish(plan, rows, segment, motion))
        action = within_limits(last + shaking.step(step + 1))
        for kept, value in zip((poses, speeds, actions), (*motion, action), strict=True):
            kept[:, step] = value
        moved, peak = advance(motion, action)
        safe &= peak <= TIPPING
        if plan.scene.half_width is not None:
            safe &= pillar_gap(motion.pose[:, :2], moved.pose[:, :2], plan.scene.pillars) > 0.0
            safe &= wall_gap(moved.pose[:, :2], plan.scene.half_width) > 0.0
        motion = moved
    return poses, speeds, actions, safe


def _wish(plan: _Plan, rows: Tensor, segment: Tensor, motion: Motion) -> Tensor:
    """Wanted speeds (n, 3) now."""
    wish = plan.wish[rows, segment]
    if wish.shape[-1] == 3:
        return wish
    seen = plan.scene.pillars
    if plan.scene.half_width is not None:
        seen = nearest_obstacles(plan.scene, motion.pose[:, :2], _SEEN, _REACH)
    velocity = towards(motion, wish, seen, plan.cruise[rows, segment])
    return to_speeds(motion, velocity, facing(motion, velocity, plan.offset[rows, segment]))


def _draw_plan(key: Tensor, behaviour: str, steps: int) -> _Plan:
    """Segments: first at rest for 0.5 to 1 s, then goals for 4 to 9 s each or commands for 2 to 4 s each."""
    shortest, longest = (2.0, 4.0) if behaviour == "joystick" else (4.0, 9.0)
    count = math.ceil(steps * DT / shortest) + 1
    u = torch.stack([draw(key, _STREAM_PLAN + segment, 16) for segment in range(count)], 1)  # (n, S, 16)
    seconds = shortest + (longest - shortest) * u[..., 0]
    seconds[:, 0] = 0.5 + 0.5 * u[:, 0, 0]
    ends = (seconds.cumsum(1) / DT).round()
    ends[:, -1] = torch.inf
    cruise = 0.4 + (LIMITS[0] - 0.4) * u[..., 1]
    offset = torch.where(u[..., 2] < 0.7, 0.0, math.pi * (2 * u[..., 3] - 1))
    start = torch.cat((torch.zeros_like(u[:, 0, :2]), 2 * math.pi * u[:, 0, 4:5]), -1)
    scene = Scene("waypoint", start, None, None, u.new_zeros(len(u), 0, 3), None)
    if behaviour == "joystick":
        wish = _commands(u)
    elif behaviour == "waypoint":
        wish = polar(1 + 4 * u[..., 5], 2 * math.pi * u[..., 6])
        wish[:, 0] = 0.0
        wish = wish.cumsum(1)
    else:
        start[:, 1] = 4 * u[:, 0, 5] - 2
        scene = Scene("forest", start, None, None, plant(key), HALF_WIDTH)
        wish = _clearings(u[..., 4:], scene)
        wish[:, 0] = start[:, :2]
    return _Plan(ends, wish, cruise, offset, scene)


def _commands(u: Tensor) -> Tensor:
    """Speeds (n, S, 3) of a joystick; a fifth at rest, a third without turning."""
    low = u.new_tensor((_FORWARD[0], -LIMITS[1], -1.2))
    wish = low + (u.new_tensor((_FORWARD[1], LIMITS[1], 1.2)) - low) * u[..., 5:8]
    wish[..., 2] = torch.where(u[..., 8] < 1 / 3, 0.0, wish[..., 2])
    wish = torch.where(u[..., 9:10] < 0.2, 0.0, wish)
    wish[:, 0] = 0.0
    return wish


def _clearings(u: Tensor, scene: Scene) -> Tensor:
    """Goals (n, S, 2) in the forest: of six drawn places the one farthest from the pillars."""
    rows, segments = u.shape[:2]
    low, span = u.new_tensor((0.0, 1.0 - HALF_WIDTH)), u.new_tensor((LENGTH, 2 * HALF_WIDTH - 2))
    places = (low + span * u[..., :12].reshape(rows, segments * 6, 2)).view(-1, 2)
    gap = pillar_gap(places, places, scene.pillars.repeat_interleave(segments * 6, 0))
    best = gap.view(rows, segments, 6, 1).argmax(2, keepdim=True).expand(-1, -1, -1, 2)
    return places.view(rows, segments, 6, 2).gather(2, best).squeeze(2)
