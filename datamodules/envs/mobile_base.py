"""A slender mobile base that can fall over: N of them in one set of tensors, planar, ten actions a second.

The drive follows the wanted speeds u = (forward, sideways, yaw rate) in the base's own frame, each axis with a
first-order lag and limited acceleration; the floor's friction gives no more:

    du/dt = clip((target - u) / LAG, -ACCELERATION, ACCELERATION)
    d(x, y)/dt = R(heading) (forward, sideways),    d heading/dt = yaw rate

The centre of mass lies HEIGHT above a round foot of radius SUPPORT. Its horizontal acceleration in the base's frame is
a = d(forward, sideways)/dt + yaw rate x (forward, sideways); the zero-moment point leaves the foot, and the base falls,
when |a| > g SUPPORT / HEIGHT (Vukobratovic and Borovac 2004, section 2). Neither axis alone can do that from a straight
drive: both at once, or a stop in a fast turn, can.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.geometry.rotations import turned

GRAVITY = 9.81
DT, SUBSTEPS = 0.1, 4  # s an action, inner steps
LIMITS = (1.2, 0.8, 1.5)  # m/s forward, m/s sideways, rad/s: the largest wanted speeds
LAG = 0.25  # s, of the drive
ACCELERATION = (3.0, 2.5, 6.0)  # m/s^2, m/s^2, rad/s^2
SUPPORT, HEIGHT = 0.25, 0.75  # m: radius of the foot, centre of mass above the floor
TIPPING = GRAVITY * SUPPORT / HEIGHT  # 3.27 m/s^2
RADIUS = SUPPORT  # m, of the footprint: the base is a cylinder


class Motion(NamedTuple):
    """Where each base is and how it moves.

    Attributes:
        pose: (N, 3): x, y in m, heading in rad, counted on over full turns.
        speed: (N, 3): forward and sideways (left) in m/s, yaw rate in rad/s, in the base's own frame.
    """

    pose: Tensor
    speed: Tensor


def standing(pose: Tensor) -> Motion:
    """At rest at these poses (N, 3)."""
    return Motion(pose, torch.zeros_like(pose))


def into_frame(points: Tensor, origin: Tensor) -> Tensor:
    """Points (..., 2) as seen from the poses ``origin`` (..., 3): x ahead, y to the left."""
    return turned(points - origin[..., :2], -origin[..., 2])


def within_limits(action: Tensor) -> Tensor:
    """Actions (..., 3) clipped to ``LIMITS``."""
    most = action.new_tensor(LIMITS)
    return torch.maximum(torch.minimum(action, most), -most)


def advance(motion: Motion, action: Tensor) -> tuple[Motion, Tensor]:
    """One action of ``DT``; the response of each speed is exact where its acceleration is not at its limit.

    Args:
        motion: as it is now.
        action: (N, 3): wanted forward and sideways speed in m/s and yaw rate in rad/s; clipped to ``LIMITS``.

    Returns:
        Motion afterwards, and the largest horizontal acceleration on the way (N,) in m/s^2: above ``TIPPING`` the base
        has fallen.
    """
    h = DT / SUBSTEPS
    target, (pose, speed) = within_limits(action), motion
    most = action.new_tensor(ACCELERATION) * h
    response = 1.0 - math.exp(-h / LAG)
    peak = torch.zeros_like(pose[:, 0])
    for _ in range(SUBSTEPS):
        change = torch.maximum(torch.minimum((target - speed) * response, most), -most)
        mean = speed + 0.5 * change
        forward, sideways, turn = mean.unbind(-1)
        along = change[:, 0] / h - turn * sideways
        across = change[:, 1] / h + turn * forward
        peak = torch.maximum(peak, torch.hypot(along, across))
        place = turned(mean[:, :2], pose[:, 2] + 0.5 * h * turn)
        pose = pose + h * torch.cat((place, turn.unsqueeze(-1)), -1)
        speed = speed + change
    return Motion(pose, speed), peak


def pillar_gap(start: Tensor, end: Tensor, pillars: Tensor) -> Tensor:
    """Distance from the footprint, moved straight from ``start`` to ``end``, to the nearest pillar.

    Args:
        start: (N, 2) m.
        end: (N, 2) m.
        pillars: (N, P, 3): x, y, radius in m.

    Returns:
        (N,) m, negative where they overlap, infinite where there are none.
    """
    if pillars.shape[1] == 0:
        return torch.full_like(start[:, 0], torch.inf)
    way, to = (end - start).unsqueeze(1), pillars[..., :2] - start.unsqueeze(1)  # (N, 1, 2), (N, P, 2)
    length = (way[..., 0].square() + way[..., 1].square()).clamp(min=1e-12)
    share = ((to[..., 0] * way[..., 0] + to[..., 1] * way[..., 1]) / length).clamp(0.0, 1.0).unsqueeze(-1)
    off = to - share * way
    return (torch.hypot(off[..., 0], off[..., 1]) - pillars[..., 2]).amin(1) - RADIUS


def wall_gap(place: Tensor, half_width: float) -> Tensor:
    """Distance (N,) in m from the footprint at (N, 2) to the nearer of the walls y = -half_width and y = half_width."""
    return half_width - place[:, 1].abs() - RADIUS
