"""Rotations: what roma lacks. Quaternions are unit, (..., 4), in the order x y z w, as roma and SciPy have it.

q and -q are the same rotation. ``roma.quat_action(q, v)`` turns a vector from the body's frame into the frame that q is
given in; ``roma.quat_product(a, b)`` turns by b first.
"""

import math
from typing import Literal

import roma
import torch
from torch import Tensor

Axis = Literal["x", "y", "z"]


def about(axis: Axis, angle: Tensor) -> Tensor:
    """The rotation (..., 4) about an axis of the frame by ``angle`` (...) rad, anticlockwise seen from its tip."""
    parts = [torch.zeros_like(angle)] * 3 + [(angle / 2).cos()]
    parts["xyz".index(axis)] = (angle / 2).sin()
    return torch.stack(parts, dim=-1)


def heading(q: Tensor) -> Tensor:
    """Heading, or yaw, (...) in rad, (-pi, pi]: where a body's x axis points on the ground, z up, from the world's.

    It is undefined where that axis is vertical (0 is returned exactly there).
    """
    x, y, z, w = q.unbind(-1)
    return torch.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)


def twist(axis: Axis, q: Tensor) -> Tensor:
    """Angle (...) rad, (-2 pi, 2 pi], of the turn about an axis that is left of q where a swing of this axis is undone.

    It equals the heading of a body that swings about one horizontal axis of its own, and exists where that does not:
    where a body bends until what was ahead points down.
    """
    return 2 * torch.atan2(q[..., "xyz".index(axis)], q[..., 3])


def smooth_quaternion(rotvec: Tensor) -> Tensor:
    """The quaternion (..., 4) of an axis times an angle (..., 3), rad, with all derivatives where there is no rotation.

    ``roma.rotvec_to_unitquat`` has the first of them there; guidance takes two.
    """
    squared = rotvec.square().sum(dim=-1, keepdim=True)
    vector = rotvec * _sine_ratio(squared / 4) / 2
    return torch.cat((vector, 1 - squared / 8 * _sine_ratio(squared / 16).square()), dim=-1)


def _sine_ratio(squared: Tensor) -> Tensor:
    """sin(a) / a of a^2."""
    small = squared < 0.05
    series = 1 - squared / 6 * (1 - squared / 20 * (1 - squared / 42 * (1 - squared / 72)))
    angle = torch.where(small, 1.0, squared).sqrt()
    return torch.where(small, series, angle.sin() / angle)


def between(one: Tensor, other: Tensor) -> Tensor:
    """The shortest turn (..., 4) from a direction (..., 3) to another; none between opposite ones."""
    one, other = (torch.nn.functional.normalize(direction, dim=-1) for direction in (one, other))
    cosine = (one * other).sum(dim=-1, keepdim=True)
    turn = torch.cat((torch.linalg.cross(one, other), (1 + cosine).clamp_min(1e-9)), dim=-1)
    return torch.nn.functional.normalize(turn, dim=-1)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From a (..., 4) towards b (..., 4) the shorter way, at constant speed; ``share`` (..., 1) in [0, 1]."""
    step = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(a), b))
    there: Tensor = roma.quat_product(a, roma.rotvec_to_unitquat(step * share.to(step.dtype)))
    return there


def continuous(q: Tensor) -> Tensor:
    """The same rotations (T, ..., 4), with signs such that neighbours along T lie less than a right angle apart."""
    flips = (q[1:] * q[:-1]).sum(dim=-1, keepdim=True) < 0
    return torch.cat((q[:1], q[1:] * (1 - 2 * (flips.cumsum(dim=0) % 2)).to(q.dtype)))


def mirrored(axis: Axis, q: Tensor) -> Tensor:
    """Rotations (..., 4) seen in a mirror: the plane through the origin that is perpendicular to ``axis``."""
    signs = [-1.0, -1.0, -1.0, 1.0]
    signs["xyz".index(axis)] = 1.0
    return q * q.new_tensor(signs)


def to_six(matrices: Tensor) -> Tensor:
    """First, then second column (..., 6) of rotation matrices (..., 3, 3) (Zhou et al., arXiv:1812.07035, 4.2)."""
    return matrices[..., :2].transpose(-1, -2).flatten(-2)


def from_six(columns: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Rotation matrices (..., 3, 3) of two columns each (..., 6), by Gram and Schmidt; they need not be orthonormal."""
    pair = columns.reshape(*columns.shape[:-1], 2, 3).transpose(-1, -2)  # (..., 3, 2)
    matrices: Tensor = roma.special_gramschmidt(pair, epsilon=epsilon)
    return matrices


def turned(plane: Tensor, angle: Tensor) -> Tensor:
    """Vectors (..., 2) of a plane turned by ``angle`` (...) rad from its first axis towards its second.

    About the y axis, a turn to the left goes from z to x: (x, z) turns by the negative angle.
    """
    cos, sin = angle.cos(), angle.sin()
    first, second = plane.unbind(-1)
    return torch.stack((cos * first - sin * second, sin * first + cos * second), dim=-1)


def wrapped(angle: Tensor) -> Tensor:
    """The same angle, rad, in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
