"""ASAP's motions of the Unitree G1 as npz: 23 joints, the 29 less the wrists', which stay at 0; z up.

The robot's hinges become ball joints that turn about their axes only: a local rotation is the body's pose in its
parent, then the hinge.
"""

from pathlib import Path

import roma
import torch

from ...core import DataError
from ...trajectories.kinematics import g1
from ...trajectories.readers.checks import floats, need, npz_arrays, one_fps, quaternions
from ..clip import Clip
from ..skeleton import Skeleton, local_rotations, vectors

KEYS = ("root_trans_offset", "root_rot", "dof", "pose_aa")
_FEET = ("left_ankle_roll_link", "right_ankle_roll_link")


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``root_trans_offset`` (T, 3) m, ``root_rot`` (T, 4) x y z w, ``dof`` (T, 23) rad.

    Args:
        path: the file.
        name: of the clip; None takes the file's.
        fps: frames a second, where the file does not say.

    Raises:
        DataError: keys are missing or of other shapes, NaN, or a quaternion that is none.
    """
    path, tree = Path(path), g1()
    file = npz_arrays(path)
    need(path, file, KEYS)
    moving = [row for row, joint in enumerate(tree.joints) if "wrist" not in joint]
    angles = floats(path, "dof", file["dof"], len(moving))
    root = floats(path, "root_trans_offset", file["root_trans_offset"], 3)
    turn = quaternions(path, "root_rot", floats(path, "root_rot", file["root_rot"], 4))
    if len({len(angles), len(root), len(turn)}) > 1:
        raise DataError(
            f"{path}: {len(angles)} dof, {len(root)} root_trans_offset, {len(turn)} root_rot: as many each."
        )
    joints = angles.new_zeros(len(angles), len(tree.joints))
    joints[:, moving] = angles
    nowhere, upright = torch.zeros_like(root), torch.eye(4, dtype=angles.dtype)[0].expand(len(angles), 4)
    _, turns = tree.forward(nowhere, upright, joints)  # w x y z, seen from the pelvis
    local = local_rotations(tree.parents, turns[..., [1, 2, 3, 0]])
    local[:, 0] = turn
    rate = one_fps(path, file.get("fps"), fps)
    return [Clip.posed(name or path.stem, rate, skeleton(), root, local, source=str(path))]


def skeleton() -> Skeleton:
    """The G1's 30 bodies as ball joints."""
    tree = g1()
    rest = torch.zeros(len(tree.joints), dtype=torch.float64)
    places, turns = tree.forward(rest[:3], torch.eye(4, dtype=rest.dtype)[0], rest)
    above = [max(parent, 0) for parent in tree.parents]
    offsets = roma.quat_action(roma.quat_conjugation(turns[above][:, [1, 2, 3, 0]]), places - places[above])
    return Skeleton(tree.bodies, tree.parents, vectors(offsets), "z", _FEET)
