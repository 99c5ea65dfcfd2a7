"""A folder of recordings: what lies in it is recognised by what it holds, and never guessed."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ...core import DataError
from ..recording import Recording
from . import beyondmimic, g1_csv, lerobot, minari, native

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
    root = Path(root).expanduser()
    if not root.exists():
        raise DataError(f"{root}: no such file or folder.")
    if format != "auto" and format not in _READERS:
        raise DataError(f"format={format}: one of auto, {', '.join(_READERS)}.")
    found: dict[str, list[Path]] = {}
    strange: list[Path] = []
    for path in _candidates(root):
        kind = recognise(path)
        found.setdefault(kind, []).append(path) if kind else strange.append(path)
    kinds = list(found) if format == "auto" else [format]
    if len(kinds) > 1:
        counts = ", ".join(f"{kind} ({len(paths)})" for kind, paths in found.items())
        raise DataError(f"{root} holds more than one format: {counts}. Choose one: format=...")
    if not kinds or not found.get(kinds[0]):
        seen = ", ".join(str(path) for path in strange[:3])
        raise DataError(
            f"{root}: no {'recording' if format == 'auto' else format + ' recording'} found; "
            f"known formats: {', '.join(_READERS)}." + (f" Not recognised: {seen}." if seen else "")
        )
    kind = kinds[0]
    given: dict[str, Any] = {"joints": joints, "bodies": bodies, "quaternion": quaternion}
    options = {key: value for key, value in given.items() if value is not None}
    strange_options = set(options) - set(_OPTIONS.get(kind, ()))
    if strange_options:
        raise DataError(f"{', '.join(sorted(strange_options))}: not an option of {kind} recordings.")
    if format == "auto" and strange:
        raise DataError(f"{strange[0]}: of no known format. Take it out of the folder, or say format={kind}.")
    return [r for path in found[kind] for r in _READERS[kind](path, _name(root, path), fps, **options)]


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
    try:
        with zipfile.ZipFile(path) as file:
            keys = {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: no readable npz file ({error}). It may be cut off: copy or write it again."
        ) from error
    for kind, needed in (("native", native.KEYS), ("beyondmimic", beyondmimic.KEYS)):
        if keys.issuperset(needed):
            return kind
    return None


def _candidates(root: Path) -> list[Path]:
    """Files that could be recordings, sorted; a LeRobot dataset counts as one."""
    if root.is_file():
        return [root]
    if (root / lerobot.INFO).is_file():
        return [root]
    datasets = [info.parent.parent for info in sorted(root.rglob(str(lerobot.INFO)))]
    files = [path for path in sorted(root.rglob("*")) if path.suffix in (".csv", ".npz") or path.name == minari.FILE]
    return datasets + [path for path in files if not any(path.is_relative_to(folder) for folder in datasets)]


def _name(root: Path, path: Path) -> str | None:
    """The path below ``root`` without its ending, or that of the dataset's folder; None: as the reader names it."""
    if path.name == minari.FILE:
        path = minari.folder_of(path)
    if path == root or not path.is_relative_to(root):
        return None
    below = path.relative_to(root)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()
