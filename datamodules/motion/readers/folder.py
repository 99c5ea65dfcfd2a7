"""A folder of clips: what lies in it is recognised by what it holds, and never guessed."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...core import DataError
from .. import captions
from ..clip import Clip
from . import amp, asap_g1, asf_amc, bvh, deepmimic, humanml3d, native, smpl

Format = Literal["auto", "native", "bvh", "asf_amc", "smpl", "humanml3d", "deepmimic", "amp", "asap_g1"]
_READERS: dict[str, Callable[..., list[Clip]]] = {
    "native": native.read,
    "bvh": bvh.read,
    "asf_amc": asf_amc.read,
    "smpl": smpl.read,
    "humanml3d": humanml3d.read,
    "deepmimic": deepmimic.read,
    "amp": amp.read,
    "asap_g1": asap_g1.read,
}
_OPTIONS = {"bvh": ("scale", "up", "root_offset"), "smpl": ("up", "pause", "audio_rate")}
_MOTIONS = (".bvh", ".amc", ".npz", ".txt")


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
            one format. ``smpl`` is AMASS and BEAT2.
        fps: frames a second, for formats or files that do not say.
        said: where captions come from, ``captions.attach``.
        options: of the format: ``scale``, ``up``, ``root_offset`` (BVH), ``up``, ``pause``, ``audio_rate`` (SMPL).

    Returns:
        Clips by name: the path below ``root`` without its ending.

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
        if kind:
            found.setdefault(kind, []).append(path)
        elif path.suffix != ".txt":  # licences, notes and captions are no motions
            strange.append(path)
    kinds = list(found) if format == "auto" else [format]
    if len(kinds) > 1:
        counts = ", ".join(f"{kind} ({len(paths)})" for kind, paths in found.items())
        raise DataError(f"{root} holds more than one format: {counts}. Choose one: format=...")
    if not kinds or not found.get(kinds[0]):
        seen = ", ".join(map(str, strange[:3]))
        raise DataError(
            f"{root}: no {'motion' if format == 'auto' else format + ' motion'} found; known formats: "
            f"{', '.join(_READERS)}." + (f" Not recognised: {seen}." if seen else "")
        )
    kind = kinds[0]
    if foreign := set(options) - set(_OPTIONS.get(kind, ())):
        raise DataError(f"{', '.join(sorted(foreign))}: not an option of {kind} motions.")
    if format == "auto" and strange:
        raise DataError(f"{strange[0]}: of no known format. Take it out of the folder, or say format={kind}.")
    clips = [clip for path in found[kind] for clip in _READERS[kind](path, _name(root, path), fps, **options)]
    return captions.attach(clips, said, root if root.is_dir() else None)


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
        case ".npz":
            return _npz(path)
    return None


def _npz(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as file:
            keys = {name.removesuffix(".npy") for name in file.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path}: no readable npz file ({error}). It may be cut off: copy or write it again."
        ) from error
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
    files = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in _MOTIONS and path.is_file()]
    return folders + [path for path in files if not any(path.is_relative_to(folder) for folder in folders)]


def _name(root: Path, path: Path) -> str | None:
    """The path below ``root`` without its ending; None: as the reader names it."""
    if path == root or not path.is_relative_to(root):
        return None
    below = path.relative_to(root)
    return (below if path.is_dir() else below.with_suffix("")).as_posix()
