"""Character frames: a trajectory as seen from where the robot stands.

The character frame of a step has its origin on the ground under the root, its x axis along the root's heading and z
up. What is said in it does not change when the world is turned about the vertical or moved along the ground.
"""

from typing import NamedTuple

import roma
import torch
from torch import Tensor

from .rotations import about, heading


class Frame(NamedTuple):
    """Character frames in the world."""

    origin: Tensor
    """(..., 2) m: x and y."""
    heading: Tensor
    """(...) rad."""


def frame_of(root_pos: Tensor, root_quat: Tensor) -> Frame:
    """The character frame of each root pose (..., 3), (..., 4)."""
    return Frame(root_pos[..., :2], heading(root_quat))


def to_frame(frame: Frame, points: Tensor) -> Tensor:
    """Points (..., 3) of the world in ``frame`` (...)."""
    seen: Tensor = roma.quat_action(about("z", -frame.heading), points - _lifted(frame.origin))
    return seen


def from_frame(frame: Frame, points: Tensor) -> Tensor:
    """Points (..., 3) of ``frame`` (...) in the world."""
    turned: Tensor = roma.quat_action(about("z", frame.heading), points)
    return turned + _lifted(frame.origin)


def each(frame: Frame) -> Frame:
    """``frame`` (...) with one more axis (..., 1), to go with several points of each frame."""
    return Frame(frame.origin[..., None, :], frame.heading[..., None])


def to_character(
    root_pos: Tensor, root_quat: Tensor, root_vel: Tensor, current: int, planar: bool = False
) -> tuple[Tensor, Frame]:
    """Windows of root motion in the character frame of step ``current``.

    Args:
        root_pos: (B, W, 3) m, world.
        root_quat: (B, W, 4), world.
        root_vel: (B, W, 3) m/s, world.
        current: index of the step in the window.
        planar: the root moves on the ground: height and tilt are left out.

    Returns:
        Position m, velocity m/s and rotation rad of the root, side by side: (B, W, 3 + 3 + 3) with rotation vectors, or
        planar (B, W, 2 + 2 + 1) with headings in (-pi, pi]; and the frame (B,) it is in.
    """
    frame = frame_of(root_pos[:, current], root_quat[:, current])
    back = about("z", -frame.heading)[:, None]  # (B, 1, 4)
    pos, vel = to_frame(each(frame), root_pos), roma.quat_action(back, root_vel)
    rot = roma.quat_product(back, root_quat)
    if planar:
        return torch.cat((pos[..., :2], vel[..., :2], heading(rot)[..., None]), dim=-1), frame
    return torch.cat((pos, vel, roma.unitquat_to_rotvec(rot)), dim=-1), frame


def to_world(root: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
    """The way back from ``to_character``.

    Args:
        root: (B, W, 9), or planar (B, W, 5).
        frame: (B,).

    Returns:
        Position (B, W, 3) m, quaternion (B, W, 4), velocity (B, W, 3) m/s; height 0 and no tilt where planar.
    """
    if root.shape[-1] == 5:
        pos, vel, rot = _lifted(root[..., :2]), _lifted(root[..., 2:4]), about("z", root[..., 4])
    else:
        pos, vel, rot = root[..., :3], root[..., 3:6], roma.rotvec_to_unitquat(root[..., 6:9])
    turn = about("z", frame.heading)[:, None]  # (B, 1, 4)
    return from_frame(each(frame), pos), roma.quat_product(turn, rot), roma.quat_action(turn, vel)


def _lifted(flat: Tensor) -> Tensor:
    """(..., 2) at height 0: (..., 3)."""
    return torch.cat((flat, torch.zeros_like(flat[..., :1])), dim=-1)
