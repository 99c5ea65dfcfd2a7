"""The Unitree G1 as a person: its hinges become ball joints that turn about their axes only; z up.

A local rotation is the body's pose in its parent, then the hinge. Here are its csv files, see
``trajectories.readers.g1_csv``; ASAP's npz files are in ``asap_g1``.
"""

from functools import cache
from pathlib import Path

import roma
import torch
from torch import Tensor

from ...robots import g1_csv
from ...robots.jumps import clean
from ...robots.kinematics import g1
from ..clip import Clip
from ..skeleton import Skeleton, local_rotations, vectors

looks_like = g1_csv.looks_like
_FEET = ("left_ankle_roll_link", "right_ankle_roll_link")


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """The clips of a csv file: cut where a joint jumps, see ``robots.jumps``.

    Pieces are called ``name@first frame``. The rate is looked for in a ``manifest.json``.

    Raises:
        DataError: no rate, another number of columns, text, NaN, or no unit quaternion.
    """
    clips = []
    for piece in clean(g1_csv.read(path, name, fps), "split")[0]:
        assert piece.root_pos is not None and piece.root_quat is not None and piece.joint_pos is not None  # noqa: S101, PT018
        local = local_turns(piece.root_quat[:, [1, 2, 3, 0]], piece.joint_pos)
        about = {"motion": piece.motion, "source": str(path)}
        clips.append(Clip.posed(piece.name, piece.fps, skeleton(), piece.root_pos, local, **about))
    return clips


@cache
def skeleton() -> Skeleton:
    """The G1's 30 bodies as ball joints."""
    tree = g1()
    rest = torch.zeros(len(tree.joints), dtype=torch.float64)
    places, turns = tree.forward(rest[:3], torch.eye(4, dtype=rest.dtype)[0], rest)
    above = [max(parent, 0) for parent in tree.parents]
    offsets = roma.quat_action(roma.quat_conjugation(turns[above][:, [1, 2, 3, 0]]), places - places[above])
    return Skeleton(tree.bodies, tree.parents, vectors(offsets), "z", _FEET)


def local_turns(root: Tensor, joints: Tensor) -> Tensor:
    """Rotations (T, 30, 4) x y z w, each body in its parent, from the root's (T, 4) x y z w and angles (T, 29) rad."""
    tree = g1()
    nowhere, upright = joints.new_zeros(len(joints), 3), torch.eye(4, dtype=joints.dtype)[0].expand(len(joints), 4)
    _, turns = tree.forward(nowhere, upright, joints)  # w x y z, seen from the pelvis
    local = local_rotations(tree.parents, turns[..., [1, 2, 3, 0]])
    local[:, 0] = root
    return local
