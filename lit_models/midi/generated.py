"""Statistics of melodies, so that made ones can be put beside true ones: rests, note lengths, repetitions, key."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from .generation import Encoder
from .metrics import Found, gathered

SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Pitch classes of C major, and of its relative minor."""


class Tune(Protocol):
    """A true melody whose beginning is given.

    Attributes:
        prompt: events (T, K) bool of the frames that are given.
    """

    prompt: Tensor

    @property
    def frames(self) -> int:
        """Frames to make."""

    @property
    def own(self) -> Tensor:
        """How it goes on itself: events (t, K) bool, the prompt included."""

    @property
    def encode(self) -> Encoder:
        """Raw features of the last frame of rolls."""


class Tunes(Protocol):
    """What a datamodule of melodies offers, for a model that makes some to be judged by."""

    def tunes(self, number: int) -> Sequence[Tune]:
        """So many test songs at most, spread over the split."""


class MelodyStatistics(Metric):
    """Statistics of melodies (Yang & Lerch 2020, doi:10.1007/s00521-018-3849-7), pooled over all that are shown.

    ``rests`` is the share of frames without a note, ``note_length`` the mean length of a note in frames,
    ``repetitions`` the share of notes on the key of the note before, ``in_key`` the share of notes in the scale.

    Args:
        rest: the event of a frame without a note.
        hold: the event of a note that goes on; every other one is a note that begins, on MIDI key 1, 2, ...
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, rest: int, hold: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rest, self.hold = rest, hold
        gathered(self, "counts", (6,))

    def update(self, events: Tensor, scale: Tensor) -> None:
        """Add a melody.

        Args:
            events: number of the event of each frame (T,) int64.
            scale: pitch classes that belong to the key (12,) bool.
        """
        keys = struck(events, self.rest, self.hold)
        rests, inside = (events == self.rest).sum(), scale[keys % 12].sum()
        repeated = (keys[1:] == keys[:-1]).sum()
        pairs = torch.tensor(max(len(keys) - 1, 0), device=events.device)
        notes, frames = torch.tensor(len(keys), device=events.device), torch.tensor(len(events), device=events.device)
        self.counts += torch.stack([frames, rests, notes, repeated, pairs, inside])

    def compute(self) -> Found:
        """All by name; NaN where there was nothing."""
        frames, rests, notes, repeated, pairs, inside = self.counts
        found = {
            "rests": rests / frames,
            "note_length": (frames - rests) / notes,
            "repetitions": repeated / pairs,
            "in_key": inside / notes,
        }
        return {name: value.float() for name, value in found.items()}


class MadeMelodies(nn.Module):
    """Melodies that a model makes of the beginnings of true ones, judged beside these.

    ``rests`` and the others are of melodies at temperature 1, ``rests/t0.7`` at 0.7, ``rests/tunes`` of the true ones,
    all without what is given. The key is the major scale, or its relative minor, that the whole true tune fits best.

    Args:
        outputs: names of the events, ``rest`` and ``hold`` among them.
    """

    temperatures: ClassVar = {"t0.7": 0.7, "": 1.0}

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__()
        columns = list(outputs)
        self.rest, self.hold = columns.index("rest"), columns.index("hold")
        self.keys = slice(self.rest + 1, self.hold)
        names = [row or "made" for row in (*self.temperatures, "tunes")]
        self.rows: Any = nn.ModuleDict(
            {name.replace(".", "_"): MelodyStatistics(self.rest, self.hold) for name in names}
        )

    def judge(self, model: Any, trainer: Any, number: int) -> Found:
        """Make melodies, each process its share, and compare.

        Args:
            model: with ``generate``.
            trainer: whose datamodule has ``tunes``; without there is nothing to judge.
            number: songs at most.
        """
        data: Tunes | None = getattr(trainer, "datamodule", None)
        if data is None or not hasattr(data, "tunes"):
            return {}
        tunes = data.tunes(number)
        for place in range(trainer.global_rank, len(tunes), trainer.world_size):
            self._show(model, tunes[place], place)
        found: Found = {}
        for row in (*self.temperatures, "tunes"):
            metric = self._metric(row)
            found |= {f"{name}/{row}" if row else name: value for name, value in metric.compute().items()}
            metric.reset()
        return found

    def _show(self, model: Any, tune: Tune, place: int) -> None:
        own, given = tune.own.to(model.device).int().argmax(dim=-1), len(tune.prompt)
        scale = fitting_scale(struck(own, self.rest, self.hold))
        self._metric("tunes").update(own[given:], scale)
        for row, temperature in self.temperatures.items():
            made = model.generate(tune.prompt, tune.frames, temperature, encode=tune.encode, seed=place)[0]
            self._metric(row).update(made[given:].int().argmax(dim=-1), scale)

    def _metric(self, row: str) -> Any:
        return self.rows[(row or "made").replace(".", "_")]


def struck(events: Tensor, rest: int, hold: int) -> Tensor:
    """MIDI keys (N,) of the notes that begin, of events (T,)."""
    return events[(events != rest) & (events != hold)]


def fitting_scale(keys: Tensor) -> Tensor:
    """The major scale (12,) bool that holds most of the notes (N,); of several the first."""
    counts = torch.bincount(keys % 12, minlength=12)  # (12,)
    major = torch.zeros(12, dtype=torch.bool, device=keys.device)
    major[list(SCALE)] = True
    scales = torch.stack([major.roll(tonic) for tonic in range(12)])  # (12, 12)
    return scales[int((scales * counts).sum(dim=1).argmax())]
