"""Folder of clips: what lies in it is recognised by what it holds, and never guessed."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from ...core import DataError
from ...files.broken import MAX_BAD
from ...files.formats import Formats
from .. import captions
from ..clip import Clip
from . import amp, asap_g1, asf_amc, bvh, deepmimic, g1, humanml3d, native, smpl
from .origin import origin, phrase

Format = Literal[
    "auto", "mixed", "native", "bvh", "asf_amc", "smpl", "humanml3d", "deepmimic", "amp", "asap_g1", "g1_csv"
]
_FORMATS: Formats[Clip] = Formats(
    "motion",
    {
        "native": native,
        "bvh": bvh,
        "asf_amc": asf_amc,
        "humanml3d": humanml3d,
        "deepmimic": deepmimic,
        "amp": amp,
        "asap_g1": asap_g1,
        "smpl": smpl,
        "g1_csv": g1,
    },
    endings=(".bvh", ".amc", ".npz", ".txt", ".csv"),
    folders=humanml3d.VECTORS,
    strangers=(".txt", ".csv"),  # text that is no motion is a licence, a note or a caption; a table is of labels
)


def read_folder(
    root: str | Path,
    format: Format = "auto",
    fps: float | None = None,
    said: captions.Captions = "auto",
    max_bad: float = MAX_BAD,
    **options: Any,
) -> list[Clip]:
    """Every clip in and under a folder, or of one file.

    Args:
        root: the folder or file.
        format: read only this; ``auto`` recognises files by what they hold, and asks where a folder holds more than
            one format. ``smpl`` is AMASS and BEAT2. ``mixed``: a folder of data sets, a folder each, of any format,
            and files of no known format are only named in the log.
        fps: frames a second, for formats or files that do not say, or say it wrongly.
        said: where captions come from, ``captions.attach``.
        max_bad: share of broken files of a set that are left out, with a warning that counts them.
        options: of the format: ``scale``, ``up``, ``root_offset``, ``audio_rate`` (BVH), ``up``, ``pause``,
            ``audio_rate`` (SMPL).

    Returns:
        Clips by name: the path below ``root`` without its ending.

    Raises:
        DataError: nothing is there, formats are mixed, an option goes with no file, or too many files are no good.
    """
    root = Path(root).expanduser()
    if format == "mixed":
        return _mixed(root, fps, said, options, max_bad)
    clips = _FORMATS.read(root, format, fps, options, max_bad)
    if root.is_file():
        return captions.attach(clips, said)
    about = origin(root)
    return [phrase(replace(clip, origin=about)) for clip in captions.attach(clips, said, root)]


def _mixed(
    root: Path, fps: float | None, said: captions.Captions, options: dict[str, Any], max_bad: float
) -> list[Clip]:
    """Every clip of a folder of data sets."""
    if fps is not None or options:
        raise DataError(
            f"{', '.join(['source_fps'] * (fps is not None) + sorted(options))}: not with format=mixed, where sets "
            "differ. A column fps of labels.tsv in the set says its rate."
        )
    sets = sorted(folder for folder in root.glob("*/") if folder.is_dir())
    clips: list[Clip] = []
    for folder in sets:
        about = origin(folder)
        kinds = _FORMATS.recognise_all(_FORMATS.candidates(folder))
        if strange := _FORMATS.strange(kinds):
            rank_zero_info(f"left out, of no known format: {', '.join(map(str, strange))}.")
        known = {path: kind for path, kind in kinds.items() if kind is not None}
        read = [replace(clip, origin=about) for clip in _FORMATS.read_all(root, known, max_bad=max_bad)]
        clips += map(phrase, captions.attach(read, said, folder))
    if not clips:
        raise DataError(
            f"{root}: no motion in any folder of it ({len(sets)}); known formats: {', '.join(_FORMATS.readers)}."
        )
    return clips
