"""Groove MIDI Dataset (Gillick et al. 2019): drum performances by 10 drummers, with the official split."""

import csv
from dataclasses import dataclass
from pathlib import Path

from litmotif.errors import DataError

from ..song import Song
from .base import Reader, Source
from .midi import read_midi

TABLE = "info.csv"
_COLUMNS = ("drummer", "session", "id", "style", "bpm", "beat_type", "time_signature", "midi_filename", "split")
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Groove(Reader):
    """Split as published; a group is a drummer's session, for those who split anew.

    ``labels``: drummer, session, style (the genre), substyle, beat_type (beat or fill), bpm.
    """

    name = "groove"
    wants = f"{TABLE} with the columns {', '.join(_COLUMNS)}"
    needs = ("symusic",)

    def find(self, root: Path) -> list[Source]:
        """The rows of the table."""
        table = root / TABLE
        if not table.is_file():
            return []
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
        if missing:
            return []
        for line, row in enumerate(rows, 2):
            if row["split"] not in _SPLITS:
                raise DataError(f"{table}, line {line}: split={row['split']!r}: one of {', '.join(_SPLITS)}.")
        return [
            Source(row["midi_filename"], (root / row["midi_filename"],), {name: row[name] for name in _COLUMNS})
            for row in rows
        ]

    def read(self, source: Source) -> list[Song]:
        """One performance."""
        facts = source.facts
        style, _, substyle = facts["style"].partition("/")
        fields = read_midi(source.path, source.name) | {"key": None}  # drums have none; the files say C major
        labels = fields.pop("labels") | {name: facts[name] for name in ("drummer", "session", "beat_type", "bpm")}
        return [
            Song(
                name=facts["id"],
                group=facts["session"],
                split=_SPLITS[facts["split"]],  # type: ignore[arg-type]
                source=source.name,
                labels={**labels, "style": style, "substyle": substyle},
                **fields,
            )
        ]
