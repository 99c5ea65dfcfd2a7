"""Rotations as unit quaternions (..., 4) in the order w x y z, batched and differentiable.

q and -q are the same rotation. ``rotate(q, v)`` turns a vector from the body's frame into the frame that q is given
in; ``multiply(a, b)`` turns by b first.
"""

import torch
from torch import Tensor

_SMALL = 1e-3
"""Below this sine of the half angle a series takes over: its error is under 1e-12."""


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The Hamilton product a b: (..., 4) of two broadcasting (..., 4)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )


def conjugate(q: Tensor) -> Tensor:
    """The inverse rotation (..., 4)."""
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """Vectors (..., 3) turned by q (..., 4); both broadcast.

    v + 2 w (u x v) + 2 u x (u x v), with q = (w, u).
    """
    w, u = q[..., :1], q[..., 1:]
    u, v = torch.broadcast_tensors(u, v)  # type: ignore[no-untyped-call]
    twice: Tensor = 2 * torch.linalg.cross(u, v)
    turn: Tensor = torch.linalg.cross(u, twice)
    return v + w * twice + turn


def from_rotation_vector(r: Tensor) -> Tensor:
    """The quaternion (..., 4) of an axis times an angle in rad (..., 3)."""
    half = torch.linalg.vector_norm(r, dim=-1, keepdim=True) / 2
    return torch.cat((half.cos(), r / 2 * torch.sinc(half / torch.pi)), dim=-1)


def to_rotation_vector(q: Tensor) -> Tensor:
    """Axis times angle (..., 3) in rad, of length 0 to pi: the shorter way round.

    angle / sin(angle / 2) comes from atan2, which is exact at pi, and from its series near 0, where the gradient of
    the norm would not exist.
    """
    q = torch.where(q[..., :1] < 0, -q, q)
    w, u = q[..., :1], q[..., 1:]
    square = (u * u).sum(-1, keepdim=True)
    small = square < _SMALL**2
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    return u * torch.where(small, 2 + square / 3, 2 * torch.atan2(sine, w) / sine)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From a (..., 4) towards b (..., 4) the shorter way, at constant speed; ``share`` (..., 1) in [0, 1]."""
    return multiply(a, from_rotation_vector(share * to_rotation_vector(multiply(conjugate(a), b))))


def yaw(q: Tensor) -> Tensor:
    """Heading (...) in rad, (-pi, pi]: where the body's x axis points on the ground, from the world's x axis.

    It is undefined where that axis is vertical (0 is returned exactly there).
    """
    w, x, y, z = q.unbind(-1)
    return torch.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)


def from_yaw(heading: Tensor) -> Tensor:
    """The rotation (..., 4) about the vertical by ``heading`` (...) rad."""
    half, zero = heading / 2, torch.zeros_like(heading)
    return torch.stack((half.cos(), zero, zero, half.sin()), dim=-1)


def continuous(q: Tensor) -> Tensor:
    """The same rotations (..., T, 4) with signs such that neighbours along T lie less than a right angle apart."""
    flips = (q[..., 1:, :] * q[..., :-1, :]).sum(-1, keepdim=True) < 0
    signs = torch.where(flips.cumsum(-2) % 2 == 1, -1, 1).to(q.dtype)
    return torch.cat((q[..., :1, :], q[..., 1:, :] * signs), dim=-2)
