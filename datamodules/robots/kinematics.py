"""Forward kinematics of a tree of bodies on hinges, from plain data or an MJCF file."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import roma
import torch
from torch import Tensor

from litmotif.errors import DataError, MissingExtraError
from litmotif.geometry.kinematics import Tree, check_tree, depths

G1_TRACKED = (
    "left_hip_roll_link",
    "left_knee_link",
    "left_ankle_roll_link",
    "right_hip_roll_link",
    "right_knee_link",
    "right_ankle_roll_link",
    "torso_link",
    "left_shoulder_roll_link",
    "left_elbow_link",
    "left_wrist_yaw_link",
    "right_shoulder_roll_link",
    "right_elbow_link",
    "right_wrist_yaw_link",
)
"""The bodies of the G1 whose motion stands for the whole: BeyondMimic's 14 (arXiv:2508.08241) but for the pelvis, which
is the root and would be at 0, 0 in its own frame."""


class KinematicTree:
    """Bodies, each with a place in its parent and hinges that turn it there.

    Args:
        bodies: the root first, every parent before its children. Each a mapping of ``name``, ``parent`` (None for the
            root), ``pos`` (3 m) and ``quat`` (w x y z) in the parent, and ``joints``, a list of ``name``, ``axis``,
            ``limits`` (lower, upper in rad; None: free) and ``anchor`` (3 m), these two in the body's own frame. A pose
            or an anchor that is left out is at the origin.

    Attributes:
        bodies: B names.
        parents: index of each body's parent, -1 for the root.
        joints: J names, in the order of the bodies.
        limits: (J, 2) rad, infinite where there is none.
        axes: (J, 3) unit vectors in the frame of the body that turns.

    Raises:
        DataError: a parent that is not among the bodies before, or a name that occurs twice.
    """

    def __init__(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        self.bodies = tuple(str(body["name"]) for body in bodies)
        rows = {name: row for row, name in enumerate(self.bodies)}
        self.parents = tuple(-1 if body["parent"] is None else rows.get(body["parent"], len(rows)) for body in bodies)
        check_tree(self.bodies, self.parents, "robot")
        hinges = [(row, joint) for row, body in enumerate(bodies) for joint in body.get("joints", ())]
        self.joints = tuple(str(joint["name"]) for _, joint in hinges)
        free = (-torch.inf, torch.inf)
        self.limits = torch.tensor([joint.get("limits") or free for _, joint in hinges], dtype=torch.float64).reshape(
            -1, 2
        )
        self.axes = _unit(torch.tensor([joint["axis"] for _, joint in hinges], dtype=torch.float64).reshape(-1, 3))
        anchors = [joint.get("anchor") or (0, 0, 0) for _, joint in hinges]
        self._anchors = torch.tensor(anchors, dtype=torch.float64).reshape(-1, 3)
        self._pos = torch.tensor([body.get("pos") or (0, 0, 0) for body in bodies], dtype=torch.float64)
        quat = torch.tensor([body.get("quat") or (1, 0, 0, 0) for body in bodies], dtype=torch.float64)
        self._quat = roma.quat_wxyz_to_xyzw(_unit(quat))
        self._hinges = [[j for j, (row, _) in enumerate(hinges) if row == body] for body in range(len(bodies))]
        self._tree = Tree(self.parents)

    # ------------------------------------------------------------------ names
    @property
    def edges(self) -> list[tuple[int, int]]:
        """Each body but the root with its parent, (parent, body): the bones of a picture."""
        return [(parent, row) for row, parent in enumerate(self.parents) if parent >= 0]

    @property
    def hinged(self) -> tuple[str, ...]:
        """Bodies that turn on a hinge of their own."""
        return tuple(body for body, hinges in zip(self.bodies, self._hinges, strict=True) if hinges)

    def breadth_first(self) -> tuple[list[str], list[str]]:
        """Bodies and joints level by level, as PhysX (Isaac Lab) orders them; ``bodies`` is depth first, as MuJoCo."""
        depth = depths(self.parents)
        order = sorted(range(len(depth)), key=lambda row: depth[row])
        return [self.bodies[row] for row in order], [self.joints[j] for row in order for j in self._hinges[row]]

    def rows(self, names: Sequence[str], of: str = "bodies") -> list[int]:
        """Where ``names`` stand among the ``bodies`` or ``joints``.

        Raises:
            DataError: a name is not there.
        """
        known = {name: row for row, name in enumerate(getattr(self, of))}
        strange = [name for name in names if name not in known]
        if strange:
            raise DataError(f"unknown {of}: {', '.join(strange)}. The robot has: {', '.join(known)}.")
        return [known[name] for name in names]

    # ------------------------------------------------------------------ poses
    def forward(self, root_pos: Tensor, root_quat: Tensor, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Where the bodies are.

        Args:
            root_pos: (..., 3) m.
            root_quat: (..., 4) x y z w.
            joint_pos: (..., J) rad, in the order of ``joints``.

        Returns:
            Positions (..., B, 3) m and quaternions (..., B, 4) of all bodies, in the frame of the root's pose.
        """
        place, turn = self._in_parents(joint_pos)
        turn = torch.cat((root_quat[..., None, :], turn[..., 1:, :]), dim=-2)
        return self._tree(root_pos, turn, place)  # type: ignore[no-any-return]

    def _in_parents(self, joint_pos: Tensor) -> tuple[Tensor, Tensor]:
        """Pose of each body in its parent: (..., B, 3), (..., B, 4)."""
        batch, count = joint_pos.shape[:-1], len(self.bodies)
        pos = self._pos.to(joint_pos).expand(*batch, count, 3)
        quat = self._quat.to(joint_pos).expand(*batch, count, 4)
        half = joint_pos[..., None] / 2  # (..., J, 1)
        hinge = torch.cat((half.sin() * self.axes.to(joint_pos), half.cos()), dim=-1)  # (..., J, 4)
        for nth in range(max((len(hinges) for hinges in self._hinges), default=0)):  # 1 for most robots
            rows = [row for row, hinges in enumerate(self._hinges) if nth < len(hinges)]
            joints = [self._hinges[row][nth] for row in rows]
            before = quat[..., rows, :]
            after = roma.quat_product(before, hinge[..., joints, :])
            quat = quat.index_copy(-2, torch.tensor(rows, device=quat.device), after)
            if self._anchors[joints].any():  # the hinge is not at the body's origin
                anchors = self._anchors[joints].to(joint_pos)
                shift = roma.quat_action(before, anchors) - roma.quat_action(after, anchors)
                pos = pos.index_add(-2, torch.tensor(rows, device=pos.device), shift)
        return pos, quat


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=-1)


