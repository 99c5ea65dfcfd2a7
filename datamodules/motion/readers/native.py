"""Native npz: a clip with all it holds, as ``write_npz`` writes it."""

from pathlib import Path
from typing import Any

import torch

from litmotif.bounds import parse_json

from ...core import DataError
from ...files.arrays import Npz, npz
from ...files.checks import need
from ...files.guard import guarded
from ..clip import Audio, Clip, Origin
from ..skeleton import Skeleton

KEYS = ("positions", "skeleton")
looks_like = npz(*KEYS)


@guarded
def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``positions`` (T, J, 3) m and ``skeleton`` (JSON) are needed, everything else may be there.

    Raises:
        DataError: keys are missing or of other shapes, the skeleton is none, NaN, or a quaternion that is none.
    """
    file = Npz(path, *KEYS)
    try:
        skeleton = Skeleton.of(parse_json(str(file["skeleton"]), "skeleton"))
    except ValueError as error:  # a DataError, or no JSON
        raise DataError(f"{path}: {error}") from error
    joints = len(skeleton.names)
    positions = file.floats("positions", (joints, 3))
    rest: dict[str, Any] = {key: file.floats(key) for key in ("contacts", "expressions", "features") if key in file}
    if "audio" in file:
        need(path, file, ("audio_rate",))
        rest["audio"] = Audio(torch.from_numpy(file["audio"]), int(file["audio_rate"]))
    return [
        Clip(
            name or file.path.stem,
            file.fps(fps),
            skeleton,
            file.floats("root_pos", 3) if "root_pos" in file else positions[:, 0],
            file.quaternions("rotations", (joints, 4)) if "rotations" in file else None,
            positions,
            captions=tuple(map(str, file["captions"].tolist())) if "captions" in file else (),
            motion=str(file.get("motion", "")),
            source=str(path),
            split=str(file.get("split", "")),  # type: ignore[arg-type]
            origin=Origin(*map(str, file.get("origin", ()))),
            **rest,
        )
    ]
