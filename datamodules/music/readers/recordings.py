"""Emotion-annotated recordings: DEAM (Aljanaki et al. 2017) and PMEmo (Zhang et al. 2018). A beat is a second."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from litmotif.errors import DataError

from ..song import AUDIO_RATE, Song
from .base import Reader, Source, column, files_in, relative, required
from .emotion import read_table

_ENDINGS = (".wav", ".mp3", ".flac", ".ogg", ".m4a")
_PMEMO = ("Valence(mean)", "Arousal(mean)")
Rating = list[float]
"""[second, valence, arousal], scaled to [-1, 1]."""


@dataclass(frozen=True)
class _Recordings(Reader):
    """Both sets are laid out alike: tables by song id, audio files named after it.

    Args:
        ratings: per half second from second 15 on, or one a song; None takes the former where they are there.
    """

    largest = 2 * 2**30
    ratings: Literal["dynamic", "static"] | None = None

    def find(self, root: Path) -> list[Source]:
        """Songs with both ratings and audio."""
        if not root.is_dir():
            return []
        wanted = (self.ratings,) if self.ratings else ("dynamic", "static")
        rated: dict[str, list[Rating]] = next(
            (found for kind in wanted if (found := getattr(self, f"_{kind}")(root))), {}
        )
        if not rated:
            return []
        audio = {path.stem: path for path in files_in(root, *_ENDINGS)}
        here = [name for name in rated if name in audio]
        if not here:
            raise DataError(
                f"{root}: ratings of {len(rated)} songs, but no audio file of them, such as {next(iter(rated))}.mp3."
            )
        if any(audio[name].suffix.lower() != ".wav" for name in here):
            required("librosa", extra="audio")
        return [Source(relative(audio[name], root), (audio[name],), {"ratings": rated[name]}) for name in here]

    def prepare(self, sources: Sequence[Source]) -> None:
        """Import PyTorch, and librosa where something is no .wav: both take seconds."""
        import_module("...sound", __package__)
        if any(source.path.suffix.lower() != ".wav" for source in sources):
            import_module("librosa").load  # noqa: B018  (librosa imports itself when it is asked for something)

    def read(self, source: Source) -> list[Song]:
        """One recording: log-mel energies and ratings."""
        emotion = np.array(sorted(source.facts["ratings"]), dtype=np.float64)
        return [
            Song(
                name=source.path.stem,
                source=source.name,
                voices=(),
                tempos=np.array([[0.0, 60.0]]),
                emotion=emotion,
                audio=log_mels(source.path, source.name),
                audio_rate=AUDIO_RATE,
            )
        ]


@dataclass(frozen=True)
class Deam(_Recordings):
    """Static ratings are on a scale of 1 to 9, dynamic ones in [-1, 1]."""

    name = "deam"
    wants = (
        "audio, and valence.csv and arousal.csv (song_id, sample_15000ms) or static_annotations_averaged_songs_*.csv"
    )

    def _static(self, root: Path) -> dict[str, list[Rating]]:
        return _rated(
            root, "static_annotations_averaged_songs_*.csv", "song_id", ("valence_mean", "arousal_mean"), 1, 9
        )

    def _dynamic(self, root: Path) -> dict[str, list[Rating]]:
        valence, arousal = (
            {name: trace for table in sorted(root.rglob(f"{kind}.csv")) for name, trace in _wide(table).items()}
            for kind in ("valence", "arousal")
        )
        rated = {}
        for name in valence.keys() & arousal.keys():
            moments = sorted(valence[name].keys() & arousal[name].keys())
            rated[name] = [[moment, valence[name][moment], arousal[name][moment]] for moment in moments]
        return {name: rated[name] for name in valence if rated.get(name)}


def _wide(table: Path) -> dict[str, dict[float, float]]:
    """Ratings by song and second, of a table with a column a moment."""
    found: dict[str, dict[float, float]] = {}
    for row, where in _lines(table):
        if "song_id" not in row:  # a table of something else
            break
        moments = {name: re.fullmatch(r"sample_(\d+)ms", name) for name in row}
        found[_id(row, "song_id", where)] = {
            int(moment[1]) / 1000: _scaled(row[name], -1, 1, where)
            for name, moment in moments.items()
            if moment and row[name]
        }
    return found


@dataclass(frozen=True)
class Pmemo(_Recordings):
    """Both kinds of ratings are in [0, 1]."""

    name = "pmemo"
    wants = "audio, and static_annotations.csv or dynamic_annotations.csv (musicId, Valence(mean), Arousal(mean))"

    def _static(self, root: Path) -> dict[str, list[Rating]]:
        return _rated(root, "static_annotations.csv", "musicId", _PMEMO, 0, 1)

    def _dynamic(self, root: Path) -> dict[str, list[Rating]]:
        return _rated(root, "dynamic_annotations.csv", "musicId", _PMEMO, 0, 1)


def _lines(table: Path) -> Iterator[tuple[Mapping[str, str], str]]:
    """Rows of a table, each with its place."""
    for line, row in enumerate(read_table(table), 2):
        yield row, f"{table.name}, line {line}"


def _rated(
    root: Path, tables: str, key: str, columns: tuple[str, str], low: float, high: float
) -> dict[str, list[Rating]]:
    """Ratings by song, of tables with a row a song or moment."""
    rated: dict[str, list[Rating]] = defaultdict(list)
    for table in sorted(root.rglob(tables)):
        for row, where in _lines(table):
            pair = [_scaled(column(row, (name,), where), low, high, where) for name in columns]
            rated[_id(row, key, where)].append([float(row.get("frameTime") or 0), *pair])
    return dict(rated)


def _id(row: Mapping[str, str], name: str, where: str) -> str:
    cell = column(row, (name,), where)
    return str(int(float(cell))) if re.fullmatch(r"\d+(\.0*)?", cell) else cell


def _scaled(cell: str, low: float, high: float, where: str) -> float:
    """A rating from the set's range to [-1, 1]."""
    try:
        value = float(cell)
    except ValueError as error:
        raise DataError(f"{where}: rating {cell!r}: this set's ratings are numbers in [{low}, {high}].") from error
    if not low <= value <= high:
        raise DataError(f"{where}: rating {value}: this set's ratings lie in [{low}, {high}].")
    return round(2 * (value - low) / (high - low) - 1, 6)


