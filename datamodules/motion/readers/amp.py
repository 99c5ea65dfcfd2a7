"""AMP's humanoid clips as npz: poselib's motion with its skeleton tree, arrays only; z up."""

from pathlib import Path

import torch

from litmotif.geometry.kinematics import local_rotations

from ...files.arrays import Npz, npz
from ...files.checks import naming, one_length
from ...files.guard import guarded
from ..clip import Clip
from ..skeleton import Skeleton, find_feet, vectors

KEYS = ("rotation_xyzw", "root_translation", "node_names", "parent_indices", "local_translation")
looks_like = npz(*KEYS)


@guarded
def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: ``rotation_xyzw`` (T, J, 4), in the world unless ``is_local``, ``root_translation`` (T, 3) m.

    Raises:
        DataError: keys are missing or of other shapes, no tree, NaN, or a quaternion that is none.
    """
    file = Npz(path, *KEYS, "is_local")
    names = tuple(map(str, file["node_names"].tolist()))
    offsets = file.floats("local_translation", 3)
    offsets[0] = 0  # where the root of the model stands; each frame says where it is
    with naming(path):
        skeleton = Skeleton(names, tuple(file["parent_indices"].tolist()), vectors(offsets), "z", find_feet(names))
    turns, root = file.quaternions("rotation_xyzw", (len(names), 4)), file.floats("root_translation", 3)
    one_length(path, rotation_xyzw=turns, root_translation=root)
    local = turns if bool(torch.as_tensor(file["is_local"]).all()) else local_rotations(skeleton.parents, turns)
    return [Clip.posed(name or file.path.stem, file.fps(fps), skeleton, root, local, source=str(path))]
