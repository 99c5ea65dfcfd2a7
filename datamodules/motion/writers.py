"""Clips to files: BVH, which Blender and every animation tool opens, and our own npz, which keeps all."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from torch import Tensor

from ..core import DataError
from .clip import Clip

_RIGID = 1e-6  # m
_PLACE = ("Xposition", "Yposition", "Zposition")
_ORDERS = {"ZXY": (2, 0, 1), "ZYX": (2, 1, 0), "XYZ": (0, 1, 2)}


def write_bvh(clip: Clip, path: str | Path, scale: float = 1.0, order: str = "ZXY") -> None:
    """A BVH file.

    Joints without children called ``<parent>_end`` become end sites; other such joints get one at their own place,
    which marks a leaf. Joints that move in their parents (see ``Clip.stretch``) get position channels.

    Args:
        clip: with rotations.
        path: where to write.
        scale: units a metre, 100 for cm. Blender takes y up and any unit at import.
        order: of the rotation channels: ZXY, ZYX or XYZ.

    Raises:
        DataError: the clip has positions only, or an unknown order.
    """
    if clip.rotations is None:
        raise DataError(f"{clip.name}: BVH holds rotations, and this clip has positions only: write_npz keeps them.")
    if order not in _ORDERS or not scale > 0:
        raise DataError(f"order={order}, scale={scale}: order one of {', '.join(_ORDERS)}, scale above 0.")
    skeleton = clip.skeleton
    rotations = clip.rotations.double()
    names, parents = skeleton.names, skeleton.parents
    ends = {joint for joint in skeleton.leaves if joint and names[joint] == f"{names[parents[joint]]}_end"}
    local = _in_parents(clip, rotations)
    offsets = torch.tensor(skeleton.offsets, dtype=torch.float64)
    rigid = ((local - offsets).abs() < _RIGID).flatten(2).all(dim=2).all(dim=0)
    moving = [joint for joint in range(len(names)) if joint == 0 or (joint not in ends and not rigid[joint])]
    ends -= {joint for joint in ends if not rigid[joint]}
    columns: list[Tensor] = []
    lines = ["HIERARCHY"]
    for depth, joint, opens in _walk(parents):
        pad = "\t" * depth
        if not opens:
            if joint in skeleton.leaves and joint not in ends:
                lines += [f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 0 0", pad + "\t}"]
            lines.append(pad + "}")
            continue
        place = " ".join(f"{value:.9g}" for value in (offsets[joint] * scale).tolist())
        title = "End Site" if joint in ends else f"{'JOINT' if joint else 'ROOT'} {names[joint]}"
        lines += [pad + title, pad + "{", f"{pad}\tOFFSET {place}"]
        if joint in ends:
            continue
        channels = [f"{axis}rotation" for axis in order]
        if joint in moving:
            channels = [*_PLACE, *channels]
            columns.append(local[:, joint] * scale)
        columns.append(roma.unitquat_to_euler(order, rotations[:, joint], degrees=True, as_tuple=False))
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
    values = torch.cat(columns, dim=1).numpy()
    lines += ["MOTION", f"Frames: {len(clip)}", f"Frame Time: {1 / clip.fps:.9f}"]
    lines += [" ".join(f"{value:.8f}" for value in row) for row in values]
    Path(path).write_text("\n".join(lines) + "\n")


def write_npz(clip: Clip, path: str | Path) -> None:
    """All of a clip, as ``readers.native`` reads it."""
    arrays: dict[str, Any] = {
        key: value.numpy()
        for key in ("root_pos", "rotations", "positions", "contacts", "expressions", "features")
        if (value := getattr(clip, key)) is not None
    }
    if clip.audio is not None:
        arrays |= {"audio": clip.audio.samples.numpy(), "audio_rate": np.asarray(clip.audio.rate)}
    arrays |= {
        "fps": np.asarray(clip.fps),
        "captions": np.asarray(clip.captions, dtype=np.str_),
        "skeleton": np.asarray(json.dumps(clip.skeleton.plain)),
        "motion": np.asarray(clip.motion),
        "split": np.asarray(clip.split),
        "origin": np.asarray(clip.origin, dtype=np.str_),
    }
    with Path(path).open("wb") as file:
        np.savez_compressed(file, **arrays)


def _in_parents(clip: Clip, rotations: Tensor) -> Tensor:
    """Where joints are in their parents (T, J, 3) m; the root in the world."""
    parents = list(clip.skeleton.parents)
    places = clip.positions.double()
    turns = roma.quat_conjugation(clip.skeleton.orientations(rotations))[:, parents[1:]]
    bones = roma.quat_action(turns, places[:, 1:] - places[:, parents[1:]])
    return torch.cat((places[:, :1], bones), dim=1)


def _walk(parents: tuple[int, ...]) -> Iterator[tuple[int, int, bool]]:
    """Depth, joint, and whether its brace opens or closes, depth first."""
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        children.setdefault(parent, []).append(joint)

    def visit(joint: int, depth: int) -> Iterator[tuple[int, int, bool]]:
        yield depth, joint, True
        for child in children.get(joint, ()):
            yield from visit(child, depth + 1)
        yield depth, joint, False

    yield from visit(0, 0)
