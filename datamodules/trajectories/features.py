"""State features of a robot: root, bodies in each step's own frame, joints; and its actions."""

from collections.abc import Sequence
from dataclasses import replace

import roma
import torch
from torch import Tensor

from litmotif.geometry.frames import each, frame_of, to_frame
from litmotif.geometry.rotations import about

from ..core import DataError
from ..robots.kinematics import G1_TRACKED, KinematicTree
from ..robots.recording import Recording, Slice


def velocity(values: Tensor, fps: float) -> Tensor:
    """Central differences along the first axis (T, ...), one-sided at the ends; T >= 2."""
    return torch.gradient(values, spacing=1 / fps, dim=0)[0]


def robot_features(
    recording: Recording, tree: KinematicTree, tracked: Sequence[str] = G1_TRACKED, joint_targets: bool = True
) -> Recording:
    """Turn root and joints into features: ``body_pos``, ``body_vel``, ``joint_pos``, and actions where none are.

    ``body_pos`` (3 B, m) and ``body_vel`` (3 B, m/s) are those of the tracked bodies by forward kinematics, in each
    step's own character frame: a velocity is that in the world (central differences), turned by the heading.

    Args:
        recording: with ``root_pos``, ``root_quat``, ``joint_pos`` and all joints of the tree, in any order.
        tree: the robot.
        tracked: bodies B.
        joint_targets: where the file has no actions, those are the joints of the next step, in rad, and the last step,
            which has none, is left out.

    Returns:
        The recording with joints in the order of the tree.

    Raises:
        DataError: a part is missing, a name is unknown, or there are fewer than 3 steps.
    """
    where = recording.source or recording.name
    root_pos, root_quat, joint_pos = recording.root_pos, recording.root_quat, recording.joint_pos
    if root_pos is None or root_quat is None or joint_pos is None:
        raise DataError(f"{where}: no root pose or no joint angles: features of a robot need both.")
    if set(recording.joints) != set(tree.joints):
        strange = sorted(set(recording.joints) ^ set(tree.joints))
        raise DataError(
            f"{where}: joints and robot differ in {', '.join(strange)}. Name the robot's joints, or give data.robot, "
            "its MJCF file."
        )
    if len(recording) < 3:
        raise DataError(f"{where}: {len(recording)} steps: at least 3 for velocities and actions.")
    joint_pos = joint_pos[:, [recording.joints.index(name) for name in tree.joints]]
    rows = tree.rows(tracked)
    body = tree.forward(root_pos, root_quat, joint_pos)[0][:, rows]  # (T, B, 3)
    frame = frame_of(root_pos, root_quat)
    body_vel = roma.quat_action(about("z", -frame.heading)[:, None], velocity(body, recording.fps))
    parts = (("body_pos", "m", to_frame(each(frame), body)), ("body_vel", "m/s", body_vel))
    columns = [(Slice(name, 3 * len(rows), unit, "local"), value.flatten(1)) for name, unit, value in parts]
    columns.append((Slice("joint_pos", len(tree.joints), "rad"), joint_pos))
    featured = replace(
        recording,
        root_vel=velocity(root_pos, recording.fps) if recording.root_vel is None else recording.root_vel,
        local=torch.cat([value for _, value in columns], dim=1),
        slices=tuple(part for part, _ in columns),
        joint_pos=joint_pos,
        joints=tree.joints,
        limits=tree.limits,
        bodies=tuple(tracked),
        contacts=None if recording.bodies != tuple(tracked) else recording.contacts,
    )
    if recording.actions is not None or not joint_targets:
        return featured
    return replace(
        featured.cut(0, len(featured) - 1),
        actions=joint_pos[1:],
        action_slices=(Slice("joint_target", len(tree.joints), "rad"),),
        action_is_joint_position=True,
    )
