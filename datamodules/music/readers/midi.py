"""MIDI files, by symusic (Liao et al. 2024): tracks as voices, tempo and meter maps, key signature."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litmotif.errors import DataError

from ..chords import TONICS
from ..song import DRUMS, Floats, Meter, Song, sorted_notes
from .base import Reader, Source, files_in, sources_of

ENDINGS = (".mid", ".midi")


@dataclass(frozen=True)
class Midi(Reader):
    """Each file is a song and a group of its own."""

    name = "midi"
    wants = "files *.mid or *.midi"
    needs = ("symusic",)

    def find(self, root: Path) -> list[Source]:
        """All MIDI files."""
        return sources_of(root, files_in(root, *ENDINGS))

    def read(self, source: Source) -> list[Song]:
        """One song."""
        return [Song(name=source.name, source=source.name, **read_midi(source.path, source.name))]


def read_midi(path: Path, where: str) -> dict[str, Any]:
    """Notes, voices, tempos, meters and key of a MIDI file, as fields of ``Song``.

    Voices are named after their tracks, or else their programs; tracks of one name are one voice, percussion is
    ``drums``.

    Raises:
        DataError: there is no note.
    """
    import symusic

    score: Any = symusic.Score(path)
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise DataError(f"{where}: no notes. Leave the file out.")
    names = [DRUMS if track.is_drum else track.name.strip() or f"program {track.program}" for track in tracks]
    voices = tuple(dict.fromkeys(names))
    notes = [track.notes.numpy() for track in tracks]
    ticks = float(score.ticks_per_quarter)
    joined = {key: np.concatenate([part[key] for part in notes]) for key in notes[0]}
    voice = np.repeat([voices.index(name) for name in names], [len(part["time"]) for part in notes])
    signatures = score.key_signatures
    return {
        **sorted_notes(joined["time"] / ticks, joined["duration"] / ticks, joined["pitch"], joined["velocity"], voice),
        "voices": voices,
        "tempos": _tempos(score.tempos.numpy(), ticks),
        "meters": _meters(score.time_signatures.numpy(), ticks),
        "key": key_of_fifths(signatures[0].key, bool(signatures[0].tonality)) if len(signatures) else None,
    }


def key_of_fifths(fifths: int, minor: bool) -> str:
    """The key with so many sharps (flats where negative), such as ``A:min``."""
    return f"{TONICS[(7 * fifths + 9 * minor) % 12]}:{'min' if minor else 'maj'}"


def _tempos(events: dict[str, Any], ticks: float) -> Floats:
    """(K, 2) rows (beat, quarters a minute); 120 until the first event, as the standard has it."""
    rows = {0.0: 120.0}  # of events on one tick the last one counts
    rows.update(zip((events["time"] / ticks).tolist(), (6e7 / events["mspq"]).tolist(), strict=True))
    return np.array(sorted(rows.items()))


def _meters(events: dict[str, Any], ticks: float) -> tuple[Meter, ...]:
    """Time signatures; 4/4 until the first event, as the standard has it."""
    rows = {0.0: (4, 4)}
    for time, *signature in zip(events["time"], events["numerator"], events["denominator"], strict=True):
        rows[float(time) / ticks] = (int(signature[0]), int(signature[1]))
    return tuple(Meter(beat, *signature) for beat, signature in sorted(rows.items()))
