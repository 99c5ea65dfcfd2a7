"""Our own npz: a clip with all it holds, as ``write_npz`` writes it."""

import json
from pathlib import Path
from typing import Any

import torch

from ...core import DataError
from ...files.checks import floats, need, npz_arrays, one_fps, quaternions
from ..clip import Audio, Clip, Origin
from ..skeleton import Skeleton

KEYS = ("positions", "skeleton")


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``positions`` (T, J, 3) m and ``skeleton`` (JSON) are needed, everything else may be there.

    Args:
        path: the file.
        name: of the clip; None takes the file's.
        fps: frames a second, where the file does not say.

    Raises:
        DataError: keys are missing or of other shapes, the skeleton is none, NaN, or a quaternion that is none.
    """
    path = Path(path)
    file = npz_arrays(path)
    need(path, file, KEYS)
    try:
        skeleton = Skeleton.of(json.loads(str(file["skeleton"])))
    except ValueError as error:  # a DataError, or no JSON
        raise DataError(f"{path}: {error}") from error
    joints = len(skeleton.names)
    positions = floats(path, "positions", file["positions"], (joints, 3))
    rotations = None
    if "rotations" in file:
        rotations = quaternions(path, "rotations", floats(path, "rotations", file["rotations"], (joints, 4)))
    rest: dict[str, Any] = {
        key: floats(path, key, file[key]) for key in ("contacts", "expressions", "features") if key in file
    }
    if "audio" in file:
        need(path, file, ("audio_rate",))
        rest["audio"] = Audio(torch.from_numpy(file["audio"]), int(file["audio_rate"]))
    return [
        Clip(
            name or path.stem,
            one_fps(path, file.get("fps"), fps),
            skeleton,
            floats(path, "root_pos", file["root_pos"], 3) if "root_pos" in file else positions[:, 0],
            rotations,
            positions,
            captions=tuple(map(str, file["captions"].tolist())) if "captions" in file else (),
            motion=str(file.get("motion", "")),
            source=str(path),
            split=str(file.get("split", "")),  # type: ignore[arg-type]
            origin=Origin(*map(str, file.get("origin", ()))),
            **rest,
        )
    ]
