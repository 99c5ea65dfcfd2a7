"""Prompt of a music model: the beginning of a test song, and the files of how a model goes on with it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from ..core import DataError
from .continuation import Continuation
from .readers.base import required
from .render import draw_roll, play, synthesise, write_midi, write_wav
from .song import Song
from .tasks import Task


class Songs(Protocol):
    """What is asked of the datamodule, see ``MusicFrames``."""

    task: str
    maker: Task

    @property
    def library(self) -> Sequence[Song]:
        """All songs."""

    def songs_of(self, name: str) -> list[str]:
        """Names of a split's songs."""


class SongPrompt:
    """Beginning of a test song: MIDI and sound of each continuation, and a picture of all piano rolls.

    Args:
        data: songs, and a task whose targets are the keys of frames.
        song: of the test split, by its place or its name.
        prompt_bars: bars that are given.
        bars: bars to make.
        number: how many continuations.
        polyphony: keys at once; by default 1 for a melody, else any number.
        valence: wanted emotion, -1 to 1, where the model is told of it.
        arousal: likewise.
        soundfont: .sf2 or .sf3 for the sound; sine waves without.

    Raises:
        DataError: a number below its least, no such song, or one that cannot be gone on with.
        MissingExtraError: what writes MIDI files is not installed.
    """

    fills: ClassVar[frozenset[str]] = frozenset({"prompt", "num_frames", "polyphony", "encode"})

    def __init__(
        self,
        data: Songs,
        song: int | str = 0,
        prompt_bars: int = 2,
        bars: int = 8,
        number: int = 1,
        polyphony: int | None = None,
        valence: float | None = None,
        arousal: float | None = None,
        soundfont: str | None = None,
    ) -> None:
        for name, count in (("prompt_bars", prompt_bars), ("bars", bars), ("number", number)):
            if count < 1:
                raise DataError(f"--{name} {count}: at least 1.")
        required("symusic")
        melody = data.task == "melody"
        if melody and polyphony not in (None, 1):
            raise DataError(f"--polyphony {polyphony}: a melody is one key at a time. Leave it out.")
        names = data.songs_of("test")
        wanted = names[song] if isinstance(song, int) and song < len(names) else song
        chosen = next((one for one in data.library if one.name == wanted), None)
        if chosen is None or wanted not in names:
            raise DataError(f"--song {song}: the test split has {len(names)} songs: {', '.join(names[:5])}, ...")
        if valence is not None or arousal is not None:
            chosen = replace(chosen, emotion=np.array([[0.0, valence or 0.0, arousal or 0.0]]))
        self.song, self.soundfont = chosen, soundfont
        self.beats = chosen.after(prompt_bars)
        self.continuation = Continuation(data.maker, chosen, self.beats, chosen.after(prompt_bars + bars))
        self.condition: dict[str, Any] = {
            "prompt": self.continuation.prompt.expand(number, -1, -1),
            "num_frames": self.continuation.frames,
            "polyphony": 1 if melody else polyphony,
            "encode": self.continuation.encode,
        }

    def write(self, made: Tensor, stem: Path) -> list[Path]:
        """Write ``stem_0.mid``, ``stem_0.wav`` and so on, and ``stem.png``.

        Args:
            made: rolls (B, T, K) bool that begin with the prompt.
            stem: path without an ending.
        """
        rolls = enumerate(made.cpu().numpy())
        songs = [self.continuation.song_of(roll, name=f"{self.song.name}, {number}") for number, roll in rolls]
        files = []
        for number, song in enumerate(songs):
            midi, sound = (stem.with_name(f"{stem.name}_{number}.{ending}") for ending in ("mid", "wav"))
            samples = play(song, Path(self.soundfont)) if self.soundfont else synthesise(song)
            write_midi(midi, song)
            write_wav(sound, samples)
            files += [midi, sound]
        picture = stem.with_name(f"{stem.name}.png")
        draw_roll([self.song, *songs], self.beats, songs[0].length).savefig(picture, dpi=120)
        return [*files, picture]
