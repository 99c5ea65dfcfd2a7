"""The Unitree G1 as a person: its hinges become ball joints that turn about their axes only; z up.

A local rotation is the body's pose in its parent, then the hinge. Here are its csv files, see
``trajectories.readers.g1_csv``; ASAP's npz files are in ``asap_g1``.
"""

from functools import cache
from pathlib import Path

import roma
import torch
from torch import Tensor

from litmotif.geometry.kinematics import local_rotations

from ...files.guard import guarded
from ...robots import g1_csv
from ...robots.jumps import clean
from ...robots.kinematics import g1
from ..clip import Clip
from ..skeleton import Skeleton, vectors

looks_like = g1_csv.looks_like
_FEET = ("left_ankle_roll_link", "right_ankle_roll_link")


@guarded
def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """The clips of a csv file: cut where a joint jumps, see ``robots.jumps``.

    Pieces are called ``name@first frame``. The rate is looked for in a ``manifest.json``.

    Raises:
        DataError: no rate, another number of columns, text, NaN, or no unit quaternion.
    """
    clips = []
    for piece in clean(g1_csv.read(path, name, fps), "split")[0]:
        assert piece.root_pos is not None and piece.root_quat is not None and piece.joint_pos is not None  # noqa: S101, PT018
        local = local_turns(piece.root_quat, piece.joint_pos)
        about = {"motion": piece.motion, "source": str(path)}
        clips.append(Clip.posed(piece.name, piece.fps, skeleton(), piece.root_pos, local, **about))
    return clips


@cache
def skeleton() -> Skeleton:
    """The G1's 30 bodies as ball joints."""
    tree = g1()
    rest = torch.zeros(len(tree.joints), dtype=torch.float64)
    places, turns = tree.forward(rest[:3], roma.identity_quat(dtype=rest.dtype), rest)
    above = [max(parent, 0) for parent in tree.parents]
    offsets = roma.quat_action(roma.quat_conjugation(turns[above]), places - places[above])
    return Skeleton(tree.bodies, tree.parents, vectors(offsets), "z", _FEET)


def local_turns(root: Tensor, joints: Tensor) -> Tensor:
    """Rotations (T, 30, 4) x y z w, each body in its parent, from the root's (T, 4) x y z w and angles (T, 29) rad."""
    tree = g1()
    _, turns = tree.forward(joints.new_zeros(len(joints), 3), root, joints)
    return local_rotations(tree.parents, turns)
