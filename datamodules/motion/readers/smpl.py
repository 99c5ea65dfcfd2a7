"""SMPL bodies in npz files: AMASS (SMPL-H, 52 joints, z up), SMPL-X as in BEAT2 (55 joints, y up, with speech), SMPL.

SMPL has 24 joints (3DPW, AIST++), the last two its hands as a whole, or the 22 of the body alone.

The licensed body model would give each shape (betas) its offsets; here all bodies have those of a generic adult.
``root_pos`` is ``trans``, which is away from the pelvis by a vector that is constant for a body.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.arrays import Npz, npy, npz_keys
from ...files.checks import floats, need, one_length
from ..clip import Clip
from ..skeleton import Skeleton, layout
from . import beside
from .bvh import whole

RATES = ("mocap_frame_rate", "mocap_framerate")
PARTS = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
_JOINTS = (22, 24, 52, 55)
_HAND = 0.09  # m from the wrist, where the fingers begin
_FEET = [0, 2, 1, 3]
"""BEAT2 has contacts of joints 7, 8, 10, 11, left and right in turns; ``Skeleton.feet`` has a side at a time."""
_CONTACTS = ("footcontact",)


def looks_like(path: Path) -> bool:
    """Whether the file has a root that moves, and poses in one array or several."""
    keys = npz_keys(path)
    return "trans" in keys and ("poses" in keys or {"root_orient", "pose_body"} <= keys)


def beside_motions(path: Path) -> bool:
    """Whether the file is of a body without motion, as AMASS puts one into each folder: shape.npz, *_stagei.npz."""
    return path.suffix.lower() == ".npz" and (path.stem == "shape" or path.stem.endswith("_stagei"))


def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    up: Literal["y", "z"] | None = None,
    pause: float | None = None,
    audio_rate: int | None = None,
) -> list[Clip]:
    """One recording; speech (.wav), words (.TextGrid) and contacts (.npy) are found by its name.

    They lie beside it, or in ``wave16k``, ``textgrid``, ``footcontact`` beside its folder, as BEAT2 has them. Files of
    22, 24, 52 (SMPL-H) and 55 joints (SMPL-X) are read, three columns each.

    Args:
        path: the file.
        name: of the clip.
        fps: frames a second, where the file does not say, or says it wrongly.
        up: axis of the world; None: z for SMPL-H and for files with ``root_orient`` (AMASS); of 22 and 24 joints the
            one along which the body mostly stands; y otherwise.
        pause: cut the recording into its sentences, at silences of that many seconds; needs a transcript.
        audio_rate: the rate (Hz) that speech must have; None: any.

    Raises:
        DataError: keys are missing, of other shapes, or not finite; speech is too short or of another rate.
    """
    file = Npz(path, "trans")
    path, poses = file.path, _poses(file)
    turns = roma.rotvec_to_unitquat(poses.reshape(len(poses), -1, 3))
    skeleton = _body(turns.shape[1])
    upwards = up or _upwards(skeleton, turns, "root_orient" in file)
    root = file.floats("trans", 3)
    faces = file.floats("expressions") if "expressions" in file else None
    one_length(path, poses=poses, trans=root, expressions=poses if faces is None else faces)
    said = beside.words(path)
    clip = Clip.posed(
        name or path.stem,
        whole(file.fps(fps, *RATES)),
        replace(skeleton, up=upwards),
        root,
        turns,
        captions=beside.caption(said),
        source=str(path),
        audio=beside.audio(path, audio_rate),
        contacts=_contacts(path, len(poses)),
        expressions=faces,
    )
    return [clip] if pause is None else beside.sentences(clip, said, pause)


def _poses(file: Npz) -> Tensor:
    """Rotation vectors (T, J * 3)."""
    if "poses" in file:
        poses = (
            file.floats("poses", (file["poses"].shape[1], 3)).flatten(1)
            if file["poses"].ndim == 3
            else file.floats("poses")
        )
    else:
        parts = [key for key in PARTS if key in file]
        need(file.path, file, ("root_orient", "pose_body"))
        poses = torch.cat([file.floats(key) for key in parts], dim=1)
    if poses.shape[1] not in [3 * joints for joints in _JOINTS]:
        raise DataError(
            f"{file.path}: poses have {poses.shape[1]} columns: 66 for a body without hands, 72 for SMPL, 156 for "
            "SMPL-H, 165 for SMPL-X."
        )
    return poses


def _body(joints: int) -> Skeleton:
    """The skeleton of so many joints."""
    if joints > 24:
        return layout("smplh" if joints == 52 else "smplx")
    body = layout("humanml3d")
    if joints == 22:
        return body
    hands = [
        (f"{side}_hand", body.names.index(f"{side}_wrist"), sign * _HAND) for side, sign in (("left", 1), ("right", -1))
    ]
    names, parents, out = zip(*hands, strict=True)
    offsets = tuple((x, 0.0, 0.0) for x in out)
    return replace(body, names=body.names + names, parents=body.parents + parents, offsets=body.offsets + offsets)


def _upwards(skeleton: Skeleton, turns: Tensor, amass: bool) -> Literal["y", "z"]:
    joints = len(skeleton.names)
    if joints > 24:
        return "z" if joints == 52 or amass else "y"
    spine = turns.new_tensor([0.0, 1.0, 0.0]).expand(len(turns), 3)  # of the pelvis, at rest
    y, z = roma.quat_action(turns[:, 0], spine)[:, 1:].mean(dim=0).tolist()
    return "z" if z > y else "y"


def _contacts(path: Path, frames: int) -> Tensor | None:
    """Contacts (T, 4) in the order of the skeleton's feet."""
    file = beside.found(path, _CONTACTS, (".npy",))
    if file is None:
        return None
    contacts = floats(file, "contacts", npy(file), 4)
    if len(contacts) != frames:
        raise DataError(f"{file}: {len(contacts)} rows for {frames} frames of {path}.")
    return contacts[:, _FEET]
