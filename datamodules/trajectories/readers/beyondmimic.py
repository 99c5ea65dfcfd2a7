"""BeyondMimic npz: joints and the poses of all bodies, by row; the file does not name them.

PhysX lists bodies and joints breadth first, MuJoCo depth first, and nothing in the file says which. So each order that
the robot can have is tried: forward kinematics of the joints must meet the stored body positions.
"""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.arrays import Npz, npz
from ...files.checks import one_length
from ...files.guard import guarded
from ...robots.kinematics import KinematicTree, g1
from ...robots.recording import Recording

KEYS = ("joint_pos", "body_pos_w", "body_quat_w")
looks_like = npz(*KEYS)
TOLERANCE = 5e-3
"""m, between a stored body and the kinematics."""
TURN = 0.05
"""rad, the same."""
_CHECKED = 64
"""Frames, evenly spread."""


@guarded
def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    joints: Sequence[str] | None = None,
    bodies: Sequence[str] | None = None,
    tree: KinematicTree | None = None,
) -> list[Recording]:
    """One clip. Velocities in the file are not used: simulators differ in the point whose velocity they store.

    Args:
        path: the file.
        name: of the recording.
        fps: only for a file without it.
        joints: order of the columns of ``joint_pos``; None finds it.
        bodies: order of the bodies, the root among them; None finds it. Bodies that the robot lacks (sensors, logos)
            may be among them.
        tree: the robot; None: the G1.

    Returns:
        One recording, its joints in the order of the tree.

    Raises:
        DataError: a key is missing, numbers are no good, or the bodies lie further than 5 mm from where the joints put
            them: a wrong order, a wrong robot, or quaternions x y z w.
    """
    arrays, tree = Npz(path, *KEYS), tree or g1()
    path = arrays.path
    if (angles := arrays["joint_pos"]).ndim == 2 and angles.shape[1] != len(tree.joints):
        raise DataError(
            f"{path}: joint_pos has {angles.shape[1]} joints, the robot {len(tree.joints)}. Give data.robot, the "
            "robot's MJCF file."
        )
    joint_pos = arrays.floats("joint_pos", len(tree.joints))
    count = arrays["body_pos_w"].shape[1] if arrays["body_pos_w"].ndim == 3 else 0
    if count != len(bodies or tree.bodies):
        raise DataError(
            f"{path}: {count} bodies, {len(bodies or tree.bodies)} are named. Name each, data.bodies=[...], or give "
            "data.robot, the robot's MJCF file."
        )
    pos = arrays.floats("body_pos_w", (count, 3))
    quat = roma.quat_wxyz_to_xyzw(arrays.quaternions("body_quat_w", (count, 4)))
    one_length(path, joint_pos=joint_pos, body_pos_w=pos, body_quat_w=quat)
    joint_names, body_names = _orders(path, tree, joint_pos, pos, quat, joints, bodies)
    root = body_names.index(tree.bodies[0])
    return [
        Recording(
            name=name or path.stem,
            fps=arrays.fps(fps),
            source=str(path),
            root_pos=pos[:, root],
            root_quat=quat[:, root],
            joint_pos=joint_pos[:, [joint_names.index(joint) for joint in tree.joints]],
            joints=tree.joints,
            limits=tree.limits,
        )
    ]


def _orders(
    path: Path,
    tree: KinematicTree,
    joint_pos: Tensor,
    pos: Tensor,
    quat: Tensor,
    joints: Sequence[str] | None,
    bodies: Sequence[str] | None,
) -> tuple[list[str], list[str]]:
    """Joint and body names in the file's order: the ones that forward kinematics confirms."""
    breadth_bodies, breadth_joints = tree.breadth_first()
    body_orders = _unlike([bodies] if bodies else [tree.bodies, breadth_bodies])
    joint_orders = _unlike([joints] if joints else [tree.joints, breadth_joints])
    for names in body_orders:
        tree.rows([name for name in names if name in tree.bodies] or names)  # at least one is of this robot
        if tree.bodies[0] not in names:
            raise DataError(f"{path}: bodies={names}: the root {tree.bodies[0]} must be among them.")
    for names in joint_orders:
        if sorted(tree.rows(names, "joints")) != list(range(len(tree.joints))):
            raise DataError(f"{path}: joints={names}: name each of the {len(tree.joints)} joints once.")
    frames = torch.linspace(0, len(pos) - 1, min(_CHECKED, len(pos))).long()
    parts = joint_pos[frames], pos[frames], quat[frames]
    candidates = list(product(joint_orders, body_orders))
    errors = [_error(tree, *parts, *candidate) for candidate in candidates]
    fitting = [candidate for candidate, error in zip(candidates, errors, strict=True) if error <= TOLERANCE]
    if len(fitting) > 1:  # the last hinge of a limb moves no body; but it turns one
        fitting = [candidate for candidate in fitting if _error(tree, *parts, *candidate, turned=True) <= TURN]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{path}: the motion is too still to tell the order of joints. Give data.joints=[...], data.bodies=[...]."
        )
    rolled = parts[0], parts[1], roma.quat_xyzw_to_wxyz(parts[2])  # as they are in the file
    if min(_error(tree, *rolled, *candidate) for candidate in candidates) <= TOLERANCE:
        raise DataError(f"{path}: body_quat_w is x y z w, the format has w x y z. Reorder its columns.")
    raise DataError(
        f"{path}: no known order of joints and bodies puts body_pos_w where joint_pos says: the best is off by "
        f"{1000 * min(errors):.0f} mm, {1000 * TOLERANCE:.0f} mm may be. Give data.joints=[...] and "
        "data.bodies=[...], or data.robot, the robot's MJCF file."
    )


def _unlike(orders: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each order once: depth and breadth first are the same for a robot without branches."""
    return [list(order) for order in dict.fromkeys(map(tuple, orders))]


def _error(
    tree: KinematicTree,
    joint_pos: Tensor,
    pos: Tensor,
    quat: Tensor,
    joints: list[str],
    bodies: list[str],
    turned: bool = False,
) -> float:
    """The largest distance in m between a stored body and where the joints put it; or the largest angle in rad."""
    known = [row for row, name in enumerate(bodies) if name in tree.bodies]
    root = bodies.index(tree.bodies[0])
    angles = joint_pos[:, [joints.index(joint) for joint in tree.joints]]
    placed, turns = tree.forward(pos[:, root], quat[:, root], angles)
    rows = tree.rows([bodies[row] for row in known])
    if turned:
        cosine = (turns[:, rows] * quat[:, known]).sum(-1).abs().clamp_max(1)
        return float(2 * cosine.acos().max())
    placed = placed[:, rows]
    return float(torch.linalg.vector_norm(placed - pos[:, known], dim=-1).max())
