"""What is heard and said along a motion: the wav and the TextGrid of its name, beside it or beside its folder."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ...core import DataError
from ..clip import Audio, Clip
from . import textgrid

Words = tuple[textgrid.Interval, ...]
_WAVES = ("wave16k", "wav", "wave", "audio", "Audio")
_TRANSCRIPTS = ("textgrid", "TextGrid")


def found(path: Path, folders: Iterable[str], endings: Iterable[str]) -> Path | None:
    """The file of the same name beside it, or in a folder beside its folder."""
    places = [path.parent, *(path.parent.parent / folder for folder in folders)]
    names = [place / (path.stem + ending) for place in places for ending in endings]
    return next((name for name in names if name.is_file()), None)


def audio(path: Path, rate: int | None = None) -> Audio | None:
    """The sound of a motion; ``rate`` (Hz): that it must have."""
    wave = found(path, _WAVES, (".wav", ".WAV"))
    return None if wave is None else read_wave(wave, rate)


def words(path: Path) -> Words:
    """What is said along a motion; nothing where it has no transcript."""
    said = found(path, _TRANSCRIPTS, (".TextGrid", ".textgrid"))
    return textgrid.words(said) if said else ()


def caption(said: Words) -> tuple[str, ...]:
    """All that is said, as the one caption of a motion."""
    return (" ".join(word.text for word in said),) if said else ()


def sentences(clip: Clip, said: Words, pause: float) -> list[Clip]:
    """The clip cut at silences of ``pause`` seconds, each part with its words as a caption.

    Raises:
        DataError: nobody says anything.
    """
    if not said:
        raise DataError(f"{clip.source}: pause={pause:g}, but no words: put a TextGrid beside it, or leave pause out.")
    clips = []
    for number, one in enumerate(textgrid.sentences(said, pause)):
        start, stop = round(one.start * clip.fps), min(round(one.end * clip.fps), len(clip))
        if start < stop:
            clips.append(clip.cut(start, stop, f"{clip.name}/{number}", (one.text,)))
    return clips


def read_wave(path: str | Path, rate: int | None = None) -> Audio:
    """Sound of a wav file in [-1, 1], channels averaged.

    Raises:
        DataError: it is none, empty, or not of the ``rate`` (Hz).
    """
    from scipy.io import wavfile

    try:
        own, samples = wavfile.read(path)
    except (ValueError, EOFError, OSError, struct.error) as error:
        raise DataError(f"{path}: no readable wav file ({error}).") from error
    if rate is not None and own != rate:
        raise DataError(f"{path}: {own} Hz, {rate} Hz is needed. Resample it, or leave data.options.audio_rate out.")
    if not len(samples):
        raise DataError(f"{path}: no sample.")
    sound = np.asarray(samples, dtype=np.float64)
    if samples.dtype == np.uint8:
        sound = sound / 128 - 1
    elif samples.dtype.kind == "i":
        sound = sound / -float(np.iinfo(samples.dtype).min)
    sound = sound.reshape(len(sound), -1).mean(axis=1)
    return Audio(torch.from_numpy(sound).to(torch.float32), int(own))
