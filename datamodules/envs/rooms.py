"""Rooms to drive in: walls, a partition with a doorway, disc obstacles, people's walks, and the planned way to a goal.

A bank holds rooms of every level, all built at once from a seed. Gaps between fixed things are either closed or at
least ``PASSAGE`` wide, so the goal of every room can be reached.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .. import noise
from . import planner

SIZE = 10.0  # m, the side of a room
SPACING = 0.2  # m, of the planner's grid
GRID = round(SIZE / SPACING) + 1
FOOTPRINT = 0.45  # m, radius of the occupied chair around the middle of its axle (mid-wheel drive)
PERSON = 0.3  # m, radius of a person
PASSAGE = 1.3  # m, the narrowest gap between fixed things
STARTS = 32  # per room
WAY = (4.0, 11.0)  # m, cost of the way from a start to the goal
ABSENT = 1e3  # m: where a thing that a room lacks is put

OBSTACLES = (4, 6, 8, 9, 10)  # per level
PEOPLE = (0, 0, 1, 2, 3)
DOORWAY = (0.0, 0.0, 2.0, 1.8, 1.6)  # m; 0: no partition

_COMFORT, _COMFORT_SLOWNESS = 0.5, 5.0  # m: nearer to things the way costs up to five times as much
_BLOCKED = 20.0  # slowness where the chair would touch


class Rooms(NamedTuple):
    """R rooms; lengths in m, the origin in a corner, both axes along walls.

    Attributes:
        discs: (3, K, R): x, y and radius of the fixed obstacles; absent ones lie at ``ABSENT`` with radius 0.
        partition: (5, R): a thin wall {p: n . p = offset} but for a doorway: n (2), offset, the doorway's middle along
            (n_y, n_x), and half its width (``ABSENT`` in a room without partition).
        walks: (4, P, R): the two ends of each person's walk; absent people stand at ``ABSENT``.
        goal: (2, R).
        starts: (2, STARTS, R): where the chair may begin, a way of ``WAY`` from the goal.
        field: (R, GRID, GRID, 3): cost of the way to the goal in m, and its direction.
    """

    discs: Tensor
    partition: Tensor
    walks: Tensor
    goal: Tensor
    starts: Tensor
    field: Tensor

    def to(self, device: torch.device) -> "Rooms":
        """The same rooms on another device."""
        return Rooms(*(value.to(device) for value in self))


def partition_gap(partition: Tensor, position: Tensor) -> Tensor:
    """Distance to the partition.

    Args:
        partition: (5, n).
        position: (2, n), or (2, J, n) for J points in each room.
    """
    normal_x, normal_y, offset, middle, half = partition
    across = position[0] * normal_x + position[1] * normal_y - offset
    along = (position[0] * normal_y + position[1] * normal_x - middle).abs()
    return torch.hypot(across, (half - along).clamp(min=0.0))


def wall_gap(position: Tensor) -> Tensor:
    """Distance to the nearest outer wall; ``position`` is (2, ...)."""
    return torch.minimum(position, SIZE - position).amin(0)


def disc_gap(discs: Tensor, position: Tensor) -> Tensor:
    """Distance to the surface of the nearest disc, negative inside.

    Args:
        discs: (3, K, n): x, y, radius.
        position: (2, n).
    """
    return (torch.hypot(discs[0] - position[0], discs[1] - position[1]) - discs[2]).amin(0)


def slowness(gap: Tensor) -> Tensor:
    """Cost of a metre of way, where the chair's surface is ``gap`` m from the nearest thing: 1 in the open."""
    near = ((_COMFORT - gap) / _COMFORT).clamp(0.0, 1.0)
    inside = (-gap / SPACING).clamp(0.0, 1.0)
    return 1.0 + (_COMFORT_SLOWNESS - 1.0) * near.square() + (_BLOCKED - _COMFORT_SLOWNESS) * inside


@lru_cache(maxsize=4)
def build(seed: int, count: int) -> Rooms:
    """The bank of a seed: room r is of level r // count.

    Args:
        seed: other seeds, other rooms: train with one and evaluate with another.
        count: rooms of each level.
    """
    levels = torch.arange(len(OBSTACLES)).repeat_interleave(count)
    key = noise.combine(seed, levels, torch.arange(count).repeat(len(OBSTACLES)))
    draw = _Draw(key)
    partition = _partition(draw, torch.tensor(DOORWAY)[levels])
    goal = _goal(draw, partition)
    discs = _discs(draw, partition, goal, torch.tensor(OBSTACLES)[levels])
    walks = _walks(draw, partition, goal, discs, torch.tensor(PEOPLE)[levels])
    axis = torch.arange(GRID) * SPACING
    nodes = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).view(2, -1, 1)
    gap = _gap(discs, partition, nodes) - FOOTPRINT
    u = planner.travel_cost(slowness(gap).view(GRID, GRID, -1), goal, SPACING, exact=0.5)
    field = torch.cat((u.unsqueeze(0), planner.descent(u, SPACING))).permute(3, 1, 2, 0).contiguous()
    return Rooms(discs, partition, walks, goal, _starts(draw, discs, partition, goal, field), field)


