"""ASAP's motions of the Unitree G1 as npz: 23 joints, the 29 less the wrists', which stay at 0; z up, see ``g1``."""

from pathlib import Path

from ...core import DataError
from ...files.checks import floats, need, npz_arrays, one_fps, quaternions
from ...robots.kinematics import g1
from ..clip import Clip
from .g1 import local_turns, skeleton

KEYS = ("root_trans_offset", "root_rot", "dof", "pose_aa")


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
    rate = one_fps(path, file.get("fps"), fps)
    return [Clip.posed(name or path.stem, rate, skeleton(), root, local_turns(turn, joints), source=str(path))]
