"""Emotion-annotated MIDI: VGMIDI (Ferreira & Whitehead 2019) and EMOPIA (Hung et al. 2021)."""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litmotif.bounds import read_json
from litmotif.errors import DataError

from ..chords import parse_chord
from ..song import Floats, Song
from .base import Reader, Source, column, files_in, relative
from .midi import ENDINGS, read_midi

QUADRANTS = {"Q1": (0.5, 0.5), "Q2": (-0.5, 0.5), "Q3": (-0.5, -0.5), "Q4": (0.5, -0.5)}
"""(valence, arousal) of the centres of Russell's quadrants."""
Traces = Sequence[tuple[Sequence[float], Sequence[float]]]


@dataclass(frozen=True)
class Vgmidi(Reader):
    """Piano arrangements of game music; each piece's emotion is the mean of its raters, sample by sample.

    Traces in [-1, 1] lie in ``vgmidi_raw_*.json`` under ``annotations`` and ``pieces``, a sample a bar; or one label
    a piece lies in a table with the columns midi, valence, arousal, in {-1, 1} or {0, 1}. A group is a game series.

    ``labels``: series, raters, valence_sd and arousal_sd (of the raters, mean over the piece).
    """

    name = "vgmidi"
    wants = "vgmidi_raw_*.json, or vgmidi*.csv with midi, valence, arousal; and the MIDI files"
    needs = ("symusic",)

    def find(self, root: Path) -> list[Source]:
        """Rated pieces whose MIDI file is there."""
        if not root.is_dir():
            return []
        books = sorted(root.rglob("vgmidi_raw_*.json"))
        tables = sorted(root.rglob("vgmidi*.csv"))
        rated = _rated_in_books(books) if books else _rated_in_tables(tables)
        here = {path.stem: path for path in files_in(root, *ENDINGS)} if rated else {}
        missing = [name for name in rated if name not in here]
        if rated and len(missing) == len(rated):
            raise DataError(
                f"{root}: ratings of {len(rated)} pieces, but no MIDI file of them, such as {missing[0]}.mid."
            )
        return [
            Source(relative(here[name], root), (here[name],), facts) for name, facts in rated.items() if name in here
        ]

    def read(self, source: Source) -> list[Song]:
        """One piece."""
        facts, fields = source.facts, read_midi(source.path, source.name)
        song = Song(name=source.path.stem, **fields)
        beats = np.arange(len(facts["valence"])) * song.length / len(facts["valence"])  # samples, evenly over the piece
        emotion = np.stack([beats, facts["valence"], facts["arousal"]], axis=1)
        series = str(facts.get("series") or source.path.stem.split("_")[0])
        labels = (
            fields.pop("labels")
            | {"series": series}
            | {key: str(facts[key]) for key in ("raters", "valence_sd", "arousal_sd") if key in facts}
        )
        return [Song(name=song.name, group=series, source=source.name, emotion=emotion, labels=labels, **fields)]


def _rated_in_books(books: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Mean traces by the stem of the MIDI file."""
    rated: dict[str, dict[str, Any]] = {}
    for book in books:
        content = read_json(book)
        for key in ("annotations", "pieces"):
            if key not in content:
                raise DataError(f"{book.name}: no {key}; there are {', '.join(content)}.")
        traces: dict[str, list[Any]] = defaultdict(list)
        for name, rating in content["annotations"].items():
            traces[name.rpartition("_")[0]].append((rating["valence"], rating["arousal"]))
        for piece, facts in content["pieces"].items():
            if traces[piece]:
                rated[Path(facts["midi"]).stem] = _mean(traces[piece])
    return rated


def _mean(traces: Traces) -> dict[str, Any]:
    """Over the raters whose trace has the usual length."""
    length = Counter(len(valence) for valence, _ in traces if len(valence)).most_common(1)[0][0]
    values: Floats = np.array([pair for pair in traces if len(pair[0]) == len(pair[1]) == length], dtype=np.float64)
    mean, spread = values.mean(axis=0).round(4), values.std(axis=0).mean(axis=1).round(4)
    return {
        "valence": mean[0].tolist(),
        "arousal": mean[1].tolist(),
        "raters": len(values),
        "valence_sd": float(spread[0]),
        "arousal_sd": float(spread[1]),
    }


def _rated_in_tables(tables: Sequence[Path]) -> dict[str, dict[str, Any]]:
    rated: dict[str, dict[str, Any]] = {}
    for table in tables:
        rows = read_table(table)
        if not rows or not {"midi", "valence", "arousal"} <= set(rows[0]):
            continue
        values = np.array([[float(row["valence"]), float(row["arousal"])] for row in rows])
        if values.min() >= 0:
            values = 2 * values - 1
        for row, (valence, arousal) in zip(rows, values.tolist(), strict=True):
            facts = {"valence": [valence], "arousal": [arousal], "series": row.get("series", "")}
            rated[Path(row["midi"]).stem] = facts
    return rated


@dataclass(frozen=True)
class Emopia(Reader):
    """Piano clips with a quadrant in the file's name, Q1_<song>_<clip>.mid: emotion is the quadrant's centre.

    The key comes from key_mode_tempo.csv (upper case is major), the split from split/{train,val,test}*.csv, where they
    are there. A group is a song.

    ``labels``: quadrant.
    """

    name = "emopia"
    wants = "MIDI files Q1_*.mid to Q4_*.mid"
    needs = ("symusic",)

    def find(self, root: Path) -> list[Source]:
        """All clips."""
        paths = [path for path in files_in(root, *ENDINGS) if path.name[:2] in QUADRANTS and path.name[2:3] == "_"]
        keys = [row for table in (root.rglob("key_mode_tempo.csv") if paths else ()) for row in read_table(table)]
        named = {column(row, ("name",), "key_mode_tempo.csv"): row.get("keyname") for row in keys}
        splits = _splits(root) if paths else {}
        return [
            Source(relative(path, root), (path,), {"key": named.get(path.stem), "split": splits.get(path.stem)})
            for path in paths
        ]

    def read(self, source: Source) -> list[Song]:
        """One clip."""
        stem, fields = source.path.stem, read_midi(source.path, source.name)
        quadrant, group = stem[:2], stem[3:].rpartition("_")[0] or stem[3:]
        if source.facts["key"]:
            fields["key"] = _key(source.facts["key"], source.name)
        return [
            Song(
                name=stem,
                group=group,
                split=source.facts["split"],
                source=source.name,
                emotion=np.array([[0.0, *QUADRANTS[quadrant]]]),
                labels=fields.pop("labels") | {"quadrant": quadrant},
                **fields,
            )
        ]


def _key(name: str, where: str) -> str:
    tonic = parse_chord(name.capitalize(), where).label.partition(":")[0]
    return f"{tonic}:{'maj' if name[0].isupper() else 'min'}"


def _splits(root: Path) -> dict[str, str]:
    """Split by the stem of the clip; a table of the split names clips in any of its columns."""
    found = {}
    for split in ("train", "val", "test"):
        for table in sorted(root.glob(f"split/{split}*.csv")):
            with table.open(newline="", encoding="utf-8") as file:
                found.update({Path(cell).stem: split for row in csv.reader(file) for cell in row if cell})
    return found


def read_table(path: Path) -> list[Mapping[str, str]]:
    """Rows of a csv with a header; blanks around names and cells are taken off."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        return [{(key or "").strip(): (value or "").strip() for key, value in row.items()} for row in rows]
