"""Music datamodule (MusicFrames): songs as frames of features and targets, from files, music21's corpus or made."""

import hashlib
import inspect
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from ..core import DataError, SplitDataModule
from .augment import rooms_of
from .parse import load_songs
from .procedural import MAKERS
from .prompt import SongPrompt
from .readers import Format
from .song import AUDIO_RATE, NOTE_FIELDS, Song
from .splits import NAMES, Splits, split_songs, spread
from .table import FrameStore, Statistics, Windows
from .tasks import Task, TaskName, make_task

EMBEDDED = {"melody": "ryansMammoth", "polyphony": "bach", "harmony": "bach"}
"""Collections of music21 that serve where there is no root; for the other tasks songs are made."""
MADE = 120
"""Number of songs that are made."""
SUITED = {
    "melody": "POP909, Nottingham as ABC, any MIDI or MusicXML; format bach or ryansMammoth without a root",
    "polyphony": "JSB Chorales and Nottingham (.mat), any MIDI or MusicXML; format bach without a root",
    "harmony": "POP909, lead sheets as MusicXML; format bach without a root",
    "dynamics": "POP909, the Groove MIDI Dataset (task_options.drums), any MIDI that was played",
    "groove": "the Groove MIDI Dataset",
    "emotion": "VGMIDI, EMOPIA; DEAM and PMEmo with audio (task_options.audio)",
}
"""Sets that have what a task needs."""


