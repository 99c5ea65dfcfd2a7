"""Sagittal mirroring: a robot that is the same left and right moves as its reflection in the x-z plane of the world.

A reflection keeps a rotation's angle and turns its axis (x, y, z) into (-x, y, -z): roll and yaw change sign, pitch
does not. Joints and bodies find their partner by name, left and right; the sign of a joint follows from its axis.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from litmotif.geometry import rotations

from ..core import DataError
from ..robots.kinematics import KinematicTree
from ..robots.recording import Recording

SUFFIX = "~mirrored"
_POINT, _AXIS = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([-1.0, 1.0, -1.0])


def mirrored_name(name: str) -> str:
    """The partner on the other side; the name itself in the middle."""
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


def partners(names: Sequence[str]) -> list[int]:
    """Where the partner of each name stands.

    Raises:
        DataError: a partner is missing.
    """
    rows = {name: row for row, name in enumerate(names)}
    missing = [name for name in names if mirrored_name(name) not in rows]
    if missing:
        raise DataError(f"{', '.join(missing)}: no partner on the other side, so this robot has no mirror image.")
    return [rows[mirrored_name(name)] for name in names]


def joint_signs(tree: KinematicTree) -> Tensor:
    """(J,) +1 or -1: what the angle of the partner is multiplied by.

    Raises:
        DataError: the axes of two partners are no mirror images.
    """
    reflected = tree.axes[partners(tree.joints)] * _AXIS.to(tree.axes)
    signs = (reflected * tree.axes).sum(-1)
    wrong = [name for name, sign in zip(tree.joints, signs.tolist(), strict=True) if abs(abs(sign) - 1) > 1e-3]
    if wrong:
        raise DataError(f"{', '.join(wrong)}: its axis is no mirror image of its partner's.")
    return signs.round()


def mirror_points(points: Tensor) -> Tensor:
    """Positions or velocities (..., 3) on the other side."""
    return points * _POINT.to(points)


def mirrored(recording: Recording, tree: KinematicTree) -> Recording:
    """The reflected motion, of the same ``motion`` as the original; before features are made.

    Raises:
        DataError: the robot is not symmetric, or the recording has parts whose reflection is unknown: features, or
            actions that are no joint positions.
    """
    where = recording.source or recording.name
    if recording.local is not None or (recording.actions is not None and not recording.action_is_joint_position):
        raise DataError(f"{where}: only motion of root and joints and joint targets can be mirrored.")
    changed: dict[str, Any] = {}
    order = tree.rows(recording.joints, "joints")
    swap, signs = partners(recording.joints), joint_signs(tree)[order]
    for key, value in recording.series().items():
        if key in ("root_pos", "root_vel"):
            changed[key] = mirror_points(value)
        elif key == "root_quat":
            changed[key] = rotations.mirrored("y", value)
        elif key == "contacts":
            changed[key] = value[:, partners(recording.bodies)]
        else:  # joint angles
            changed[key] = value[:, swap] * signs.to(value)
    name = recording.name.removesuffix(SUFFIX) if recording.name.endswith(SUFFIX) else recording.name + SUFFIX
    return replace(recording, name=name, **changed)
