"""Retargeting: clips of any body, told as ``layout("humanml3d")``, so that one model learns from many sets.

Joints are found by name (``common.json``). A bone points where the body's own points and turns with it; a joint that
the body lacks stays as it is in its parent: the Unitree G1 has no head, so that its head and neck follow the chest.
Lengths are scaled so that legs are as long as the skeleton's.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import roma
import torch
from torch import Tensor

from litmotif.geometry.kinematics import local_rotations
from litmotif.geometry.rotations import between

from ..core import DataError
from ..files.checks import naming
from .clip import Clip
from .humanoid import SOLE
from .skeleton import Skeleton, layout

_SIDES = ("left", "right")
_BONES = {"hip": "knee", "knee": "ankle", "shoulder": "elbow", "elbow": "wrist"}
"""Joints whose bone leads to another: at rest it points elsewhere in each body, arms up in one and down in the next."""
_ABOVE = {"knee": "hip", "elbow": "shoulder", "wrist": "elbow"}
_UPRIGHT = 0.8  # how much of the way from ankles to shoulders one axis has, in a body that stands at rest
_LAID = (-(0.5**0.5), 0.0, 0.0, 0.5**0.5)
"""Turns z up to y up."""


@cache
def _synonyms() -> tuple[dict[str, list[str]], frozenset[str]]:
    """Names elsewhere of each joint, its side left out; and those that every body must have."""
    known = json.loads((Path(__file__).parent / "common.json").read_text())
    return known["needed"] | known["optional"], frozenset(known["needed"])


def match(skeleton: Skeleton) -> dict[str, int]:
    """Which joint of a body is which of the common skeleton: its number by the common name.

    Raises:
        DataError: the body has no joint of a name that stands for one that every body must have.
    """
    rows = {_plain(name): row for row, name in enumerate(skeleton.names)}  # of two alike, the deeper one
    found: dict[str, int] = {}
    synonyms, needed = _synonyms()
    for part, names in synonyms.items():
        central = part in layout("humanml3d").names
        for side in ("",) if central else _SIDES:
            joint = f"{side}_{part}".lstrip("_")
            spelled = [_plain(way) for name in names for way in (_sided(name, side) if side else (name,))]
            free = [rows[way] for way in spelled if way in rows and rows[way] not in found.values()]
            if free:
                found[joint] = free[0]
            elif part in needed:
                raise DataError(
                    f"no {joint.replace('_', ' ')} among its joints {', '.join(skeleton.names)}. Rename the "
                    f"joint in the file, to {joint} for one: {', '.join(names)} are known."
                )
    return found


def _sided(name: str, side: str) -> tuple[str, ...]:
    stem, end = (name.removesuffix("_end"), "_end") if name.endswith("_end") else (name, "")
    return tuple(way + end for s in (side, side[0]) for way in (s + stem, stem + s))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.rpartition(":")[2].lower())


# ---------------------------------------------------------------------- motion
def to_common(clip: Clip) -> Clip:
    """The clip on the common skeleton, y up, legs as long as the skeleton's; a clip of this skeleton is left as it is.

    A turn or shift of the whole clip turns or shifts the result, shifts scaled as the legs are.

    Returns:
        Frames, captions and sound are the clip's; contacts only where the feet are the same joints.

    Raises:
        DataError: positions only, a joint is missing, or the body at rest does not stand.
    """
    where, goal, body = clip.source or clip.name, layout("humanml3d"), clip.skeleton
    if clip.rotations is None:
        raise DataError(f"{where}: positions only, and bones are turned by rotations. Set data.body=own.")
    with naming(where):
        fit = _fit(body)
    world = body.orientations(clip.rotations.double())[:, fit.carriers]  # (T, 22, 4)
    orientations = roma.quat_product(world, fit.frames.expand_as(world))
    for joint in fit.lacking:
        orientations[:, joint] = orientations[:, goal.parents[joint]]
    hips = clip.positions[:, fit.hips].double().mean(dim=1)  # (T, 3)
    root = fit.scale * hips - roma.quat_action(orientations[:, 0], _between_hips().expand_as(hips))
    if body.up == "z":
        laid = torch.tensor(_LAID, dtype=torch.float64)
        root = roma.quat_action(laid.expand(len(clip), 4), root)
        orientations = roma.quat_product(laid.expand_as(orientations), orientations)
    return Clip.posed(
        clip.name, clip.fps, goal, root, local_rotations(goal.parents, orientations),
        captions=clip.captions, audio=clip.audio, motion=clip.motion, source=clip.source, expressions=clip.expressions,
        contacts=clip.contacts if body.feet == goal.feet else None, split=clip.split, origin=clip.origin,
    )  # fmt: skip


class _Fit(NamedTuple):
    """How a body becomes the common skeleton of J joints."""

    carriers: list[int]
    """Joints of the body in whose frames those of the skeleton are fixed; anything for those that it lacks."""
    frames: Tensor
    """How they are turned in these frames (J, 4)."""
    lacking: list[int]
    hips: list[int]
    """Left and right hip of the body."""
    scale: float


@lru_cache(maxsize=4096)
def _fit(body: Skeleton) -> _Fit:
    goal = layout("humanml3d")
    rows, rest = match(body), _rest(body)
    frames = _frames(rows, rest, goal)
    carriers = [_carrier(rows, name, body) for name in goal.names]
    return _Fit(
        [carrier or 0 for carrier in carriers],
        torch.stack([frames[name] for name in goal.names]),
        [joint for joint, carrier in enumerate(carriers) if carrier is None],
        [rows[f"{side}_hip"] for side in _SIDES],
        _legs(match(goal), _rest(goal)) / _legs(rows, rest),
    )


@cache
def _between_hips() -> Tensor:
    goal = layout("humanml3d")
    return _rest(goal)[[goal.names.index(f"{side}_hip") for side in _SIDES]].mean(dim=0)


def _rest(skeleton: Skeleton) -> Tensor:
    """Joints (J, 3) m where no rotation turns them and the root is at the origin."""
    still = roma.identity_quat(len(skeleton.names), dtype=torch.float64)
    return skeleton.forward(torch.zeros(3, dtype=torch.float64), still)


def _carrier(rows: Mapping[str, int], name: str, body: Skeleton) -> int | None:
    """The joint of the body in whose frame the bone of a common joint is fixed, None where the body has none.

    Robots have a hip of three hinges, each a joint, and an ankle of two a little apart: the last joint that holds a
    fifth of the bone's length carries it.
    """
    side, _, part = name.rpartition("_")
    if part not in _BONES:
        return rows.get(name)
    path = [rows[f"{side}_{_BONES[part]}"]]
    while path[-1] > rows[name]:
        path.append(body.parents[path[-1]])
    if path[-1] != rows[name]:
        raise DataError(f"joint {body.names[path[0]]} does not hang on {body.names[rows[name]]}, as no human's does.")
    lengths = torch.tensor([body.offsets[joint] for joint in path[:-1]]).norm(dim=1)
    return path[1 + int((lengths > lengths.sum() / 5).nonzero()[0])]


def _frames(rows: Mapping[str, int], rest: Tensor, goal: Skeleton) -> dict[str, Tensor]:
    """How each common joint is turned (4,) in the frame of the joint that carries it.

    Trunk, head and feet at rest are upright, ahead and flat in all bodies; the bones of arms and legs are turned the
    shortest way to where the body's own point at rest.
    """
    across = rest[rows["left_hip"]] - rest[rows["right_hip"]]
    along = (rest[[rows[f"{s}_shoulder"] for s in _SIDES]] - rest[[rows[f"{s}_ankle"] for s in _SIDES]]).mean(dim=0)
    axis = int(along.abs().argmax())
    up = torch.zeros_like(along)
    up[axis] = along[axis].sign()
    left = across - (across @ up) * up
    if not (float(along[axis].abs()) > _UPRIGHT * float(along.norm()) and float(left.norm()) > 0):
        raise DataError(
            f"with all rotations 0 the body does not stand: shoulders are {along.tolist()} m from the ankles, "
            f"left from right hip {across.tolist()}. Export it with a T-pose at rest, or set data.body=own."
        )
    left = left / left.norm()
    whole = roma.rotmat_to_unitquat(torch.stack((left, up, torch.linalg.cross(left, up)), dim=-1))
    frames: dict[str, Tensor] = {}
    for name in goal.names:
        side, _, part = name.rpartition("_")
        frame = frames[f"{side}_{_ABOVE[part]}"] if part in _ABOVE else whole
        if part in _BONES:
            end = f"{side}_{_BONES[part]}"
            bone = torch.tensor(goal.offsets[goal.names.index(end)], dtype=rest.dtype)
            frame = roma.quat_product(between(roma.quat_action(frame, bone), rest[rows[end]] - rest[rows[name]]), frame)
        frames[name] = frame
    return frames


def _legs(rows: Mapping[str, int], rest: Tensor) -> float:
    """From hip over knee to ankle, m, mean of both sides."""
    chain = torch.stack([rest[[rows[f"{side}_{part}"] for part in ("hip", "knee", "ankle")]] for side in _SIDES])
    return float(chain.diff(dim=1).norm(dim=-1).sum(dim=1).mean())


def grounded(clip: Clip, share: float = 0.05) -> Clip:
    """The clip moved up or down until it stands on y = 0, as high as the humanoid does (``SOLE``).

    Where the sole of a body is, its skeleton does not say; but feet that stand are the lowest, and people stand a lot.

    Args:
        clip: y up.
        share: of the frames, in which feet may be lower still, m.
    """
    feet = [clip.skeleton.names.index(foot) for foot in clip.skeleton.feet]
    low = clip.positions[:, feet, 1].amin(dim=1).quantile(share)
    shift = clip.positions.new_tensor([0.0, SOLE - float(low), 0.0])
    return replace(clip, root_pos=clip.root_pos + shift, positions=clip.positions + shift)