class _Draw:
    """Uniform numbers, new ones at each call, a function of the rooms' keys."""

    def __init__(self, key: Tensor) -> None:
        self.key, self.calls = key, 0

    def __call__(self, draws: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        self.calls += 1
        return low + (high - low) * noise.uniform(self.key, torch.full_like(self.key, self.calls), draws)


def _first(valid: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The first valid one of J candidates (C, J, R), and whether there is any (R,)."""
    index = valid.int().argmax(0)
    chosen = points.gather(1, index.expand(len(points), 1, -1)).squeeze(1)
    return chosen, valid.any(0)


def _gap(discs: Tensor, partition: Tensor, points: Tensor) -> Tensor:
    """Distance of points (2, J, R) to the nearest fixed thing, (J, R)."""
    gap = torch.minimum(wall_gap(points), partition_gap(partition, points))
    for x, y, radius in discs.unbind(1):
        gap = torch.minimum(gap, torch.hypot(points[0] - x, points[1] - y) - radius)
    return gap


def _partition(draw: _Draw, doorway: Tensor) -> Tensor:
    upright, offset, middle = (draw(1)[0] < 0.5).float(), draw(1, 4.0, 6.0)[0], draw(1, 1.5, SIZE - 1.5)[0]
    half = torch.where(doorway > 0, doorway / 2, ABSENT)
    return torch.stack((upright, 1.0 - upright, offset, middle, half))


def _goal(draw: _Draw, partition: Tensor) -> Tensor:
    points = draw(64, 1.2, SIZE - 1.2).view(2, 32, -1)
    return _first(partition_gap(partition, points) > PASSAGE, points)[0]


def _discs(draw: _Draw, partition: Tensor, goal: Tensor, wanted: Tensor) -> Tensor:
    """Candidates one by one; one is taken if it leaves a passage to all that is there. A third stand at a wall."""
    most, tries = max(OBSTACLES), 96
    xy = draw(2 * tries, 0.0, SIZE).view(2, tries, -1)
    radius, where = draw(tries, 0.2, 0.5), draw(tries)
    xy[0] = torch.where(where < 1 / 6, (where < 1 / 12) * SIZE, xy[0])
    xy[1] = torch.where((where >= 1 / 6) & (where < 1 / 3), (where < 1 / 4) * SIZE, xy[1])
    discs = torch.full((3, most, len(wanted)), ABSENT)
    discs[2] = 0.0
    count = torch.zeros_like(wanted)
    gap_to_partition = partition_gap(partition, xy) - radius
    gap_to_goal = torch.hypot(*(xy - goal.unsqueeze(1))) - radius
    to_walls = torch.cat((xy, SIZE - xy)).view(4, tries, -1) - radius
    fits = (gap_to_partition > PASSAGE) & (gap_to_goal > 1.0) & ((to_walls < 0.0) | (to_walls > PASSAGE)).all(0)
    slots = torch.arange(most).unsqueeze(1)
    for j in range(tries):
        free = disc_gap(discs, xy[:, j]) - radius[j] > PASSAGE
        taken = fits[j] & free & (count < wanted)
        here = taken & (slots == count)  # (K, R)
        discs = torch.where(here, torch.stack((*xy[:, j], radius[j])).unsqueeze(1), discs)
        count += taken
    return discs


def _walks(draw: _Draw, partition: Tensor, goal: Tensor, discs: Tensor, wanted: Tensor) -> Tensor:
    """Straight walks of 3-6 m that keep off fixed things and the goal."""
    tries, samples = 96, 13
    walks = []
    for person in range(max(PEOPLE)):
        ends = draw(4 * tries, 0.8, SIZE - 0.8).view(4, tries, -1)
        length = torch.hypot(ends[2] - ends[0], ends[3] - ends[1])
        valid = (length > 3.0) & (length < 6.0) & (wanted > person)
        for share in torch.linspace(0.0, 1.0, samples).tolist():
            point = torch.lerp(ends[:2], ends[2:], share)
            off_goal = torch.hypot(*(point - goal.unsqueeze(1))) > 1.2
            valid = valid & off_goal & (_gap(discs, partition, point) > PERSON + 0.45)
        chosen, found = _first(valid, ends)
        walks.append(torch.where(found, chosen, ABSENT))
    return torch.stack(walks, 1)


def _starts(draw: _Draw, discs: Tensor, partition: Tensor, goal: Tensor, field: Tensor) -> Tensor:
    """Points of free space; where fewer than STARTS are found they repeat."""
    tries = 4 * STARTS
    points = draw(2 * tries, 0.8, SIZE - 0.8).view(2, tries, -1)
    rooms = field.shape[0]
    at = torch.arange(rooms).expand(tries, rooms).reshape(-1)
    cost = planner.bilinear(field, at, points.view(2, -1), SPACING)[0].view(tries, rooms)
    free = _gap(discs, partition, points) > FOOTPRINT + 0.3
    away = torch.hypot(*(points - goal.unsqueeze(1))) > 3.0
    valid = free & away & (cost > WAY[0]) & (cost < WAY[1])
    order = (~valid).int().argsort(dim=0, stable=True)  # valid ones first
    index = torch.arange(STARTS).unsqueeze(1) % valid.sum(0).clamp(min=1)
    chosen = order.gather(0, index)
    return points.gather(1, chosen.expand(2, -1, -1))
