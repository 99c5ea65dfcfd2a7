"""A clip as columns of numbers, and back; the frame and the rate that a model sees clips in.

Columns by kind, J joints:

- ``positions``: J * 3, m in the world.
- ``axis_angle``: J * 3 rotation vectors, rad, continuous over the frames.
- ``rot6d``: J * 6, first and then second column of each rotation matrix (Zhou et al., arXiv:1812.07035, section 4.2).

With ``root`` the last two end with the position of the root (3, m).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import roma
import torch
from torch import Tensor

from ..core import DataError
from .clip import Clip
from .skeleton import Skeleton

WIDTHS = {"positions": 3, "axis_angle": 3, "rot6d": 6}
"""Columns a joint."""
_SIDES = ("left", "right")


def describe(kind: str, joints: int, fps: float, root: bool = True) -> dict[str, Any]:
    """What the columns mean, as a plain dict: ``kind``, ``joints``, ``root``, ``size``, ``fps``.

    Args:
        kind: one of ``WIDTHS``.
        joints: J.
        fps: frames a second.
        root: whether rotations are followed by the position of the root; positions contain it anyway.

    Raises:
        DataError: an unknown kind.
    """
    if kind not in WIDTHS:
        raise DataError(f"features.kind={kind!r}: choose one of {', '.join(WIDTHS)}.")
    root = root and kind != "positions"
    return {"kind": kind, "joints": joints, "root": root, "size": joints * WIDTHS[kind] + 3 * root, "fps": fps}


def to_features(clip: Clip, features: Mapping[str, Any]) -> Tensor:
    """The columns of a clip: (T, F) float32.

    Raises:
        DataError: the clip has other joints or another rate, or no rotations where they are asked for.
    """
    where = clip.source or clip.name
    if len(clip.skeleton.names) != features["joints"]:
        raise DataError(f"{where}: {len(clip.skeleton.names)} joints where features.joints={features['joints']}.")
    if not math.isclose(clip.fps, features["fps"], rel_tol=1e-6):
        raise DataError(f"{where}: {clip.fps:g} fps where features.fps={features['fps']:g}. Resample the clip.")
    if features["kind"] == "positions":
        return clip.positions.flatten(1).float()
    if clip.rotations is None:
        raise DataError(f"{where}: it holds positions only. Use features.kind='positions'.")
    if features["kind"] == "axis_angle":
        columns = rotation_vectors(clip.rotations)
    else:
        columns = roma.unitquat_to_rotmat(clip.rotations)[..., :2].transpose(-1, -2).flatten(-2)  # (T, J, 6)
    parts = [columns.flatten(1), *([clip.root_pos] if features["root"] else [])]
    return torch.cat(parts, dim=1).float()


def to_clip(values: Tensor, features: Mapping[str, Any], skeleton: Skeleton, name: str = "", **parts: Any) -> Clip:
    """The clip that has these columns.

    Args:
        values: (T, F); 6D rotations need not be orthonormal.
        features: what the columns mean, see ``describe``.
        skeleton: of J joints.
        name: of the clip.
        **parts: further fields of ``Clip``, such as ``captions``.

    Raises:
        DataError: another number of columns or joints.
    """
    joints, kind = features["joints"], features["kind"]
    if values.ndim != 2 or values.shape[1] != features["size"] or len(skeleton.names) != joints:
        raise DataError(
            f"{name or 'motion'}: {tuple(values.shape)} for {len(skeleton.names)} joints; features of kind {kind!r} "
            f"are (frames, {features['size']}) for {joints} joints."
        )
    columns = values[:, : joints * WIDTHS[kind]].double().reshape(len(values), joints, -1)
    about: dict[str, Any] = {"name": name, "fps": float(features["fps"]), "skeleton": skeleton, **parts}
    if kind == "positions":
        return Clip(root_pos=columns[:, 0], rotations=None, positions=columns, **about)
    root = values[:, -3:].double() if features["root"] else columns.new_zeros(len(values), 3)
    if kind == "axis_angle":
        return Clip.posed(root_pos=root, rotations=roma.rotvec_to_unitquat(columns), **about)
    pair = columns.reshape(len(values), joints, 2, 3).transpose(-1, -2)
    rotations = roma.rotmat_to_unitquat(roma.special_gramschmidt(pair, epsilon=1e-9))
    return Clip.posed(root_pos=root, rotations=rotations, **about)


def rotation_vectors(rotations: Tensor) -> Tensor:
    """Axis times angle (T, ..., 3) of quaternions x y z w (T, ..., 4), with no jump from one frame to the next.

    The first frame turns by at most pi; the angle may then pass pi, up to 2 pi, instead of turning its axis round.
    """
    first = torch.where(rotations[:1, ..., 3:] < 0, -1.0, 1.0)
    flips = (rotations[1:] * rotations[:-1]).sum(-1, keepdim=True) < 0
    q = rotations * torch.cat((first, first * (1 - 2 * (flips.cumsum(0) % 2)).to(rotations.dtype)))
    sine = q[..., :3].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., 3:])
    return q[..., :3] * torch.where(sine > 1e-9, angle / sine.clamp_min(1e-12), 2.0)


# ---------------------------------------------------------------------- frame and rate
def canonical(clip: Clip) -> Clip:
    """The clip begun at the origin, facing +z with y up; heights stay.

    Facing is to the front of the hips where joints named left and right hip (or thigh, upleg) exist, else the z axis of
    the root; a world with z up is laid down first.

    Returns:
        The same motion, moved over the ground.
    """
    if clip.skeleton.up == "z":
        down = math.sqrt(0.5)
        laid = moved(clip, torch.tensor([-down, 0.0, 0.0, down], dtype=torch.float64), torch.zeros(3))
        clip = replace(laid, skeleton=replace(clip.skeleton, up="y"))
    start = clip.root_pos[0] * clip.root_pos.new_tensor([1.0, 0.0, 1.0])
    x, z = facing(clip)
    half = -math.atan2(x, z) / 2
    turn = torch.tensor([0.0, math.sin(half), 0.0, math.cos(half)], dtype=torch.float64)
    return moved(clip, turn, -roma.quat_action(turn, start.double()))


def facing(clip: Clip) -> tuple[float, float]:
    """The direction over the ground (x, z) that a clip with y up faces in its first frame."""
    left, right = ([i for i, name in enumerate(clip.skeleton.names) if _hip(side).search(name)] for side in _SIDES)
    for one, other in zip(left, right, strict=False):
        across = clip.positions[0, one] - clip.positions[0, other]
        if float(across[[0, 2]].norm()) > 0.01:
            return -float(across[2]), float(across[0])  # left x up
    if clip.rotations is None:
        return 0.0, 1.0
    front = roma.quat_action(clip.rotations[0, 0], clip.rotations.new_tensor([0.0, 0.0, 1.0]))
    return float(front[0]), float(front[2])


def _hip(side: str) -> re.Pattern[str]:
    """Names of the top of a leg: left_hip, LHip, mixamorig:LeftUpLeg, lfemur, upperleg01.L."""
    leg = r"(?:hip|thigh|up(?:per)?_?leg|femur)"
    return re.compile(rf"(?:{side}|\b{side[0]})[_. ]?{leg}|{leg}\w*[._]{side[0]}\b", re.IGNORECASE)


def moved(clip: Clip, turn: Tensor, shift: Tensor) -> Clip:
    """The whole world of a clip turned by a quaternion x y z w (4,), then shifted (3,) m."""
    dtype = clip.positions.dtype
    turn, shift = turn.to(dtype), shift.to(dtype)
    rotations = clip.rotations
    if rotations is not None:
        rotations = rotations.clone()
        rotations[:, 0] = roma.quat_product(turn.expand_as(rotations[:, 0]), rotations[:, 0])
    return replace(
        clip,
        root_pos=roma.quat_action(turn.expand(len(clip.root_pos), 4), clip.root_pos) + shift,
        positions=roma.quat_action(turn.expand(*clip.positions.shape[:2], 4), clip.positions) + shift,
        rotations=rotations,
    )


def resample(clip: Clip, fps: float) -> Clip:
    """The same motion at ``fps`` frames a second, from the first frame to as near the last as a frame falls.

    Rotations go along the shorter great circle and joints follow; joints that bones do not hold (``Clip.stretch``),
    the root and expressions go straight; contacts are the nearest frame's. Nothing is filtered. Sound stays as it is.

    Raises:
        DataError: ``fps`` is not above 0, or the clip has HumanML3D's features, which belong to its own rate.
    """
    if not fps > 0:
        raise DataError(f"fps={fps}: frames a second, above 0.")
    if fps == clip.fps:
        return clip
    if clip.features is not None:
        raise DataError(f"{clip.source or clip.name}: its features are made for {clip.fps:g} fps. Set fps to that.")
    last = len(clip) - 1
    place = torch.arange(int(last * fps / clip.fps * (1 + 1e-9)) + 1, dtype=torch.float64) * clip.fps / fps
    before = place.clamp_max(last).floor().long().clamp_max(max(last - 1, 0))
    after = (before + 1).clamp_max(last)
    share = (place - before).clamp(0, 1)

    def straight(values: Tensor) -> Tensor:
        weight = share.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
        return torch.lerp(values[before], values[after], weight)

    near = torch.where(share < 0.5, before, after)
    about: dict[str, Any] = {
        "fps": float(fps),
        "root_pos": straight(clip.root_pos),
        "contacts": None if clip.contacts is None else clip.contacts[near],
        "expressions": None if clip.expressions is None else straight(clip.expressions),
    }
    if clip.rotations is None:
        return replace(clip, positions=straight(clip.positions), **about)
    a, b = clip.rotations[before], clip.rotations[after]
    step = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(a), b))
    rotations = roma.quat_product(a, roma.rotvec_to_unitquat(step * share.to(step.dtype)[:, None, None]))
    stretched = clip.stretch > 1e-3
    positions = straight(clip.positions) if stretched else clip.skeleton.forward(about["root_pos"], rotations)
    return replace(clip, rotations=rotations, positions=positions, **about)
