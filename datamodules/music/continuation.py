"""Music continuation: the prompt, the features of each new frame, and the song that comes out."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core import DataError
from .render import song_of_events, song_of_roll
from .song import KEYS, LOWEST_KEY, NOTE_FIELDS, Song, sorted_notes
from .tasks import Task
from .tasks.melody import HOLD, REST

HEAD = 1e-6
"""Beats by which a note may begin before the end of what is given and still belong to what follows."""


class Continuation:
    """Keys of a frame task, from the beginning of a song on.

    Everything but the notes stays that of the song: tempo, metre, chords, key, wanted emotion. A task that tells notes
    that begin from those that go on (melody) gives notes as they are; of another (polyphony), two frames of one key
    that follow each other are one note.

    Args:
        task: of next frames' keys, such as melody or polyphony.
        song: whose beginning is given.
        beats: how much of it.
        length: beats of the song that comes out, what is given included.

    Raises:
        DataError: the task has no keys, the song lacks what it needs, or nothing sounds in what is given.
    """

    def __init__(self, task: Task, song: Song, beats: float, length: float) -> None:
        keys = [k for k, name in enumerate(task.targets.names) if name.startswith("key:")]
        if not task.rate or not keys:
            raise DataError(f"task={task.name}: its outputs are no keys of frames; melody and polyphony can go on.")
        if (lack := task.missing(song)) is not None:
            raise DataError(f"{song.name} has no {lack} for {task.name}: choose another song.")
        self.task, self.song, self.beats, self.length = task, song, beats, length
        self.rate = song.roll_rate or task.rate
        self.events, self.keys = "hold" in task.targets.names, slice(keys[0], keys[-1] + 1)
        self.lowest = int(task.targets.names[keys[0]].removeprefix("key:"))
        self.given = max(1, round(beats * self.rate))
        begins = task.frames(_later(song, 1 / self.rate)).targets[: self.given] > 0.5
        if not begins[:, self.keys].any():
            raise DataError(f"{song.name}: nothing sounds in its first {beats:g} beats; give more, or another song.")
        self.prompt = torch.from_numpy(begins)
        """Keys or events (T, K) bool of the frames that are given."""
        self._known = task.frames(song).inputs[: self.given]

    @property
    def frames(self) -> int:
        """Frames to make."""
        return max(0, round(self.length * self.rate) - self.given)

    def encode(self, rolls: Tensor) -> Tensor:
        """Raw features (B, F) of the last frame of rolls (B, t, K), as the task has them."""
        t = rolls.shape[1]
        if t <= len(self._known):
            return torch.from_numpy(self._known[t - 1]).expand(len(rolls), -1).to(rolls.device)
        rows = [self.task.frames(self.song_of(roll, spare=1)).inputs[t - 1] for roll in rolls.cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).to(rolls.device)

    @cached_property
    def own(self) -> Tensor:
        """The song itself, as far as it goes on (t, K) bool: what ``frames`` frames made of the prompt stand beside."""
        whole = self.task.frames(_later(self.song, 1 / self.rate)).targets > 0.5
        return torch.from_numpy(whole[: self.given + self.frames])

    def song_of(self, roll: NDArray[np.bool_], spare: int = 0, name: str = "made") -> Song:
        """The song of a roll (t, K) bool: the notes that were given as they were, then those of the roll.

        Args:
            roll: begins with ``prompt``.
            spare: empty frames behind it.
            name: of the song.
        """
        song, rate, length = self.song, self.rate, (len(roll) + spare) / self.rate
        if song.roll is not None:
            notes = song_of_roll(roll, rate, self.lowest)
            fields = {field: getattr(notes, field) for field in NOTE_FIELDS}
            piano = roll[:, LOWEST_KEY - self.lowest :][:, :KEYS]
            empty = np.zeros((spare, KEYS), dtype=bool)
            return replace(song, name=name, length=length, roll=np.vstack([piano, empty]), voices=("",), **fields)
        end = self.given / rate
        first = np.flatnonzero(song.onset < end - HEAD)
        later = roll[self.given :]
        made = song_of_events(later, rate) if self.events else song_of_roll(later, rate, self.lowest)
        pairs = [(getattr(song, field)[first], getattr(made, field)) for field in NOTE_FIELDS]
        notes_of = {field: np.concatenate(pair) for field, pair in zip(NOTE_FIELDS, pairs, strict=True)}
        notes_of["duration"][: len(first)] = np.minimum(notes_of["duration"][: len(first)], end - song.onset[first])
        notes_of["onset"][len(first) :] += end
        notes_of["voice"][len(first) :] = voice = self._voice()
        if self.events and not self.prompt[-1, REST]:
            heard = first[song.voice[first] == voice][-1]  # goes on as long as it is held
            notes_of["duration"][heard] = end + np.append(later[:, HOLD], False).argmin() / rate - song.onset[heard]
        emotion = None if song.emotion is None else song.emotion[song.emotion[:, 0] <= length]
        return replace(song, name=name, length=length, emotion=emotion, **sorted_notes(**notes_of))

    def _voice(self) -> int:
        """New notes belong to the voice that the task listens to: the one with the most notes of the prompt."""
        keys = np.flatnonzero(self.prompt.numpy()[:, self.keys].any(axis=0)) + self.lowest
        heard = self.song.voice[np.isin(self.song.pitch, keys) & (self.song.onset < self.beats)]
        return int(np.bincount(heard).argmax()) if len(heard) else 0


def _later(song: Song, beats: float) -> Song:
    """The song with its notes ``beats`` later: its next frame is what its frame was."""
    if song.roll is not None:
        return replace(song, roll=np.pad(song.roll, ((1, 0), (0, 0))), length=0.0)
    return replace(song, onset=song.onset + beats, length=song.length + beats)