@cache
def g1() -> KinematicTree:
    """The Unitree G1 with 29 joints, in the order of its csv files; source and licence stand in ``g1.json``."""
    return KinematicTree(json.loads((Path(__file__).parent / "g1.json").read_text())["bodies"])


def from_mjcf(path: str | Path) -> KinematicTree:
    """The robot of an MJCF file: the first body of the world that moves freely, or else its first body.

    Raises:
        ModuleNotFoundError: MuJoCo is not installed.
        DataError: the file does not load, or has joints that are no hinges below the root.
    """
    try:
        mujoco = import_module("mujoco")
    except ModuleNotFoundError as error:
        raise MissingExtraError("mujoco is not installed. Remedy: pip install mujoco") from error
    try:
        model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    free, hinge = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_HINGE)
    tops = [row for row in range(1, model.nbody) if model.body_parentid[row] == 0]
    moving = [row for row in tops if model.body_jntnum[row] and model.jnt_type[model.body_jntadr[row]] == free]
    root = (moving or tops)[0]
    bodies = []
    for row in range(root, model.nbody):
        if model.body_rootid[row] != root:
            continue
        body: dict[str, Any] = {"name": model.body(row).name, "parent": None, "joints": []}
        if row != root:
            body["parent"] = model.body(int(model.body_parentid[row])).name
            body |= {"pos": model.body_pos[row].tolist(), "quat": model.body_quat[row].tolist()}
        first = int(model.body_jntadr[row])
        for j in range(first, first + int(model.body_jntnum[row])):
            if row == root and model.jnt_type[j] == free:
                continue
            if model.jnt_type[j] != hinge:
                raise DataError(f"{path}: joint {model.joint(j).name}: only hinges can be followed below the root.")
            limits = model.jnt_range[j].tolist() if model.jnt_limited[j] else None
            shape = {"axis": model.jnt_axis[j].tolist(), "anchor": model.jnt_pos[j].tolist(), "limits": limits}
            body["joints"].append({"name": model.joint(j).name, **shape})
        bodies.append(body)
    return KinematicTree(bodies)
