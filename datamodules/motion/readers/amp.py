"""AMP's humanoid clips as npz: poselib's motion with its skeleton tree, arrays only; z up."""

from pathlib import Path

import torch

from ...core import DataError
from ...files.checks import floats, need, npz_arrays, one_fps, quaternions
from ..clip import Clip
from ..skeleton import Skeleton, find_feet, local_rotations, vectors

KEYS = ("rotation_xyzw", "root_translation", "node_names", "parent_indices", "local_translation")


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``rotation_xyzw`` (T, J, 4), in the world unless ``is_local``, ``root_translation`` (T, 3) m.

    Args:
        path: the file.
        name: of the clip; None takes the file's.
        fps: frames a second, where the file does not say.

    Raises:
        DataError: keys are missing or of other shapes, no tree, NaN, or a quaternion that is none.
    """
    path = Path(path)
    file = npz_arrays(path)
    need(path, file, (*KEYS, "is_local"))
    names = tuple(map(str, file["node_names"].tolist()))
    offsets = floats(path, "local_translation", file["local_translation"], 3)
    offsets[0] = 0  # where the root of the model stands; each frame says where it is
    try:
        skeleton = Skeleton(names, tuple(file["parent_indices"].tolist()), vectors(offsets), "z", find_feet(names))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    turns = quaternions(path, "rotation_xyzw", floats(path, "rotation_xyzw", file["rotation_xyzw"], (len(names), 4)))
    root = floats(path, "root_translation", file["root_translation"], 3)
    if len(root) != len(turns):
        raise DataError(f"{path}: {len(turns)} rotation_xyzw and {len(root)} root_translation: one of each a frame.")
    local = turns if bool(torch.as_tensor(file["is_local"]).all()) else local_rotations(skeleton.parents, turns)
    rate = one_fps(path, file.get("fps"), fps)
    return [Clip.posed(name or path.stem, rate, skeleton, root, local, source=str(path))]
