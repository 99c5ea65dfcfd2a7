"""A clip as columns of numbers, and back; the frame and the rate that a model sees clips in.

Columns by kind, J joints:

- ``positions``: J * 3, m in the world.
- ``axis_angle``: J * 3 rotation vectors, rad, continuous over the frames.
- ``rot6d``: J * 6, first and then second column of each rotation matrix (Zhou et al., arXiv:1812.07035, section 4.2).
- ``rot6d_velocity``: the same, the root's rotation seen from its heading, then how the heading turns (rad/s), how the
  root moves over the ground, to the left and ahead (m/s), and its height (m). What is said of a step does not depend on
  the steps before it, as in HumanML3D (Guo et al., CVPR 2022, section 5).

With ``root``, ``axis_angle`` and ``rot6d`` end with the position of the root (3, m). Between rotations and root there
may be ``contacts``, a column a foot: 1 while it stands.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import roma
import torch
from torch import Tensor

from litmotif.geometry.odometry import about_y, travelled
from litmotif.geometry.rotations import about, continuous, from_six, slerp, to_six, twist, wrapped

from ..core import DataError
from .clip import Clip
from .skeleton import Skeleton

WIDTHS = {"positions": 3, "axis_angle": 3, "rot6d": 6, "rot6d_velocity": 6}
"""Columns a joint."""
_SIDES = ("left", "right")
SLOW, LOW = 0.3, 0.05
"""A foot that is slower (m/s) and no higher above its lowest place (m) stands."""


def describe(kind: str, joints: int, fps: float, root: bool = True, contacts: int = 0) -> dict[str, Any]:
    """What the columns mean, as a plain dict: ``kind``, ``joints``, ``root``, ``size``, ``fps``, maybe ``contacts``.

    Args:
        kind: one of ``WIDTHS``.
        joints: J.
        fps: frames a second.
        root: whether rotations are followed by the position of the root; positions and velocities contain it anyway.
        contacts: feet that the columns tell of.

    Raises:
        DataError: an unknown kind, or one without rotations and with contacts.
    """
    if kind not in WIDTHS:
        raise DataError(f"features.kind={kind!r}: choose one of {', '.join(WIDTHS)}.")
    root = root and kind != "positions"
    tail = 4 if kind == "rot6d_velocity" else 3 * root
    if contacts and kind == "positions":
        raise DataError("contacts stand behind rotations: set data.contacts=false, or another data.kind.")
    size = joints * WIDTHS[kind] + contacts + tail
    about = {"kind": kind, "joints": joints, "root": root, "size": size, "fps": fps}
    return about | ({"contacts": contacts} if contacts else {})


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
        parts = [columns.flatten(1), *([clip.root_pos] if features["root"] else [])]
    elif features["kind"] == "rot6d":
        columns = to_six(roma.unitquat_to_rotmat(clip.rotations))
        parts = [columns.flatten(1), *([clip.root_pos] if features["root"] else [])]
    else:
        parts = list(_seen_from_heading(clip))
    if features.get("contacts"):
        parts.insert(1, stands(clip))
    return torch.cat(parts, dim=1).float()


def stands(clip: Clip) -> Tensor:
    """Which feet touch the ground (T, F): as the clip says, else where they are slow and as low as they ever get."""
    if clip.contacts is not None:
        return clip.contacts
    names = clip.skeleton.names
    feet = clip.positions[:, [names.index(foot) for foot in clip.skeleton.feet]]  # (T, F, 3)
    height = feet[..., clip.skeleton.vertical]
    speed = torch.nn.functional.pad(feet.diff(dim=0).norm(dim=-1) * clip.fps, (0, 0, 1, 0))  # (T, F)
    return ((speed < SLOW) & (height < height.amin(dim=0) + LOW)).float()


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
    if behind := features.get("contacts", 0):
        first = joints * WIDTHS[kind]
        about["contacts"] = (values[:, first : first + behind] > 0.5).float()
    if kind == "positions":
        return Clip(root_pos=columns[:, 0], rotations=None, positions=columns, **about)
    root = values[:, -3:].double() if features["root"] else columns.new_zeros(len(values), 3)
    if kind == "axis_angle":
        return Clip.posed(root_pos=root, rotations=roma.rotvec_to_unitquat(columns), **about)
    rotations = roma.rotmat_to_unitquat(from_six(columns, epsilon=1e-9))
    if kind == "rot6d_velocity":
        root, rotations = _travelled(values[:, -4:].double(), rotations, features["fps"])
    return Clip.posed(root_pos=root, rotations=rotations, **about)


def _seen_from_heading(clip: Clip) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rotations (T, J * 6), turn (T, 1), velocity (T, 2) and height (T, 1); the first step is as the second."""
    assert clip.rotations is not None  # noqa: S101 (the caller has looked)
    rotations, root = clip.rotations.double().clone(), clip.root_pos.double()
    heading = twist("y", rotations[:, 0])  # (T,)
    rotations[:, 0] = roma.quat_product(about("y", -heading), rotations[:, 0])
    moved = about_y(root.diff(dim=0)[:, [0, 2]], -heading[1:])  # (T - 1, 2)
    steps = torch.cat([wrapped(heading.diff())[:, None], moved], dim=1) * clip.fps
    steps = torch.cat([steps[:1] if len(steps) else steps.new_zeros(1, 3), steps])  # (T, 3)
    six = to_six(roma.unitquat_to_rotmat(rotations)).flatten(1)
    return six, steps[:, :1], steps[:, 1:], root[:, 1:2]


def _travelled(steps: Tensor, rotations: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """Root (T, 3) and rotations (T, J, 4) in the world of turn, velocity, height (T, 4); they begin at the origin."""
    step = torch.cat([torch.zeros_like(steps[:1]), steps[1:]]) / fps
    angle, ground = travelled(step[:, 0], step[:, 1:3])
    root = torch.stack([ground[:, 0], steps[:, 3], ground[:, 1]], dim=-1)
    rotations = rotations.clone()
    rotations[:, 0] = roma.quat_product(about("y", angle), rotations[:, 0])
    return root, rotations


def rotation_vectors(rotations: Tensor) -> Tensor:
    """Axis times angle (T, ..., 3) of quaternions x y z w (T, ..., 4), with no jump from one frame to the next.

    The first frame turns by at most pi; the angle may then pass pi, up to 2 pi, instead of turning its axis round.
    """
    first = torch.where(rotations[:1, ..., 3:] < 0, -1.0, 1.0)
    vectors: Tensor = roma.unitquat_to_rotvec(continuous(rotations.double()) * first, shortest_arc=False)
    return vectors.to(rotations.dtype)


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
    turn = about("y", -torch.tensor(math.atan2(x, z), dtype=torch.float64))
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
    rotations = slerp(a, b, share[:, None, None])
    stretched = clip.stretch > 1e-3
    positions = straight(clip.positions) if stretched else clip.skeleton.forward(about["root_pos"], rotations)
    return replace(clip, rotations=rotations, positions=positions, **about)
