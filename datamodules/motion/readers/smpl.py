"""SMPL bodies in npz files: AMASS (SMPL-H, 52 joints, z up) and SMPL-X as in BEAT2 (55 joints, y up, with speech).

The licensed body model would give each shape (betas) its offsets; here all bodies have those of a generic adult.
``root_pos`` is ``trans``, which is away from the pelvis by a vector that is constant for a body.
"""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.arrays import Npz, npy, npz_keys
from ...files.checks import floats, need, one_length
from ..clip import Audio, Clip
from ..skeleton import layout
from . import textgrid
from .bvh import whole

RATES = ("mocap_frame_rate", "mocap_framerate")
PARTS = ("root_orient", "pose_body", "pose_jaw", "pose_eye", "pose_hand")
_COLUMNS = {156: "smplh", 165: "smplx"}
_FEET = [0, 2, 1, 3]
"""BEAT2 has contacts of joints 7, 8, 10, 11, left and right in turns; ``Skeleton.feet`` has a side at a time."""
_WAVES, _TRANSCRIPTS, _CONTACTS = ("wave16k", "wav"), ("textgrid",), ("footcontact",)


def looks_like(path: Path) -> bool:
    """Whether the file has a root that moves, and poses in one array or several."""
    keys = npz_keys(path)
    return "trans" in keys and ("poses" in keys or {"root_orient", "pose_body"} <= keys)


def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    up: Literal["y", "z"] | None = None,
    pause: float | None = None,
    audio_rate: int | None = None,
) -> list[Clip]:
    """One recording; speech (.wav), words (.TextGrid) and contacts (.npy) are found by its name.

    They lie beside it, or in ``wave16k``, ``textgrid``, ``footcontact`` beside its folder, as BEAT2 has them.

    Args:
        path: the file.
        name: of the clip.
        fps: frames a second, where the file does not say.
        up: axis of the world; None: z for SMPL-H and for files with ``root_orient`` (AMASS), y otherwise.
        pause: cut the recording into its sentences, at silences of that many seconds; needs a transcript.
        audio_rate: the rate (Hz) that speech must have; None: any.

    Raises:
        DataError: keys are missing, of other shapes, or not finite; speech is too short or of another rate.
    """
    file = Npz(path, "trans")
    path, poses = file.path, _poses(file)
    kind = _COLUMNS[poses.shape[1]]
    skeleton = layout("smplh" if kind == "smplh" else "smplx")
    upwards = up or ("z" if kind == "smplh" or "root_orient" in file else "y")
    root = file.floats("trans", 3)
    faces = file.floats("expressions") if "expressions" in file else None
    one_length(path, poses=poses, trans=root, expressions=poses if faces is None else faces)
    said = _found(path, _TRANSCRIPTS, (".TextGrid", ".textgrid"))
    words = textgrid.words(said) if said else ()
    clip = Clip.posed(
        name or path.stem,
        whole(file.fps(fps, *RATES)),
        replace(skeleton, up=upwards),
        root,
        roma.rotvec_to_unitquat(poses.reshape(len(poses), -1, 3)),
        captions=(" ".join(word.text for word in words),) if words else (),
        source=str(path),
        audio=_audio(path, audio_rate),
        contacts=_contacts(path, len(poses)),
        expressions=faces,
    )
    return [clip] if pause is None else _sentences(clip, words, pause)


def _poses(file: Npz) -> Tensor:
    """Rotation vectors (T, J * 3)."""
    if "poses" in file:
        poses = file.floats("poses")
    else:
        parts = [key for key in PARTS if key in file]
        need(file.path, file, ("root_orient", "pose_body"))
        poses = torch.cat([file.floats(key) for key in parts], dim=1)
    if poses.shape[1] not in _COLUMNS:
        raise DataError(f"{file.path}: poses have {poses.shape[1]} columns: 156 for SMPL-H, 165 for SMPL-X.")
    return poses


def _found(path: Path, folders: tuple[str, ...], endings: tuple[str, ...]) -> Path | None:
    """The file of the same name beside it, or in a folder beside its folder."""
    places = [path.parent, *(path.parent.parent / folder for folder in folders)]
    names = [place / (path.stem + ending) for place in places for ending in endings]
    return next((name for name in names if name.is_file()), None)


def _audio(path: Path, rate: int | None) -> Audio | None:
    wave = _found(path, _WAVES, (".wav",))
    return None if wave is None else read_wave(wave, rate)


def read_wave(path: str | Path, rate: int | None = None) -> Audio:
    """Sound of a wav file in [-1, 1], channels averaged.

    Raises:
        DataError: it is none, empty, or not of the ``rate`` (Hz).
    """
    from scipy.io import wavfile

    try:
        own, samples = wavfile.read(path)
    except (ValueError, EOFError, OSError, struct.error) as error:
        raise DataError(f"{path}: no readable wav file ({error}).") from error
    if rate is not None and own != rate:
        raise DataError(f"{path}: {own} Hz, {rate} Hz is needed. Resample it, or leave audio_rate out.")
    if not len(samples):
        raise DataError(f"{path}: no sample.")
    sound = np.asarray(samples, dtype=np.float64)
    if samples.dtype == np.uint8:
        sound = sound / 128 - 1
    elif samples.dtype.kind == "i":
        sound = sound / -float(np.iinfo(samples.dtype).min)
    sound = sound.reshape(len(sound), -1).mean(axis=1)
    return Audio(torch.from_numpy(sound).to(torch.float32), int(own))


def _contacts(path: Path, frames: int) -> Tensor | None:
    """Contacts (T, 4) in the order of the skeleton's feet."""
    file = _found(path, _CONTACTS, (".npy",))
    if file is None:
        return None
    contacts = floats(file, "contacts", npy(file), 4)
    if len(contacts) != frames:
        raise DataError(f"{file}: {len(contacts)} rows for {frames} frames of {path}.")
    return contacts[:, _FEET]


def _sentences(clip: Clip, words: tuple[textgrid.Interval, ...], pause: float) -> list[Clip]:
    if not words:
        raise DataError(f"{clip.source}: pause={pause:g}, but no words: put a TextGrid beside it, or leave pause out.")
    clips = []
    for number, one in enumerate(textgrid.sentences(words, pause)):
        start, stop = round(one.start * clip.fps), min(round(one.end * clip.fps), len(clip))
        if start < stop:
            clips.append(clip.cut(start, stop, f"{clip.name}/{number}", (one.text,)))
    return clips
