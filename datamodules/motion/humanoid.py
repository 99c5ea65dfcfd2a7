"""A humanoid of 22 joints, posed by what a motion is about: where the pelvis and feet are, how spine and arms bend.

The skeleton is ``layout("humanml3d")``: at rest in a T-pose, facing +z, left at +x, y up. Feet are given and legs
follow by two-bone inverse kinematics, so that a foot that stands stands still.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import roma
import torch
from numpy.typing import NDArray
from torch import Tensor

from litmotif.geometry.limbs import middle_joint
from litmotif.geometry.rotations import about, mirrored

from .skeleton import layout

Array = NDArray[np.floating[Any]]

SOLE = 0.02
"""Height of the ball of the foot (``*_foot``) while it stands, m."""
REACH = 0.993 * 0.81
"""How far from the hip an ankle may stand, m: a leg that stays a little bent."""
FOOT = 0.13
"""From the ankle forward to the ball of the foot, m."""
STANDING = SOLE + 0.06 + REACH + 0.07
"""Height of the pelvis over two feet below it, m."""
_SIDES = ("left", "right")


@dataclass
class Pose:
    """A motion of T frames; last axes hold left, right where two of a kind exist. Angles in rad, lengths in m.

    Attributes:
        root: pelvis (T, 3) in the world.
        pelvis: its yaw (0 faces +z, positive turns left), pitch (positive bends forward), roll (T, 3).
        spine: bend forward, twist to the left, lean to the right, all vertebrae together (T, 3).
        head: nod, turn to the left (T, 2).
        arms: flexion forward, abduction from hanging, twist, elbow flexion (T, 2, 4). With a hanging arm, elbow
            flexion lifts the forearm forward.
        toes: balls of the feet (T, 2, 3) in the world.
        feet: yaw, and pitch (positive lifts the heel) (T, 2, 2).
        contacts: whether left ankle, left ball, right ankle, right ball stand (T, 4) bool.
    """

    root: Array
    pelvis: Array
    spine: Array
    head: Array
    arms: Array
    toes: Array
    feet: Array
    contacts: NDArray[np.bool_]

    @classmethod
    def standing(cls, frames: int, width: float = 0.1) -> "Pose":
        """At ease at the origin, facing +z; feet 2 ``width`` apart."""
        toes = np.array([[width, SOLE, FOOT], [-width, SOLE, FOOT]])
        height = STANDING - REACH + np.sqrt(REACH**2 - (width - 0.09) ** 2)
        return cls(
            root=np.tile([0.0, height, 0.0], (frames, 1)),
            pelvis=np.zeros((frames, 3)),
            spine=np.zeros((frames, 3)),
            head=np.zeros((frames, 2)),
            arms=np.tile([0.03, 0.15, 0.0, 0.25], (frames, 2, 1)),
            toes=np.tile(toes, (frames, 1, 1)),
            feet=np.zeros((frames, 2, 2)),
            contacts=np.ones((frames, 4), dtype=bool),
        )

    @classmethod
    def join(cls, poses: Sequence["Pose"]) -> "Pose":
        """One after the other."""
        return cls(*(np.concatenate([getattr(pose, name) for pose in poses]) for name in cls.__dataclass_fields__))


def solve(pose: Pose) -> tuple[Tensor, Tensor]:
    """Pose as a root and rotations of joints.

    Returns:
        Root (T, 3) m, and unit quaternions x y z w (T, 22, 4) local to the parent, float64.
    """
    root, pelvis, spine, head, arms, toes, feet = (
        torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
        for values in (pose.root, pose.pelvis, pose.spine, pose.head, pose.arms, pose.toes, pose.feet)
    )
    names = layout("humanml3d").names
    local = roma.identity_quat((len(root), len(names)), dtype=torch.float64).clone()
    local[:, 0] = _turn(y=pelvis[:, 0], x=pelvis[:, 1], z=pelvis[:, 2])
    local[:, [3, 6, 9]] = _turn(y=spine[:, 1] / 3, x=spine[:, 0] / 3, z=spine[:, 2] / 3)[:, None]
    local[:, [12, 15]] = _turn(y=head[:, 1] / 2, x=head[:, 0] / 2)[:, None]
    for side, name in enumerate(_SIDES):
        shoulder, elbow = (mirrored("x", q) if side else q for q in _arm(arms[:, side]))
        local[:, names.index(f"{name}_shoulder")] = shoulder
        local[:, names.index(f"{name}_elbow")] = elbow
        first = names.index(f"{name}_hip")
        leg = _leg(first, root, local[:, 0], toes[:, side], feet[:, side])
        for joint, rotation in zip(range(first, first + 9, 3), leg, strict=True):
            local[:, joint] = rotation
    return root, roma.quat_normalize(local)


def _turn(y: Tensor, x: Tensor, z: Tensor | None = None) -> Tensor:
    """Turns about the fixed axes z, then x, then y: (..., 4)."""
    angles = [y, x, torch.zeros_like(y) if z is None else z]
    result: Tensor = roma.euler_to_unitquat("YXZ", angles)
    return result


def _arm(arm: Tensor) -> tuple[Tensor, Tensor]:
    """Shoulder and elbow of the left arm (T, 4), which points to +x at rest."""
    flexion, abduction, twist, elbow = arm.unbind(-1)
    none = torch.zeros_like(flexion)
    shoulder = roma.euler_to_unitquat("XZX", [-flexion, abduction - torch.pi / 2, twist])
    return shoulder, roma.euler_to_unitquat("XYZ", [none, -elbow, none])


def _leg(first: int, root: Tensor, pelvis: Tensor, toe: Tensor, foot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hip, knee and ankle that put the ball of the foot at ``toe``: by the law of cosines, the knee forward.

    Where the leg is too short, the foot is drawn towards the hip.
    """
    offset = [toe.new_tensor(layout("humanml3d").offsets[first + step]) for step in (0, 3, 6, 9)]
    thigh, shank = (float(part.norm()) for part in offset[1:3])
    sole = _turn(y=foot[:, 0], x=foot[:, 1])
    hip = root + roma.quat_action(pelvis, offset[0].expand_as(root))
    reach = toe - roma.quat_action(sole, offset[3].expand_as(toe)) - hip  # (T, 3) to the ankle
    length = reach.norm(dim=-1, keepdim=True)
    along = reach / length
    length = length.clamp(abs(thigh - shank) + 1e-3, thigh + shank - 1e-6)
    hinge = roma.quat_action(about("y", foot[:, 0]), toe.new_tensor([[1.0, 0, 0]]))
    hinge = torch.nn.functional.normalize(hinge - (hinge * along).sum(-1, keepdim=True) * along, dim=-1)
    forward = torch.linalg.cross(along, hinge)
    knee = middle_joint(thigh, shank, along, length, forward)
    upper, lower = _bone(knee, hinge), _bone(length * along - knee, hinge)
    back = roma.quat_conjugation
    local = roma.quat_product
    return local(back(pelvis), upper), local(back(upper), lower), local(back(lower), sole)


def _bone(direction: Tensor, hinge: Tensor) -> Tensor:
    """The rotation that turns -y to the direction and x to the hinge (T, 4)."""
    up = -torch.nn.functional.normalize(direction, dim=-1)
    rotation: Tensor = roma.rotmat_to_unitquat(torch.stack((hinge, up, torch.linalg.cross(hinge, up)), dim=-1))
    return rotation
