"""Folder of recordings: what lies in it is recognised by what it holds, and never guessed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ...files.broken import MAX_BAD
from ...files.formats import Formats
from ...robots import g1_csv
from ...robots.kinematics import KinematicTree
from ...robots.recording import Recording
from . import beyondmimic, lerobot, minari, native

Format = Literal["auto", "native", "g1_csv", "beyondmimic", "minari", "lerobot"]
_FORMATS: Formats[Recording] = Formats(
    "recording",
    {"native": native, "g1_csv": g1_csv, "beyondmimic": beyondmimic, "minari": minari, "lerobot": lerobot},
    endings=(".csv", ".npz", minari.FILE, minari.METADATA),
    folders=str(lerobot.INFO),
    strangers=(".json",),  # what a data set says of itself
    home=lambda path: minari.folder_of(path) if minari.looks_like(path) else path,
)


def read_folder(
    root: str | Path,
    format: Format = "auto",
    fps: float | None = None,
    joints: Sequence[str] | None = None,
    bodies: Sequence[str] | None = None,
    quaternion: g1_csv.Order | None = None,
    state_keys: Sequence[str] | None = None,
    tree: KinematicTree | None = None,
    max_bad: float = MAX_BAD,
) -> list[Recording]:
    """Every recording in and under a folder, or of one file.

    Args:
        root: the folder or file.
        format: read only this; ``auto`` recognises npz files by their keys, csv by their columns, Minari and LeRobot
            by their files, and asks where a folder holds more than one format.
        fps: steps a second, for formats or files that do not say, or say it wrongly.
        joints: order of the joint columns, for formats that do not say.
        bodies: order of the bodies, for formats that do not say.
        quaternion: order of the root quaternion of a csv, where it is not the format's.
        state_keys: columns of the state in a LeRobot dataset, where there is no observation.state.
        tree: the robot, for formats whose files do not describe theirs; None: the Unitree G1.
        max_bad: share of broken members of a set that are left out, with a warning that counts them.

    Returns:
        Recordings by name: the path below ``root`` without its ending.

    Raises:
        DataError: nothing is there, formats are mixed, an option goes with no file, or too many files are no good.
    """
    given: dict[str, Any] = {"joints": joints, "bodies": bodies, "quaternion": quaternion, "state_keys": state_keys}
    options = {key: value for key, value in given.items() if value is not None}
    return _FORMATS.read(root, format, fps, options, max_bad, {"tree": tree})
