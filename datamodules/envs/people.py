"""People who walk to and fro in a room and give way to the chair."""

import torch
from torch import Tensor

from .rooms import FOOTPRINT, PERSON

_STOP, _SLOW = 0.15, 0.75  # m between bodies: a person stands still, and begins to slow down
_ASIDE, _STEP = 0.5, 0.4  # m, how far a person steps aside, and m/s, how fast
_PATIENCE = 1.0  # s, then a person who is held up turns back


def walk_of(ends: Tensor, pace: Tensor) -> Tensor:
    """What a person's walk is.

    Args:
        ends: (4, P, n) in m, see ``rooms.Rooms``.
        pace: (P, n) in m/s.

    Returns:
        (6, P, n): where it begins (2), unit vector (2), length in m, pace.
    """
    along = ends[2:] - ends[:2]
    length = torch.hypot(along[0], along[1])
    return torch.cat((ends[:2], along / length.clamp(min=1e-6), torch.stack((length, pace))))


def position(walk: Tensor, people: Tensor) -> Tensor:
    """(2, P, n) in m.

    Args:
        walk: (6, P, n) of ``walk_of``.
        people: (5, P, n): way from the beginning of the walk in m, step aside to the left in m, sense (1 or -1), s held
            up, speed in m/s.
    """
    x, y = torch.addcmul(walk[:2], walk[2:4], people[0])
    return torch.stack((x - walk[3] * people[1], y + walk[2] * people[1]))


def velocity(walk: Tensor, people: Tensor) -> Tensor:
    """(2, P, n) in m/s, along the walk; arguments as for ``position``."""
    return walk[2:4] * (people[2] * people[4])


def advance(walk: Tensor, people: Tensor, chair: Tensor, dt: float) -> Tensor:
    """One step: walk, slow down and step aside before the chair, turn at the end or when held up too long.

    A person never walks into a chair that stands still: the speed towards it falls to zero with the distance.

    Args:
        walk: (6, P, n) of ``walk_of``.
        people: (5, P, n), see ``position``.
        chair: (2, n), its position in m.
        dt: s.
    """
    along, aside, sense, held, _ = people
    to_chair = chair.unsqueeze(1) - position(walk, people)
    gap = torch.hypot(to_chair[0], to_chair[1]) - (PERSON + FOOTPRINT)
    ahead = (to_chair * walk[2:4]).sum(0) * sense > 0.0
    free = torch.where(ahead, ((gap - _STOP) / (_SLOW - _STOP)).clamp(0.0, 1.0), 1.0)
    speed = walk[5] * free
    along = torch.addcmul(along, sense, speed, value=dt)
    to_left = to_chair[1] * walk[2] - to_chair[0] * walk[3]  # of the walk
    step = torch.where(gap < _SLOW, torch.copysign(torch.full_like(gap, _ASIDE), -to_left), 0.0) - aside
    aside = aside + step.clamp(-_STEP * dt, _STEP * dt)
    held = torch.where(free < 0.3, held + dt, 0.0)
    impatient = held > _PATIENCE
    sense = torch.where(impatient | (along < 0.0) | (along > walk[4]), -sense, sense)
    along = torch.minimum(along.clamp(min=0.0), walk[4])
    return torch.stack((along, aside, sense, torch.where(impatient, 0.0, held), speed))