def log_mels(path: Path, where: str, bands: int = 128) -> NDArray[np.float32]:
    """(T, bands) dB: power in mel bands up to 8 kHz, mean over each ``1 / AUDIO_RATE`` seconds.

    Raises:
        DataError: the file cannot be read, its rate is below 16 kHz, or it is shorter than one frame.
    """
    import torch

    from ...sound import FLOOR, mel

    samples, rate = _samples(path, where)
    frames, hops = int(len(samples) / rate * AUDIO_RATE), math.ceil(1 / AUDIO_RATE / 0.032)
    if rate < 16000:
        raise DataError(f"{where}: sampled at {rate:g} Hz: at least 16000 Hz is needed. Take the original recording.")
    if not frames or not np.isfinite(samples).all():
        raise DataError(
            f"{where}: {len(samples) / rate:.2f} s of audio: at least {1 / AUDIO_RATE} s of finite samples."
        )
    moments = torch.arange(frames * hops, dtype=torch.float64) / (AUDIO_RATE * hops)
    power = mel(torch.from_numpy(samples), rate, moments, bands).reshape(frames, hops, bands).mean(1)
    return np.asarray(10 * power.clamp_min(FLOOR).log10().numpy(), dtype=np.float32)


def _samples(path: Path, where: str) -> tuple[NDArray[np.float64], float]:
    """One channel in [-1, 1] and its rate; .wav by SciPy, everything else by librosa."""
    wav = path.suffix.lower() == ".wav"
    if wav:
        from scipy.io import wavfile
    else:
        import librosa  # type: ignore[import-not-found, unused-ignore]
    try:
        rate, raw = wavfile.read(path) if wav else librosa.load(path, sr=None)[::-1]
    except Exception as error:  # decoders raise what they like
        raise DataError(f"{where}: audio that cannot be read: {type(error).__name__} {error}") from error
    samples = np.asarray(raw, dtype=np.float64)
    if np.issubdtype(raw.dtype, np.integer):
        limits = np.iinfo(raw.dtype)
        samples = (samples - (limits.max + limits.min + 1) / 2) / ((limits.max - limits.min + 1) / 2)
    return (samples.mean(axis=1) if samples.ndim == 2 else samples), float(rate)
