"""A planar lidar of 16 rays: closed-form distances to discs, to the walls of the room and to a partition."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from .. import noise
from .rooms import FOOTPRINT, SIZE

RAYS = 16
RANGE = 5.0  # m, what a ray reads that meets nothing
ANGLES = tuple(2.0 * math.pi * i / RAYS for i in range(RAYS))
"""Of the rays, in rad from straight ahead to the left."""

_CORRIDOR = FOOTPRINT + 0.05  # m, half the width of the strip that the chair sweeps when it drives straight


@lru_cache
def directions(device: torch.device) -> Tensor:
    """(2, 16, 1): unit vectors of the rays in the chair's frame."""
    angle = torch.tensor(ANGLES, device=device)
    return torch.stack((angle.cos(), angle.sin())).unsqueeze(2)


def cast(rays: Tensor, position: Tensor, facing: Tensor, centres: Tensor, radii: Tensor, partition: Tensor) -> Tensor:
    """Distance from the lidar to the first thing on each ray.

    A ray p + t e meets a disc (c, r) first at t = b - sqrt(r^2 - h^2), with b = e . (c - p) and h = e x (c - p); a wall
    {x: n . x = a} at t = (a - n . p) / (n . e).

    Args:
        rays: ``directions``.
        position: (2, n) in m, inside the room and outside of the discs.
        facing: (2, n): cosine and sine of the heading.
        centres: (2, K, n) in m, relative to the lidar, in its frame.
        radii: (K, n) in m.
        partition: (5, n), see ``rooms.Rooms``.

    Returns:
        (16, n) in m, at most ``RANGE``.
    """
    ray_x, ray_y = rays
    across = torch.addcmul(ray_x * facing[0], ray_y, facing[1], value=-1.0)  # (16, n): the rays in the room's frame
    upward = torch.addcmul(ray_x * facing[1], ray_y, facing[0])
    inverse_x, inverse_y = across.reciprocal(), upward.reciprocal()
    to_x = torch.maximum((SIZE - position[0]) * inverse_x, -position[0] * inverse_x)
    to_y = torch.maximum((SIZE - position[1]) * inverse_y, -position[1] * inverse_y)
    nearest = torch.minimum(to_x, to_y).clamp_(max=RANGE)

    normal_x, normal_y, offset, middle, half = partition
    ahead = offset - normal_x * position[0] - normal_y * position[1]
    beside = normal_y * position[0] + normal_x * position[1] - middle
    t = ahead / torch.addcmul(normal_x * across, normal_y, upward)
    along = torch.addcmul(normal_y * across, normal_x, upward).mul_(t).add_(beside).abs_()
    nearest = torch.where((t > 0.0) & (along > half), torch.minimum(nearest, t), nearest)

    square = radii.square()
    for k in range(len(radii)):
        x, y = centres[0, k], centres[1, k]
        b = torch.mul(ray_x, x).addcmul_(ray_y, y)
        h = torch.mul(ray_x, y).addcmul_(ray_y, x, value=-1.0)
        rest = torch.addcmul(square[k], h, h, value=-1.0)
        hit = (rest > 0.0) & (b > 0.0)
        t = b.sub_(rest.clamp_(min=0.0).sqrt_())  # the root of a negative number would take 20 times as long
        nearest = torch.where(hit, torch.minimum(nearest, t), nearest)
    return nearest


def dropout(ranges: Tensor, key: Tensor, counter: Tensor, rate: Tensor) -> Tensor:
    """Each ray gets lost with probability ``rate`` (n,) and then reads ``RANGE``, as if nothing were there."""
    return torch.where(noise.uniform(key, counter, RAYS) < rate, RANGE, ranges)


def free_way(ranges: Tensor) -> Tensor:
    """How far the chair may drive straight before it touches what the rays see.

    Args:
        ranges: (16, n) m.

    Returns:
        (2, n) m, ahead and behind; >= 0.
    """
    cosine, sine = directions(ranges.device)[:, : RAYS // 4]  # (4, 1) each
    cosine, sine = torch.cat((cosine, cosine[1:])), torch.cat((sine, sine[1:]))  # to the left and to the right
    reaches = []
    for first in (0, RAYS // 2):
        turned = ranges.roll(-first, 0)
        near = torch.cat((turned[: RAYS // 4], turned[-RAYS // 4 + 1 :].flip(0)))  # (7, n)
        in_way = near * sine < _CORRIDOR
        reaches.append(torch.where(in_way, near * cosine, RANGE).amin(0))
    return (torch.stack(reaches) - FOOTPRINT).clamp_(min=0.0)
