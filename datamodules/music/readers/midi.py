"""MIDI files, by symusic (Liao et al. 2024): tracks as voices, tempo and meter maps, key signature."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litmotif.errors import DataError

from ..key_signatures import key_of_fifths
from ..song import DRUMS, REMARKS, Floats, Meter, Song, sorted_notes
from .base import Reader, Source, files_in, sources_of
from .midi_container import DEFAULT_TEMPO, Sequence, sequences

ENDINGS = (".mid", ".midi")


@dataclass(frozen=True)
class Midi(Reader):
    """Each file is a song and a group of its own."""

    name = "midi"
    wants = "files *.mid or *.midi"
    needs = ("symusic",)
    version = 2

    def find(self, root: Path) -> list[Source]:
        """All MIDI files."""
        return sources_of(root, files_in(root, *ENDINGS))

    def read(self, source: Source) -> list[Song]:
        """One song, or one a track where the file says that its tracks are songs of their own."""
        found = list(read_sequences(source.path, source.name))
        names = [source.name] if len(found) == 1 else [f"{source.name}#{k}" for k in range(1, len(found) + 1)]
        return [Song(name=name, source=source.name, **fields) for name, fields in zip(names, found, strict=True)]


def read_midi(path: Path, where: str) -> dict[str, Any]:
    """The fields of ``read_sequences`` of a file that is one song.

    Raises:
        DataError: it is none, or several.
    """
    found = list(read_sequences(path, where))
    if len(found) > 1:
        raise DataError(
            f"{where}: {len(found)} songs in one file (type 2), where one is expected. Save each by itself."
        )
    return found[0]


def read_sequences(path: Path, where: str) -> Iterator[dict[str, Any]]:
    """Notes, voices, tempos, meters and key of each song of a MIDI file, as fields of ``Song``.

    Voices are named after their tracks, or else their programs; tracks of one name are one voice, percussion is
    ``drums``. What was read otherwise than it stands there is in ``labels``, under ``REMARKS``.

    Raises:
        DataError: there is no note, or the file is broken.
    """
    import symusic

    parts, remarks = sequences(path.read_bytes(), where)
    labels = {REMARKS: "; ".join(remarks)} if remarks else {}
    sounding = 0
    for part in parts:
        try:
            score: Any = symusic.Score.from_midi(part.content)
        except (RuntimeError, ValueError) as error:
            raise DataError(f"{where}: a broken MIDI file: {error}. Export it again, or leave it out.") from error
        tracks = [track for track in score.tracks if len(track.notes)]
        if tracks:
            sounding += 1
            yield _fields(score, tracks, part) | {"labels": labels}
    if not sounding:
        raise DataError(f"{where}: no notes. Leave the file out.")


def _fields(score: Any, tracks: list[Any], part: Sequence) -> dict[str, Any]:
    ticks = part.ticks
    names = [DRUMS if track.is_drum else track.name.strip() or f"program {track.program}" for track in tracks]
    voices = tuple(dict.fromkeys(names))
    notes = [track.notes.numpy() for track in tracks]
    joined = {key: np.concatenate([one[key] for one in notes]) for key in notes[0]}
    voice = np.repeat([voices.index(name) for name in names], [len(one["time"]) for one in notes])
    signatures = score.key_signatures
    return {
        **sorted_notes(joined["time"] / ticks, joined["duration"] / ticks, joined["pitch"], joined["velocity"], voice),
        "voices": voices,
        "tempos": np.array([[0.0, DEFAULT_TEMPO]]) if part.seconds else _tempos(score.tempos.numpy(), ticks),
        "meters": _meters(score.time_signatures.numpy(), ticks),
        "key": key_of_fifths(signatures[0].key, bool(signatures[0].tonality)) if len(signatures) else None,
    }


def _tempos(events: dict[str, Any], ticks: float) -> Floats:
    """(K, 2) rows (beat, quarters a minute); 120 until the first event, as the standard has it."""
    rows = {0.0: DEFAULT_TEMPO}  # of events on one tick the last one counts
    rows.update(zip((events["time"] / ticks).tolist(), (6e7 / events["mspq"]).tolist(), strict=True))
    return np.array(sorted(rows.items()))


def _meters(events: dict[str, Any], ticks: float) -> tuple[Meter, ...]:
    """Time signatures; 4/4 until the first event, as the standard has it."""
    rows = {0.0: (4, 4)}
    for time, *signature in zip(events["time"], events["numerator"], events["denominator"], strict=True):
        rows[float(time) / ticks] = (int(signature[0]), int(signature[1]))
    return tuple(Meter(beat, *signature) for beat, signature in sorted(rows.items()))
