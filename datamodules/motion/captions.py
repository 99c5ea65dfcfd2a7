"""Captions of clips: tables of labels, files of captions, transcripts, or else the clip's name."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from ..core import DataError
from ..files.checks import read_text
from .clip import Clip

Captions = Literal["auto", "files", "names", "none"]
TABLES = ("labels.tsv", "labels.csv")
_COLUMNS = ("description", "caption", "text", "title", "label")
_SETS = re.compile(r"^(humanoid3d|amp[_ ]humanoid|dataset[-_ ]?\d+)[_ ]", re.IGNORECASE)
_ENDINGS = re.compile(
    r"[_. -]+(poses|stagei{1,2}|smpl(h|x|x?n|\+h)?|bvh|amc|c3d|fbx|npz|mocap|retarget(ed)?)$", re.IGNORECASE
)
"""What tools put behind a name: of files, not of motions."""
_LEVEL = re.compile(r"[_ ]level[_ ]?(\d+)$", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+\d+(?![^\W_])|[^\W\d_]+")  # CR7 is a name, walk1 the first of many


class Label(NamedTuple):
    """A row of a table of labels."""

    captions: tuple[str, ...]
    fps: float | None = None


class Tagged(NamedTuple):
    """A caption of part of a motion, or of all of it."""

    caption: str
    start: float = 0.0
    """s"""
    end: float | None = None
    """s; None: to the end of the motion."""


def from_name(name: str) -> str:
    """Words of a file's name: ``walk1`` and ``humanoid3d_walk`` are "walk", ``zombieWalk1`` is "zombie walk".

    A level of difficulty (``kick_level2``) and endings of files (``walk_1_poses``, ``_stageii``) are left out. Numbers
    alone (``02_01``) say nothing: then it is empty.
    """
    stem = _LEVEL.sub("", _SETS.sub("", _bare(name)))
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    return " ".join(_WORD.findall(stem)).lower()


def _bare(name: str) -> str:
    """The last part of a name, without the endings of files; empty where it is one."""
    stem = f"_{Path(name).name}"
    while (shorter := _ENDINGS.sub("", stem)) != stem:
        stem = shorter
    return stem.removeprefix("_")


def table(path: str | Path) -> dict[str, Label]:
    """A table of labels by clip: a header line, tabs (or commas in a csv) between columns.

    The first column names the clip (without ending); ``description``, ``caption``, ``text``, ``title`` or ``label``
    holds what is said of it; ``fps`` may hold its rate, and ``category`` its kind: "dance: Broadway", but "Dad Dance".

    Raises:
        DataError: no such columns, a rate that is no number, or a row with no caption.
    """
    path = Path(path)
    rows = list(csv.reader(io.StringIO(read_text(path), newline=""), delimiter="," if path.suffix == ".csv" else "\t"))
    header = rows[0] if rows else []
    spoken = next((column for column in _COLUMNS if column in header[1:]), None)
    if spoken is None:
        raise DataError(f"{path}: columns {header}: the clip first, and one of {', '.join(_COLUMNS)}.")
    labels: dict[str, Label] = {}
    for number, row in enumerate(rows[1:], start=2):
        values = dict(zip(header, row, strict=False))
        if not row or not values.get(spoken):
            raise DataError(f"{path}:{number}: no {spoken} for {row[0] if row else 'this row'}: write one, or cut it.")
        try:
            fps = float(values["fps"]) if values.get("fps") else None
        except ValueError as error:
            raise DataError(f"{path}:{number}: fps={values['fps']}: a number is needed.") from error
        old, said, kind = labels.get(row[0], Label(())), values[spoken], values.get("category", "")
        said = said if kind.lower() in said.lower() else f"{kind}: {said}"
        labels[row[0]] = Label((*old.captions, said), fps if fps is not None else old.fps)
    return labels


def table_of(path: Path) -> dict[str, Label]:
    """The table of labels beside a file, or else one folder up; empty where there is none."""
    places = [folder / name for folder in path.parents[:2] for name in TABLES]
    return next((table(place) for place in places if place.is_file()), {})


def tagged(path: str | Path) -> list[Tagged]:
    """Lines ``caption#tokens#from#to`` as HumanML3D has them, or captions alone.

    From and to are seconds; 0 and 0, or NaN, mean all of the motion.

    Raises:
        DataError: a line with other parts, or times that are none.
    """
    found: list[Tagged] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        parts = _parted(line.strip())
        if len(parts) not in (1, 4):
            raise DataError(f"{path}:{number}: {line.strip()!r}: caption#tokens#from#to, or a caption alone.")
        try:
            start, end = (float(part) for part in parts[2:]) if len(parts) == 4 else (0.0, 0.0)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}: from and to are seconds.") from error
        start, end = (0.0 if math.isnan(time) else time for time in (start, end))
        if not (0 <= start < end or start == end == 0):
            raise DataError(f"{path}:{number}: from {start:g} to {end:g} s: 0 <= from < to, or 0 and 0 for all of it.")
        found.append(Tagged(parts[0].strip(), start, end or None))
    return found


def _parted(line: str) -> list[str]:
    """The parts of a line; a caption may hold the sign that parts them, and then so do its tokens (``#/SYM``)."""
    parts = line.split("#")
    if len(parts) <= 4:
        return parts
    *words, start, end = parts
    ways = [("#".join(words[:k]), "#".join(words[k:])) for k in range(1, len(words))]
    tokens = next(
        (way for way in ways[::-1] if all(re.fullmatch(r"\S+/\S+", token) for token in way[1].split())), ways[0]
    )
    return [*tokens, start, end]


def attach(clips: Sequence[Clip], how: Captions = "auto", root: Path | None = None) -> list[Clip]:
    """Clips with captions, where a reader gave them none.

    Args:
        clips: as read.
        how: ``files``: from a table of labels (beside it or one folder up), or a text file of the clip's name beside
            it; ``names``: from its name; ``auto``: from files, or else from its name; ``none``: no captions at all,
            even where files have them.
        root: a folder, in and under which every table of labels must speak of these clips only.

    Raises:
        DataError: unknown ``how``, a table of labels with a row that no clip has, or a file that cannot be read.
    """
    if how not in ("auto", "files", "names", "none"):
        raise DataError(f"captions={how}: one of auto, files, names, none.")
    if how == "none":
        return [replace(clip, captions=()) for clip in clips]
    if how != "names" and root is not None:
        _no_strays(clips, root)
    return [clip if clip.captions else replace(clip, captions=_of(clip, how)) for clip in clips]


def _of(clip: Clip, how: Captions) -> tuple[str, ...]:
    source = Path(clip.source)
    if how != "names" and clip.source:
        label = table_of(source).get(source.stem)
        if label is not None:
            return label.captions
        text = source.with_suffix(".txt")
        if text != source and text.is_file():
            return tuple(one.caption for one in tagged(text))
    named = from_name(clip.name) if how != "files" else ""
    level = _LEVEL.search(_bare(clip.name))
    return (*([named] if named else []), *([f"{named} level {level[1]}"] if named and level else []))


def _no_strays(clips: Iterable[Clip], root: Path) -> None:
    known = {folder / Path(clip.source).stem for clip in clips for folder in Path(clip.source).parents[:2]}
    for path in sorted(found for name in TABLES for found in root.rglob(name)):
        strays = [clip for clip in table(path) if path.parent / clip not in known]
        if strays:
            raise DataError(
                f"{path}: {', '.join(strays[:3])}{' ...' if len(strays) > 3 else ''}: captions without a motion "
                "beside the table. Put the motion there, or cut these rows."
            )
