"""Music datamodule (MusicFrames): songs as frames of features and targets, from files, music21's corpus or made."""

import hashlib
import inspect
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from ..core import DataError, SplitDataModule
from .augment import rooms_of
from .continuation import Continuation
from .leakage import Seen, seen_in, unseen
from .parse import load_songs
from .procedural import MAKERS
from .prompt import SongPrompt
from .readers import Format
from .ridge import fit_pieces
from .song import AUDIO_RATE, NOTE_FIELDS, Song
from .splits import NAMES, Splits, split_songs, spread
from .table import FrameStore, Statistics, Windows, framed
from .tasks import Frames, Task, TaskName, make_task
from .tunes import tunes

MADE = {task: 300 if MAKERS[task] is tunes else 120 for task in MAKERS}
"""Number of songs that are made for a task."""
GIVEN_BARS, MADE_BARS = 2, 8
"""Bars of test songs that a model is given, and that it makes of them, to be judged."""
SUITED = {
    "melody": "POP909, Nottingham as ABC, any MIDI or MusicXML; of music21 format bach or ryansMammoth, without a root",
    "polyphony": "JSB Chorales and Nottingham (.mat), any MIDI or MusicXML; of music21 format bach, without a root",
    "harmony": "POP909, lead sheets as MusicXML; of music21 format bach, without a root",
    "dynamics": "POP909, the Groove MIDI Dataset (task_options.drums), any MIDI that was played",
    "groove": "the Groove MIDI Dataset",
    "emotion": "VGMIDI, EMOPIA; DEAM and PMEmo with audio (task_options.audio)",
}
"""Sets that have what a task needs."""


class MusicFrames(SplitDataModule):
    """Frames of songs for one of six tasks.

    Without ``root`` and ``format`` the songs are made in seconds, by known rules and noise: folk tunes for melody,
    polyphony and harmony, performances for dynamics, groove and emotion. Then ``synthetic`` is true.

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

    links = ("features", "input_size", "output_size", "outputs", "input_mean", "input_std", "target_mean", "ridge")
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
        self._seen: dict[str, list[str]] = {}

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
    def ridge(self) -> list[list[float]] | None:
        """Ridge regression of valence and arousal of whole training songs (F + 1, 4), see ``fit_pieces``.

        The first two columns are of all features, the last two of those that a transposition leaves as they are. None
        of other tasks.
        """
        columns = [self.outputs.index(name) for name in ("valence", "arousal") if name in self.outputs]
        frames = [self._framed[k][1] for k in self._splits["train"]]
        still = [block.moves != "rotate" for block in self.maker.inputs.blocks for _ in block.names]
        fits = [fit_pieces(frames, columns, np.array(of)) for of in ([True] * len(still), still)] if columns else []
        return np.hstack(fits).tolist() if fits else None

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
        return self.root is None and self.hparams["format"] is None

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
        judged = self.trainer is None or self.trainer.state.fn in ("validate", "test")
        if songs and judged and name != "train":
            songs = unseen(self.library, songs, self._seen, name, self._where)
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

    # ------------------------------------------------------------------ what a model may be judged by
    def seen(self) -> dict[str, list[str]]:
        """Identities of the songs that a model learns from (``train``) and is chosen by (``val``)."""
        return {name: seen_in(self.library[k] for k in self._splits[name]) for name in ("train", "val")}

    def leave_out(self, seen: Seen) -> None:
        """Judge by no song that another model has ``seen``, from now on."""
        self._seen = {name: [*self._seen.get(name, ()), *seen.get(name, ())] for name in ("train", "val")}

    def state_dict(self) -> dict[str, Any]:
        """The place in the training order, and what a model has seen."""
        state = super().state_dict()
        return state | {"seen": self.seen()} if state else state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin there; where a model is judged, by none of the songs that it has seen."""
        super().load_state_dict(state_dict)
        self._seen = {}
        self.leave_out(state_dict.get("seen", {}))

    def songs_of(self, name: str) -> list[str]:
        """Names of a split's songs, in the order of ``MusicBatch.song``."""
        return [self.library[k].name for k in self._splits[name]]

    def tunes(self, number: int) -> list[Continuation]:
        """Beginnings of two bars of so many test songs at most, spread over the split, and how eight bars go on.

        Songs that end before, or do not sound there, are left out.
        """
        songs = [self.library[k] for k in self._splits["test"]]
        chosen = [songs[k * len(songs) // number] for k in range(number)] if len(songs) > number else songs
        found = []
        for song in chosen:
            given, end = song.after(GIVEN_BARS), song.after(GIVEN_BARS + MADE_BARS)
            with suppress(DataError):
                found.append(Continuation(self.maker, song, given, min(end, song.length - 1 / self.rate)))
        return [tune for tune in found if tune.frames]

    @property
    def library(self) -> list[Song]:
        """The songs that have what the task needs, and of which frames could be made.

        Raises:
            DataError: none has; names the root and sets that have. Or frames of too many cannot be made (``max_bad``).
        """
        return [song for song, _ in self._framed]

    @cached_property
    def _framed(self) -> list[tuple[Song, Frames]]:
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
        return framed(self.maker, chosen, self.hparams["max_bad"], self._where)

    @property
    def _where(self) -> str:
        return str(self.root or self.hparams["format"] or f"{self.task}, made songs")

    def _read(self) -> list[Song]:
        h = self.hparams
        if self.synthetic:
            return MAKERS[self.task](h["songs"] or MADE[self.task], h["split_seed"])
        limit = h["songs"] if self.root is None else None  # the corpus is slow to parse, and its order tells nothing
        options = h["reader_options"] or {}
        return load_songs(self.root, h["format"], limit, h["max_bad"], h["cache_dir"], **options).songs

    @cached_property
    def _splits(self) -> Splits:
        h = self.hparams
        splits = split_songs(self.library, h["split"], h["split_seed"], h["folds"], h["fold"])
        rank_zero_info(", ".join(f"{name}: {len(of):,} songs" for name, of in splits.items()) + ".")
        return splits

    @cached_property
    def _store(self) -> FrameStore:
        return FrameStore([frames for _, frames in self._framed], rooms_of(self.library))

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
