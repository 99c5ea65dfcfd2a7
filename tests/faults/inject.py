"""What goes wrong inside a run: a callback that every run carries, and that does nothing unless told to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback

from lit_models.core.checkpoint import LAST

from ..launcher import READY

FAULT = "LITMOTIF_FAULT"
"""JSON of a fault: its ``kind``, and the ``batch`` (from 1, of this process) or the file ``operation`` it comes at."""
OPERATIONS = ("open", "os.rename", "os.link", "os.remove", "os.mkdir")
PLACES = ("start", "backward", "end", "epoch")
YEAR = 365 * 24 * 3600.0


class WorkerError(Exception):
    """Of the data."""


def kill() -> None:
    """No handler, no buffer, no ``finally`` outlives this."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def listen(folder: str, number: int = 0, saves: int = 0) -> list[int]:
    """Count operations on files below the folder; kill before the n-th, or before the first after so many saves."""
    count, saved = [0], [0]

    def hear(event: str, arguments: tuple) -> None:
        path = arguments[0] if event in OPERATIONS else None
        if not isinstance(path, str | os.PathLike) or folder not in str(path):
            return
        count[0] += 1
        if count[0] == number or saved[0] == saves > 0:
            kill()
        saved[0] += event == "os.rename" and str(arguments[1]).endswith(LAST)

    sys.addaudithook(hear)
    return count


class Inject(Callback):
    """Does what ``LITMOTIF_FAULT`` asks for."""

    def __init__(self) -> None:
        self.fault = json.loads(os.environ.get(FAULT, "{}"))
        self.kind, self.batches = self.fault.get("kind"), 0
        numbers = self.fault.get("operation", 0), self.fault.get("saves", 0)
        self.operations = listen(f"{os.path.sep}runs", *numbers) if self.fault else [0]

    def setup(self, trainer, pl_module, stage):
        """Spoil what the loaders' processes will inherit."""
        if self.kind == "worker" and stage == "fit":
            from datamodules.core import _Gathered

            gather, calls = _Gathered.__getitems__, []

            def failing(self_, draws):
                calls.append(draws)
                if len(calls) == self.fault["batch"]:
                    raise WorkerError("of the data")
                return gather(self_, draws)

            _Gathered.__getitems__ = failing

    def on_train_start(self, trainer, pl_module):
        """Tell the launcher."""
        if READY in os.environ:
            os.write(int(os.environ[READY]), b"x")

    def _now(self, place: str) -> bool:
        return self.batches == self.fault.get("batch") and place == self.fault.get("place", "backward")

    def _do(self, place: str) -> None:
        if not self._now(place):
            return
        if self.kind == "kill":
            kill()
        elif self.kind == "signal":
            os.kill(os.getpid(), self.fault["signal"])
        elif self.kind == "clock":
            clock, jump = time.time, self.fault["years"] * YEAR
            time.time = lambda: clock() + jump
        elif self.kind == "disk":
            trouble(Path(self.fault["folder"]), self.fault["trouble"])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches += 1
        self._do("start")
        if self.kind in ("nan", "worker") and self.batches == self.fault["batch"] and hasattr(batch, "collect"):
            self._spoil(batch)
        elif not pl_module.automatic_optimization:
            self._during(batch)

    def on_before_backward(self, trainer, pl_module, loss):
        self._do("backward")
        if self.kind == "nan" and self.batches == self.fault["batch"]:
            loss.data.fill_(torch.nan)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._do("end")

    def on_train_epoch_end(self, trainer, pl_module):
        self._do("epoch")

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self._break_off(trainer, "batch")

    def on_validation_end(self, trainer, pl_module):
        self._break_off(trainer, "end")

    def _break_off(self, trainer, place: str) -> None:
        wanted = self.fault.get("epoch"), self.fault.get("place")
        if self.kind == "validation" and trainer.state.fn == "fit" and wanted == (trainer.current_epoch, place):
            raise KeyboardInterrupt if self.fault["interrupt"] else WorkerError("of the validation")

    def on_fit_end(self, trainer, pl_module):
        """Leave the numbers that later faults are drawn from."""
        if self.kind == "count":
            counted = {"batches": self.batches, "operations": self.operations[0]}
            Path(self.fault["file"]).write_text(json.dumps(counted))

    def _during(self, batch):
        """In the middle of a rollout, where there is no ``backward``."""
        collect = type(batch).collect

        def interrupted(*args, **kwargs):
            rollout = collect(batch, *args, **kwargs)
            self._do("backward")
            return rollout

        batch.collect = interrupted

    def _spoil(self, batch):
        collect = type(batch).collect

        def spoiled(*args, **kwargs):
            if self.kind == "worker":
                raise WorkerError("of the data")
            rollout = collect(batch, *args, **kwargs)
            return rollout._replace(reward=rollout.reward * torch.nan)

        batch.collect = spoiled


def trouble(folder: Path, kind: str) -> None:
    """Fill up the file system of a folder, or protect it from writing."""
    if kind == "full":
        with (folder / "filler").open("wb", buffering=0) as file:
            block = bytes(4096)
            try:
                while True:
                    file.write(block)
            except OSError:
                return
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)  # noqa: S607