class MusicFrames(SplitDataModule):
    """Frames of songs for one of six tasks.

    Without ``root``, melody, polyphony and harmony learn from the corpus of music21; dynamics, groove and emotion from
    performances that are made in seconds, with known rules and noise: then ``synthetic`` is true.

    Args:
        task: what is learnt, see ``tasks``.
        root: file or folder, see ``readers``.
        format: of the files; None recognises it by what the folder holds.
        reader_options: options of the format.
        task_options: options of the task.
        frames: longest window of training; None takes whole songs. Evaluation is always of whole songs.
        split: shares of train, val and test, where a set has no official split.
        split_seed: of dealing songs out to splits and folds.
        folds: cross-validation, grouped: fold ``fold`` is the test part, whatever is official.
        fold: which one.
        songs: so many at most, spread over the set and its official splits.
        transpose: in training, up to so many semitones either way.
        tempo: in training, up to so much faster or slower, such as 0.1.
        max_bad: share of broken files that is tolerated.
        cache_dir: where parsed songs are kept.
        **kwargs: batch sizes, steps an epoch, workers, seed: see ``BaseDataModule``.
    """

    links = ("features", "input_size", "output_size", "outputs", "input_mean", "input_std", "target_mean")
    prompt = SongPrompt

    def __init__(
        self,
        task: TaskName = "melody",
        root: str | None = None,
        format: Format | None = None,
        reader_options: dict[str, Any] | None = None,
        task_options: dict[str, Any] | None = None,
        frames: int | None = None,
        split: Sequence[float] = (0.8, 0.1, 0.1),
        split_seed: int = 0,
        folds: int | None = None,
        fold: int = 0,
        songs: int | None = None,
        transpose: int = 0,
        tempo: float = 0.0,
        max_bad: float = 0.05,
        cache_dir: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (frames is not None and frames < 1) or not 0 <= transpose <= 24 or not 0 <= tempo < 1:
            raise DataError(f"data.frames={frames}, transpose={transpose}, tempo={tempo}: from 1, 0 to 24, [0, 1).")
        if songs is not None and songs < 3:
            raise DataError(f"data.songs={songs}: at least 3, one a split.")
        self.task, self.root = task, root
        self.maker: Task = make_task(task, task_options or {})

    # ------------------------------------------------------------------ what a module must know
    @property
    def input_size(self) -> int:
        """Columns F of the inputs."""
        return len(self.maker.inputs)

    @property
    def output_size(self) -> int:
        """Columns K of the targets."""
        return len(self.maker.targets)

    @property
    def features(self) -> list[str]:
        """Names of the input columns."""
        return self.maker.inputs.names

    @property
    def outputs(self) -> list[str]:
        """Names of the target columns."""
        return self.maker.targets.names

    @property
    def input_mean(self) -> list[float]:
        """Mean of each input over the training songs, as they are."""
        return [float(value) for value in self.statistics.input_mean]

    @property
    def input_std(self) -> list[float]:
        """Standard deviation of each input over the training songs; 1 where it does not vary."""
        return [float(value) for value in self.statistics.input_std]

    @property
    def target_mean(self) -> list[float]:
        """Mean of each known target over the training songs: the constant prediction."""
        return [float(value) for value in self.statistics.target_mean]

    @property
    def rate(self) -> float:
        """Frames a beat; 0 where a row is a note."""
        return self.maker.rate

    @property
    def frame(self) -> dict[str, Any]:
        """Frame length, and latency: how much of what comes later a frame knows."""
        sound = getattr(self.maker, "audio", False)
        unit = "seconds" if sound else "beats" if self.rate else "notes"
        length = 1 / AUDIO_RATE if sound else 1 / self.rate if self.rate else 1
        ahead = {"latency": self.maker.latency, "latency_unit": "frames" if self.rate else "beats"}
        return {"length": length, "unit": unit, **ahead}

    @property
    def synthetic(self) -> bool:
        """Made songs, not recorded or composed ones."""
        return self.root is None and self.hparams["format"] is None and self.task in MAKERS

    @cached_property
    def statistics(self) -> Statistics:
        """Of the training songs, before any augmentation."""
        return self._store.statistics(self._splits["train"])

    # ------------------------------------------------------------------ data
    def setup(self, stage: str) -> None:
        """See that no split is empty which the stage needs, before anything is computed or written."""
        for name in {"fit": ("train", "val"), "validate": ("val",)}.get(stage, ("test",)):
            self.split(name)

    def split(self, name: str) -> Windows:
        """The songs of a split.

        Raises:
            DataError: it is empty; names the root, the numbers and what decides about them.
        """
        songs, h = self._splits[name], self.hparams
        if not songs:
            counts = ", ".join(f"{split} {len(of)}" for split, of in self._splits.items())
            official = h["folds"] is None and all(song.split for song in self.library)
            remedy = (
                "The official split holds; data.folds=k deals the songs out anew"
                if official
                else "Change data.split, data.folds or data.songs, or add songs of other groups"
            )
            raise DataError(f"{self._where}: no song for {name} ({counts}). {remedy}.")
        return Windows(self._store, songs, h["frames"], name == "train", self.maker, h["transpose"], h["tempo"])

    def songs_of(self, name: str) -> list[str]:
        """Names of a split's songs, in the order of ``MusicBatch.song``."""
        return [self.library[k].name for k in self._splits[name]]

    @cached_property
    def library(self) -> list[Song]:
        """The songs that have what the task needs.

        Raises:
            DataError: none has; names the root and sets that have.
        """
        songs = self._read()
        lacks = [self.maker.missing(song) for song in songs]
        usable = [song for song, lack in zip(songs, lacks, strict=True) if lack is None]
        reasons = Counter(lack for lack in lacks if lack)
        if not usable:
            lacking = " or ".join(sorted(reasons))
            raise DataError(
                f"{self._where}: none of {len(songs)} songs has {lacking} for {self.task}: see {SUITED[self.task]}."
            )
        limit = self.hparams["songs"]
        chosen = usable if limit is None else spread(usable, limit)
        of = "" if len(chosen) == len(usable) else f" of {len(usable):,}"
        kind = "made songs (synthetic)" if self.synthetic else "songs"
        without = "".join(f"; {count:,} without {lack} left out" for lack, count in reasons.items())
        rank_zero_info(f"{self.task}: {len(chosen):,}{of} {kind}{without}.")
        return chosen

    @property
    def _where(self) -> str:
        return str(self.root or self.hparams["format"] or EMBEDDED.get(self.task, f"{self.task}, made songs"))

    def _read(self) -> list[Song]:
        h, collection = self.hparams, self.hparams["format"] or EMBEDDED.get(self.task)
        if self.synthetic:
            return MAKERS[self.task](h["songs"] or MADE, h["split_seed"])
        limit = h["songs"] if self.root is None else None  # the corpus is slow to parse, and its order tells nothing
        which = h["format"] if self.root else collection
        options = h["reader_options"] or {}
        return load_songs(self.root, which, limit, h["max_bad"], h["cache_dir"], **options).songs

    @cached_property
    def _splits(self) -> Splits:
        h = self.hparams
        splits = split_songs(self.library, h["split"], h["split_seed"], h["folds"], h["fold"])
        rank_zero_info(", ".join(f"{name}: {len(of):,} songs" for name, of in splits.items()) + ".")
        return splits

    @cached_property
    def _store(self) -> FrameStore:
        return FrameStore((self.maker.frames(song) for song in self.library), rooms_of(self.library))

    # ------------------------------------------------------------------ what an exported model must know
    def describe(self) -> dict[str, Any]:
        """Data card: what feeds the model and what it was trained on, as plain data; ``data`` hashes the songs."""
        splits = {name: len(self._splits[name]) for name in NAMES}
        return {
            "task": self.task,
            "task_options": dict(self.hparams["task_options"] or {}),
            "features": self.features,
            "outputs": self.outputs,
            "meaning": inspect.getdoc(type(self.maker)),
            "frame": self.frame,
            "synthetic": self.synthetic,
            "songs": splits,
            "data": digest(self.library),
        }


def digest(songs: Sequence[Song]) -> str:
    """SHA-256 of names, notes, rolls, sounds and labels of songs: equal where they hold the same."""
    found = hashlib.sha256()
    for song in songs:
        maps = (song.name, song.group, song.split, song.voices, song.meters, song.chords, song.key, song.length)
        found.update(repr((*maps, sorted(song.labels.items()), song.roll_rate, song.audio_rate)).encode())
        for name in (*NOTE_FIELDS, "tempos", "emotion", "roll", "audio"):
            values = getattr(song, name)
            if values is not None:
                found.update(f"{name} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return found.hexdigest()
