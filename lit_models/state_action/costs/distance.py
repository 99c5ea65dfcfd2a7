"""Signed distances to obstacles and the barrier that keeps away from them."""

import math

import torch
from torch import Tensor

from litmotif.geometry.rotations import turned


def barrier(x: Tensor, delta: float) -> Tensor:
    """Relaxed logarithmic barrier (Hauser and Saccon, CDC 2006; BeyondMimic, arXiv:2508.08241, costs).

    Args:
        x: what shall stay positive (...).
        delta: > 0; below it a parabola stands for the logarithm and reaches on to the negative side. Value, slope and
            curvature agree at the joint.

    Returns:
        -ln x where x >= delta, else -ln delta + (((x - 2 delta) / delta)^2 - 1) / 2, of the shape of x.
    """
    parabola = (((x - 2 * delta) / delta) ** 2 - 1) / 2 - math.log(delta)
    return torch.where(x >= delta, -x.clamp(min=delta).log(), parabola)  # clamped: no NaN from the branch not taken


def length(offset: Tensor) -> Tensor:
    """Euclidean norm along the last axis; at 0 both its derivatives are 0, where those of PyTorch's norm are NaN."""
    squared = offset.square().sum(dim=-1)
    zero = squared == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squared).sqrt())


def to_discs(points: Tensor, discs: Tensor) -> Tensor:
    """Distance to discs, in space to upright cylinders without end.

    Args:
        points: (B, ..., 2 or 3) m.
        discs: x, y, radius (B or 1, M, 3) m.

    Returns:
        (B, ..., M) m, negative inside.
    """
    return _to_balls(points[..., :2], discs)


def to_spheres(points: Tensor, spheres: Tensor) -> Tensor:
    """Distance to spheres.

    Args:
        points: (B, ..., 3) m.
        spheres: x, y, z, radius (B or 1, M, 4) m.

    Returns:
        (B, ..., M) m, negative inside.
    """
    return _to_balls(points, spheres)


def to_boxes(points: Tensor, boxes: Tensor) -> Tensor:
    """Distance to upright boxes.

    Args:
        points: (B, ..., 2 or 3) m.
        boxes: x, y, yaw, half length, half width (B or 1, M, 5), without end upwards and downwards; or with z and half
            height behind them (B or 1, M, 7), for points in space.

    Returns:
        (B, ..., M) m, negative inside.
    """
    boxes = _beside(boxes, points)
    from_centre = points[..., None, :2] - boxes[..., :2]  # (B, ..., M, 2)
    along, across = turned(from_centre, -boxes[..., 2]).unbind(-1)  # (B, ..., M)
    beyond = [along.abs() - boxes[..., 3], across.abs() - boxes[..., 4]]
    if boxes.shape[-1] == 7:
        beyond.append((points[..., None, 2] - boxes[..., 5]).abs() - boxes[..., 6])
    sides = torch.stack(beyond, dim=-1)  # (B, ..., M, 2 or 3)
    return length(sides.clamp(min=0)) + sides.amax(dim=-1).clamp(max=0)


def _to_balls(points: Tensor, balls: Tensor) -> Tensor:
    balls = _beside(balls, points)
    return length(points[..., None, :] - balls[..., :-1]) - balls[..., -1]


def _beside(obstacles: Tensor, points: Tensor) -> Tensor:
    """(B or 1, M, C) as (B or 1, 1, ..., M, C), to stand beside points (B, ..., D)."""
    return obstacles.reshape(len(obstacles), *[1] * (points.dim() - 2), *obstacles.shape[1:])
