"""Scenes around the mobile base: where it starts, what it is asked for, pillars and walls, from a key per episode.

The forest is 9 m long (x) and 8 m wide (y), between two walls. Any two pillars leave a gap in which the base fits with
``SPARE`` on both sides, and the walls are farther apart than one pillar reaches: no fence of pillars can close it, so
every forest has a way through.
"""

import itertools
import math
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from litmotif.batches.trajectories import TaskName
from litmotif.errors import ArgumentError

from ... import noise
from ...envs.mobile_base import RADIUS

TASKS: tuple[TaskName, ...] = get_args(TaskName)

LENGTH, HALF_WIDTH = 9.0, 4.0  # m, of the forest; the walls are y = -4 and y = 4
PILLARS, THIN, THICK = 15, 0.15, 0.25  # how many; m, their radii
SPARE = 0.15  # m, on each side of the base between two pillars
COMMAND_SPEED, COMMANDS = (0.2, 0.8), 2  # m/s, the slowest and the fastest joystick command; commands an episode

_FRONT, _SIDE = (1.0, LENGTH - 1.0), HALF_WIDTH - THICK  # m, where pillars stand
_OFFSET = 2.0  # m, start and goal of the forest off its middle line
_WALL_DISC = 1000.0  # m: the radius of a disc that is as good as a wall
_NOWHERE = 1e4  # m
_STREAM_TASK, _STREAM_PILLARS, _TRIES = 1, 1 << 20, 16


class Scene(NamedTuple):
    """N episodes of one task, in world frame.

    Attributes:
        task: its name.
        start: (N, 3): x, y in m, heading in rad; the base stands there.
        goal: (N, 2) m, or None.
        velocity: (N, COMMANDS, 2) m/s, one after the other for equal times, or None.
        pillars: (N, P, 3): x, y, radius in m.
        half_width: m, from the middle line to each wall, or None without walls.
    """

    task: TaskName
    start: Tensor
    goal: Tensor | None
    velocity: Tensor | None
    pillars: Tensor
    half_width: float | None


def draw(key: Tensor, moment: int, draws: int) -> Tensor:
    """Uniform in [0, 1) (n, draws) of a key an episode (n,) at a moment of it."""
    return noise.uniform(key, torch.full_like(key, moment), draws).T.contiguous()


def polar(length: Tensor, angle: Tensor) -> Tensor:
    """(..., 2) from lengths and angles (...)."""
    return torch.stack((length * angle.cos(), length * angle.sin()), -1)


def draw_scene(task: TaskName, key: Tensor) -> Scene:
    """The episodes of these keys (N,) int64.

    Raises:
        ValueError: an unknown task.
    """
    if task not in TASKS:
        raise ArgumentError(f"task={task!r}: choose one of {', '.join(TASKS)}.")
    u = draw(key, _STREAM_TASK, 2 + 2 * COMMANDS)
    turn = 2 * math.pi * u
    if task == "forest":
        side = _OFFSET * (2 * u[:, :2] - 1)
        start = torch.stack((torch.zeros_like(key, dtype=side.dtype), side[:, 0], u[:, 2] - 0.5), -1)
        goal = torch.stack((torch.full_like(side[:, 1], LENGTH), side[:, 1]), -1)
        return Scene(task, start, goal, None, plant(key), HALF_WIDTH)
    start = torch.cat((torch.zeros_like(u[:, :2]), turn[:, :1]), -1)
    pillars = u.new_zeros(len(u), 0, 3)
    if task == "waypoint":
        return Scene(task, start, polar(2 + 3 * u[:, 1], turn[:, 2]), None, pillars, None)
    speed = COMMAND_SPEED[0] + (COMMAND_SPEED[1] - COMMAND_SPEED[0]) * u[:, 2::2]
    return Scene(task, start, None, polar(speed, turn[:, 3::2]), pillars, None)


def plant(key: Tensor) -> Tensor:
    """Pillars (N, PILLARS, 3) of keys (N,): each at the first drawn place that is far enough from those before it.

    None stands within 0.75 m of the lines x = 0 and x = 9, where bases start and goals are.
    """
    low = torch.tensor((_FRONT[0], -_SIDE, THIN))
    span = torch.tensor((_FRONT[1], _SIDE, THICK)) - low
    order = torch.arange(_TRIES, 0, -1)
    placed = torch.empty(len(key), 0, 3)
    for pillar in range(PILLARS):
        chosen, open_rows = torch.empty(len(key), 3), torch.arange(len(key))
        for attempt in itertools.count():
            moment = _STREAM_PILLARS + (attempt * PILLARS + pillar)
            tries = low + span * draw(key[open_rows], moment, 3 * _TRIES).view(-1, _TRIES, 3)
            off = tries[:, :, None, :2] - placed[open_rows, None, :, :2]
            gap = torch.hypot(off[..., 0], off[..., 1]) - tries[:, :, None, 2] - placed[open_rows, None, :, 2]
            fits = (gap >= 2 * (RADIUS + SPARE)).all(2)
            first = (fits * order).argmax(1)
            found = fits.any(1)
            chosen[open_rows[found]] = tries[found, first[found]]
            open_rows = open_rows[~found]
            if len(open_rows) == 0:
                break
        placed = torch.cat((placed, chosen.unsqueeze(1)), 1)
    return placed


def nearest_obstacles(scene: Scene, place: Tensor, count: int, reach: float) -> Tensor:
    """What a base sees around it.

    Args:
        scene: N episodes.
        place: (N, 2) m, where it is.
        count: how many obstacles it sees at most, nearest surfaces first.
        reach: m, how far it sees.

    Returns:
        (N, count, 3): x, y, radius in m, world frame. A wall is a disc of 1 km; missing ones lie 10 km away.
    """
    discs = scene.pillars
    if scene.half_width is not None:
        x, far = place[:, 0], scene.half_width + _WALL_DISC
        walls = [torch.stack((x, torch.full_like(x, y), torch.full_like(x, _WALL_DISC)), -1) for y in (-far, far)]
        discs = torch.cat((discs, torch.stack(walls, 1)), 1)
    missing = discs.new_tensor((_NOWHERE, _NOWHERE, 0.0)).expand(len(place), count, 3)
    discs = torch.cat((discs, missing), 1)
    off = discs[..., :2] - place.unsqueeze(1)
    gap = torch.hypot(off[..., 0], off[..., 1]) - discs[..., 2]
    gap, index = gap.sort(dim=1, stable=True)
    seen = discs.gather(1, index[:, :count, None].expand(-1, -1, 3))
    return torch.where((gap[:, :count] <= reach).unsqueeze(-1), seen, missing)
