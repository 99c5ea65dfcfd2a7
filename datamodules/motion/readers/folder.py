"""A folder of clips: what lies in it is recognised by what it holds, and never guessed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from ...core import DataError
from ...files.formats import Formats, npz_keys, outside
from ...robots import g1_csv
from .. import captions
from ..clip import Clip
from . import amp, asap_g1, asf_amc, bvh, deepmimic, g1, humanml3d, native, smpl
from .origin import origin, phrase

Format = Literal[
    "auto", "mixed", "native", "bvh", "asf_amc", "smpl", "humanml3d", "deepmimic", "amp", "asap_g1", "g1_csv"
]
_READERS: dict[str, Callable[..., list[Clip]]] = {
    "native": native.read,
    "bvh": bvh.read,
    "asf_amc": asf_amc.read,
    "smpl": smpl.read,
    "humanml3d": humanml3d.read,
    "deepmimic": deepmimic.read,
    "amp": amp.read,
    "asap_g1": asap_g1.read,
    "g1_csv": g1.read,
}
_OPTIONS = {"bvh": ("scale", "up", "root_offset"), "smpl": ("up", "pause", "audio_rate")}
_MOTIONS = (".bvh", ".amc", ".npz", ".txt", ".csv")


def read_folder(
    root: str | Path,
    format: Format = "auto",
    fps: float | None = None,
    said: captions.Captions = "auto",
    **options: Any,
) -> list[Clip]:
    """Every clip in and under a folder, or of one file.

    Args:
        root: the folder or file.
        format: read only this; ``auto`` recognises files by what they hold, and asks where a folder holds more than
            one format. ``smpl`` is AMASS and BEAT2. ``mixed``: a folder of data sets, a folder each, of any format,
            and files of no known format are only named in the log.
        fps: frames a second, for formats or files that do not say.
        said: where captions come from, ``captions.attach``.
        options: of the format: ``scale``, ``up``, ``root_offset`` (BVH), ``up``, ``pause``, ``audio_rate`` (SMPL).

    Returns:
        Clips by name: the path below ``root`` without its ending.

    Raises:
        DataError: nothing is there, formats are mixed, an option goes with no file, or a file is no good.
    """
    root = Path(root).expanduser()
    if format == "mixed":
        return _mixed(root, fps, said, options)
    clips = _FORMATS.read(root, format, fps, options)
    if root.is_file():
        return captions.attach(clips, said)
    about = origin(root)
    return [phrase(replace(clip, origin=about)) for clip in captions.attach(clips, said, root)]


def _mixed(root: Path, fps: float | None, said: captions.Captions, options: dict[str, Any]) -> list[Clip]:
    """Every clip of a folder of data sets."""
    if fps is not None or options:
        raise DataError(
            f"{', '.join(['fps'] * (fps is not None) + sorted(options))}: not with format=mixed, where sets differ. A "
            "column fps of labels.tsv in the set says its rate."
        )
    sets = sorted(folder for folder in root.glob("*/") if folder.is_dir())
    clips: list[Clip] = []
    for folder in sets:
        about = origin(folder)
        kinds = {path: recognise(path) for path in _candidates(folder)}
        strange = [str(path) for path, kind in kinds.items() if kind is None and path.suffix not in _STRANGERS]
        if strange:
            rank_zero_info(f"left out, of no known format: {', '.join(strange)}.")
        read = [
            replace(clip, origin=about)
            for path, kind in kinds.items()
            if kind is not None
            for clip in _READERS[kind](path, path.relative_to(root).with_suffix("").as_posix(), None)
        ]
        clips += map(phrase, captions.attach(read, said, folder))
    if not clips:
        raise DataError(f"{root}: no motion in any folder of it ({len(sets)}); known formats: {', '.join(_READERS)}.")
    return clips


def recognise(path: Path) -> str | None:
    """The format of a file (or HumanML3D folder), None where it is of none.

    Raises:
        DataError: an npz file that cannot be opened.
    """
    if (path / humanml3d.VECTORS).is_dir():
        return "humanml3d"
    match path.suffix.lower():
        case ".bvh":
            return "bvh" if bvh.looks_like(path) else None
        case ".amc":
            return "asf_amc"
        case ".txt":
            return "deepmimic" if deepmimic.looks_like(path) else None
        case ".csv":
            with path.open(errors="replace") as file:
                return "g1_csv" if g1_csv.looks_like(file.readline()) else None
        case ".npz":
            return _npz(path)
    return None


def _npz(path: Path) -> str | None:
    keys = npz_keys(path)
    for kind, needed in (("native", native.KEYS), ("amp", amp.KEYS), ("asap_g1", asap_g1.KEYS)):
        if keys.issuperset(needed):
            return kind
    posed = "poses" in keys or {"root_orient", "pose_body"} <= keys
    return "smpl" if posed and "trans" in keys else None


def _candidates(root: Path) -> list[Path]:
    """Files that could be motions, sorted; a HumanML3D folder counts as one."""
    if root.is_file() or (root / humanml3d.VECTORS).is_dir():
        return [root]
    folders = [path.parent for path in sorted(root.rglob(humanml3d.VECTORS)) if path.is_dir()]
    files = (path for path in sorted(root.rglob("*")) if path.suffix.lower() in _MOTIONS and path.is_file())
    return outside(files, folders)


_STRANGERS = (".txt", ".csv")
"""Text that is no motion is a licence, a note or a caption; a table may be of labels or splits."""
_FORMATS = Formats("motion", _READERS, _OPTIONS, recognise, _candidates, strangers=_STRANGERS)
