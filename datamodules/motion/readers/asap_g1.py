"""ASAP's motions of the Unitree G1 as npz: 23 joints, the 29 less the wrists', which stay at 0; z up, see ``g1``."""

from pathlib import Path

from ...files.arrays import Npz, npz
from ...files.checks import one_length
from ...files.guard import guarded
from ...robots.kinematics import g1
from ..clip import Clip
from .g1 import local_turns, skeleton

KEYS = ("root_trans_offset", "root_rot", "dof", "pose_aa")
looks_like = npz(*KEYS)


@guarded
def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``root_trans_offset`` (T, 3) m, ``root_rot`` (T, 4) x y z w, ``dof`` (T, 23) rad.

    Raises:
        DataError: keys are missing or of other shapes, NaN, or a quaternion that is none.
    """
    file, tree = Npz(path, *KEYS), g1()
    moving = [row for row, joint in enumerate(tree.joints) if "wrist" not in joint]
    angles, root = file.floats("dof", len(moving)), file.floats("root_trans_offset", 3)
    turn = file.quaternions("root_rot")
    one_length(path, dof=angles, root_trans_offset=root, root_rot=turn)
    joints = angles.new_zeros(len(angles), len(tree.joints))
    joints[:, moving] = angles
    local = local_turns(turn, joints)
    return [Clip.posed(name or file.path.stem, file.fps(fps), skeleton(), root, local, source=str(path))]
