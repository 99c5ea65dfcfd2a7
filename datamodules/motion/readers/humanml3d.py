"""HumanML3D's layout (Guo et al., CVPR 2022): 263 features a frame at 20 fps, texts, lists of splits, mean and std.

Columns of J = 22 joints: half the turn to the next frame about y (rad); the root's step to it over the ground (x, z;
m); its height; the other joints seen from the root's place on the ground, facing +z (21 x 3 m); 6 D rotations (21 x 6);
velocities (22 x 3 m a frame); contacts (4). The rotations belong to no skeleton that one could pose, so that clips
have positions only.
"""

from pathlib import Path

from torch import Tensor

from litmotif.geometry.odometry import humanml3d_positions

from ...core import DataError
from ...files.arrays import npy
from ...files.broken import MAX_BAD, Tally
from ...files.checks import floats, read_text
from ..captions import tagged
from ..clip import Clip, Split
from ..skeleton import layout

VECTORS, TEXTS = "new_joint_vecs", "texts"
COLUMNS, FPS = 263, 20.0
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def looks_like(path: Path) -> bool:
    """Whether the folder has such features."""
    return (path / VECTORS).is_dir()


def read(root: str | Path, name: str | None = None, fps: float | None = None, max_bad: float = MAX_BAD) -> list[Clip]:
    """All clips of a folder; a caption of part of a motion makes a clip of that part.

    Args:
        root: holds ``new_joint_vecs/ID.npy`` and ``texts/ID.txt``, and may hold ``train.txt``, ``val.txt``,
            ``test.txt``, one ID a line: then only what they list is read, and clips know their split.
        name: goes before the names of clips, which are their IDs.
        fps: frames a second; None: 20.
        max_bad: share of motions that may be broken: without text, without motion, or of no good numbers. They are left
            out, with a warning that counts them.

    Raises:
        DataError: more are broken, or one is in two lists.
    """
    root = Path(root)
    splits = _splits(root)
    motions = {path.stem for path in (root / VECTORS).glob("*.npy")}
    texts = {path.stem for path in (root / TEXTS).glob("*.txt")}
    wanted = set(splits) if splits else motions | texts
    prefix = f"{name}/" if name else ""
    tally, clips = Tally(root, len(wanted), max_bad), list[Clip]()
    for key in sorted(wanted):
        with tally.member(key):
            for found, folder, what in ((motions, VECTORS, "motion"), (texts, TEXTS, "text")):
                if key not in found:
                    raise DataError(
                        f"{root}: no {what} ({folder}) for {key}. Add the file, or take the ID out of texts and lists."
                    )
            clips += _clips(root, key, prefix, fps or FPS, splits.get(key, ""))
    tally.settle()
    return clips


def statistics(root: str | Path, feature_bias: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (263,) that a model was trained with.

    Args:
        root: the folder that holds Mean.npy and Std.npy.
        feature_bias: the deviations of the root's four columns and of the contacts are divided by it, which makes them
            count more: 25 in MotionDiffuse's models, 5 in the evaluators of HumanML3D, 1 leaves them as they are. No
            file says which one a model took, and mixing them ruins results.

    Raises:
        DataError: a file is missing or of another shape, or a deviation or the bias is not above 0.
    """
    if not feature_bias > 0:
        raise DataError(f"feature_bias={feature_bias}: above 0.")
    mean, std = (_array(Path(root) / f"{key}.npy").reshape(-1) for key in ("Mean", "Std"))
    if mean.shape != (COLUMNS,) or std.shape != (COLUMNS,) or not (std > 0).all():
        raise DataError(f"{root}: Mean.npy and Std.npy: {COLUMNS} numbers each, deviations above 0.")
    std[[0, 1, 2, 3, 259, 260, 261, 262]] /= feature_bias
    return mean, std


def _clips(root: Path, key: str, prefix: str, fps: float, split: Split) -> list[Clip]:
    path = root / VECTORS / f"{key}.npy"
    features = _array(path)
    if features.ndim != 2 or features.shape[1] != COLUMNS:
        raise DataError(f"{path}: {tuple(features.shape)}: (T, {COLUMNS}) features are needed.")
    joints = humanml3d_positions(features)
    captions = tagged(text := root / TEXTS / f"{key}.txt")
    whole = Clip(
        prefix + key, fps, layout("humanml3d"), joints[:, 0], None, joints,
        captions=tuple(one.caption for one in captions if one.end is None),
        contacts=features[:, 259:], source=str(path), features=features, split=split,
    )  # fmt: skip
    clips = [whole] if whole.captions else []
    for number, one in enumerate(captions):
        if one.end is not None:
            start, stop = int(one.start * fps), min(int(one.end * fps), len(whole))
            if start >= stop:
                raise DataError(f"{text}: {one.start:g} to {one.end:g} s of {whole.seconds:g} s: nothing is there.")
            clips.append(whole.cut(start, stop, f"{whole.name}/{number}", (one.caption,)))
    if not clips:
        raise DataError(f"{text}: no caption.")
    return clips


def _array(path: Path) -> Tensor:
    values = npy(path)
    flat = floats(path, "values", values.reshape(len(values), -1) if values.ndim else values[None, None])
    return flat.reshape(values.shape)


def _splits(root: Path) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for split in _SPLITS:
        path = root / f"{split}.txt"
        for key in read_text(path).split() if path.is_file() else ():
            if found.setdefault(key, split) != split:
                raise DataError(f"{path}: {key} is in {found[key]}.txt as well: one list a motion.")
    return found
