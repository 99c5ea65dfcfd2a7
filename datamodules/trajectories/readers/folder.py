"""A folder of recordings: what lies in it is recognised by what it holds, and never guessed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ...files.formats import Formats, npz_keys, outside
from ...robots import g1_csv
from ...robots.recording import Recording
from . import beyondmimic, lerobot, minari, native

Format = Literal["auto", "native", "g1_csv", "beyondmimic", "minari", "lerobot"]
_READERS: dict[str, Callable[..., list[Recording]]] = {
    "native": native.read,
    "g1_csv": g1_csv.read,
    "beyondmimic": beyondmimic.read,
    "minari": minari.read,
    "lerobot": lerobot.read,
}
_OPTIONS = {"g1_csv": ("joints", "quaternion"), "beyondmimic": ("joints", "bodies")}


def read_folder(
    root: str | Path,
    format: Format = "auto",
    fps: float | None = None,
    joints: Sequence[str] | None = None,
    bodies: Sequence[str] | None = None,
    quaternion: g1_csv.Order | None = None,
) -> list[Recording]:
    """Every recording in and under a folder, or of one file.

    Args:
        root: the folder or file.
        format: read only this; ``auto`` recognises npz files by their keys, csv by their columns, Minari and LeRobot
            by their files, and asks where a folder holds more than one format.
        fps: steps a second, for formats or files that do not say.
        joints: order of the joint columns, for formats that do not say.
        bodies: order of the bodies, for formats that do not say.
        quaternion: order of the root quaternion of a csv, where it is not the format's.

    Returns:
        Recordings by name: the path below ``root`` without its ending.

    Raises:
        DataError: nothing is there, formats are mixed, an option goes with no file, or a file is no good.
    """
    given: dict[str, Any] = {"joints": joints, "bodies": bodies, "quaternion": quaternion}
    return _FORMATS.read(root, format, fps, {key: value for key, value in given.items() if value is not None})


def recognise(path: Path) -> str | None:
    """The format of a file (or LeRobot folder), None where it is of none.

    Raises:
        DataError: an npz file that cannot be opened.
    """
    if (path / lerobot.INFO).is_file():
        return "lerobot"
    if path.name == minari.FILE:
        return "minari"
    if path.suffix == ".csv":
        with path.open(errors="replace") as file:
            return "g1_csv" if g1_csv.looks_like(file.readline()) else None
    if path.suffix != ".npz":
        return None
    keys = npz_keys(path)
    for kind, needed in (("native", native.KEYS), ("beyondmimic", beyondmimic.KEYS)):
        if keys.issuperset(needed):
            return kind
    return None


def _candidates(root: Path) -> list[Path]:
    """Files that could be recordings, sorted; a LeRobot dataset counts as one."""
    if root.is_file() or (root / lerobot.INFO).is_file():
        return [root]
    datasets = [info.parent.parent for info in sorted(root.rglob(str(lerobot.INFO)))]
    files = (path for path in sorted(root.rglob("*")) if path.suffix in (".csv", ".npz") or path.name == minari.FILE)
    return outside(files, datasets)


def _home(path: Path) -> Path:
    """What a file is named after: in Minari that of its dataset's folder."""
    return minari.folder_of(path) if path.name == minari.FILE else path


_FORMATS = Formats("recording", _READERS, _OPTIONS, recognise, _candidates, home=_home)
