"""Unitree G1 csv: no header, root x y z (m), quaternion x y z w, 29 joint angles (rad); no rate is written in it.

Another robot has as many angles as joints.
"""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import roma
from torch import Tensor

from litmotif.bounds import read_json
from litmotif.errors import DataError

from ..files.checks import floats, one_fps, quaternions
from .kinematics import KinematicTree, g1
from .recording import Recording

COLUMNS = 36
_ROOT = 7
Order = Literal["xyzw", "wxyz"]
_UPRIGHT, _APART = 0.8, 0.3  # of the height of the up axis, mean over the clip: 1 is upright, -1 upside down
_NUMBER = re.compile(r"[-+.\deE]+|[-+]?(nan|inf)", re.IGNORECASE)


def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    joints: Sequence[str] | None = None,
    quaternion: Order | None = None,
    tree: KinematicTree | None = None,
) -> list[Recording]:
    """One clip.

    Args:
        path: the file.
        name: of the recording.
        fps: steps a second; None looks for ``clips.<file>.fps`` in a ``manifest.json`` beside the file or one up.
        joints: order of the joint columns; None: that of the format.
        quaternion: order of columns 3 to 6; None: x y z w as the format has it, but refused where the robot
            stands only in the other order. (Facing about -x it stands in both: then nothing tells.)
        tree: the robot; None: the G1.

    Raises:
        DataError: no rate, another number of columns, text, NaN, no unit quaternion, another order, unknown joints.
    """
    path, tree = Path(path), tree or g1()
    rows = _rows(path, _ROOT + len(tree.joints))
    values = floats(path, "csv", rows, _ROOT + len(tree.joints))
    root_quat = _xyzw(path, values[:, 3:7], quaternion)
    names = tuple(joints or tree.joints)
    order = tree.rows(names, "joints")
    if sorted(order) != list(range(len(tree.joints))):
        raise DataError(f"{path}: joints={list(names)}: name each of the {len(tree.joints)} joints once.")
    return [
        Recording(
            name=name or path.stem,
            fps=one_fps(path, _manifest_fps(path) if fps is None else None, fps),
            source=str(path),
            root_pos=values[:, :3],
            root_quat=root_quat,
            joint_pos=values[:, 7:],
            joints=names,
            limits=tree.limits[order],
        )
    ]


def looks_like(path: Path) -> bool:
    """Whether a csv file means to be of this format: as many columns in its first line, or numbers only."""
    if path.suffix.lower() != ".csv":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        fields = file.readline().split(",")
    return len(fields) == COLUMNS or all(_NUMBER.fullmatch(field.strip()) for field in fields)


def _rows(path: Path, columns: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """The table (T, columns)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty file is an error below
        try:
            rows = np.loadtxt(path, delimiter=",", ndmin=2, encoding="utf-8-sig")
        except (ValueError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not {columns} numbers in each line, without a header: {error}") from error
    if not rows.size:
        raise DataError(f"{path}: the file is empty.")
    if rows.shape[1] != columns:
        robot = "a G1 csv" if columns == COLUMNS else "this robot's csv"
        raise DataError(
            f"{path}: {rows.shape[1]} columns, {robot} has {columns}: root x y z, quaternion x y z w, "
            f"{columns - _ROOT} joints. Give data.robot, the robot's MJCF file, if it is another."
        )
    return rows


def _xyzw(path: Path, columns: Tensor, order: Order | None) -> Tensor:
    """Quaternions x y z w of columns in ``order``."""
    columns = quaternions(path, "root quaternion (columns 3 to 6)", columns)
    moved = roma.quat_wxyz_to_xyzw(columns)
    if order is None:
        up = columns.new_tensor([0.0, 0.0, 1.0])
        declared, other = (float(roma.quat_action(quat, up)[:, 2].mean()) for quat in (columns, moved))
        if other > max(_UPRIGHT, declared + _APART):
            raise DataError(
                f"{path}: read as w x y z the robot stands (its up axis points {other:.2f} up on average), as x y z w, "
                f"which the format has, it does not ({declared:.2f}). Give data.quaternion=wxyz, or "
                "xyzw if that is right."
            )
    return moved if order == "wxyz" else columns


def _manifest_fps(path: Path) -> object:
    for folder in path.resolve().parents[:2]:
        manifest = folder / "manifest.json"
        if manifest.is_file():
            try:
                return read_json(manifest)["clips"][path.stem]["fps"]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{manifest}: no clips.{path.stem}.fps ({error}). Add it, or give data.source_fps=..."
                ) from error
    return None
