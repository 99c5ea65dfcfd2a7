"""Contact points under the feet of a robot, by forward kinematics from the columns of a state."""

import roma
import torch
from torch import Tensor

from ..core import DataError
from ..robots.kinematics import KinematicTree
from ..robots.recording import Layout

G1_SOLES = dict.fromkeys(("left_ankle_roll_link", "right_ankle_roll_link"), ((-0.05, 0.0, -0.035), (0.12, 0.0, -0.035)))
"""Heel and toe of the G1's feet in the frame of the foot, m: its collision spheres (radius 5 mm) in Unitree's model."""


def poses(states: Tensor, layout: Layout, tree: KinematicTree) -> tuple[Tensor, Tensor]:
    """All bodies in the character frame, from root and joints.

    Args:
        states: (..., S) with ``root_pos``, ``root_rot`` and ``joint_pos``.
        layout: of the columns.
        tree: the robot.

    Returns:
        Positions (..., B, 3) m and quaternions (..., B, 4).
    """
    columns, start = {}, 0
    for part in layout["state"]:
        columns[part["name"]] = states[..., start : start + part["size"]]
        start += part["size"]
    return tree.forward(columns["root_pos"], roma.rotvec_to_unitquat(columns["root_rot"]), columns["joint_pos"])


def soles(states: Tensor, layout: Layout, tree: KinematicTree) -> Tensor:
    """Heels and toes in the character frame.

    Args:
        states: as of ``poses``.
        layout: of the columns.
        tree: the G1.

    Returns:
        (..., 4, 3) m.

    Raises:
        DataError: the robot has no such feet.
    """
    missing = sorted(set(G1_SOLES) - set(tree.bodies))
    if missing:
        raise DataError(f"robot without {', '.join(missing)}: its soles are unknown.")
    pos, turn = poses(states, layout, tree)
    points = torch.tensor(list(G1_SOLES.values())).to(states)  # (2, 2, 3)
    rows = tree.rows(list(G1_SOLES))
    ends: Tensor = pos[..., rows, None, :] + roma.quat_action(turn[..., rows, None, :], points)
    return ends.flatten(-3, -2)
