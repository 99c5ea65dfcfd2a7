"""The course of a run: every logged metric of every epoch, in files that people and programs can read."""

import csv
import io
import json
import math
import time
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn

from litmotif.errors import ArgumentError
from litmotif.files import write_atomically

from .curves import draw_curves
from .directions import Direction, direction_of
from .pictures import to_png
from .provenance import stand_ins

Row = dict[str, Any]
REQUIRED = ("epoch", "train_loss", "val_loss", "train_metric", "val_metric")
REDRAW_SECONDS = 120.0


class RunHistory(Callback):
    """Writes ``history.json``, ``history.csv`` and ``curves.png`` into the run folder.

    Both files begin with the columns ``epoch`` (from 1), ``train_loss``, ``val_loss``, ``train_metric`` and
    ``val_metric``; then ``step``, ``seconds`` and each logged metric under its own name, null where an epoch did not
    log it. The JSON adds ``moving_average`` (the same columns, smoothed) and ``summary`` (best value and epoch of each
    metric). A resumed run continues the files; one resumed from an earlier epoch drops the later ones.

    Args:
        name: put in front of the file names, as ``{name}_history.json``.
        train_metric: the logged metric that fills ``train_metric``; None takes that of training which the module names
            as its ``headline``, if it does.
        val_metric: the logged metric that fills ``val_metric``; None takes that of validation.
        window: epochs of the moving average.
        directions: ``min`` or ``max`` for metrics whose name does not tell which is better.
        plots: draw ``curves.png``.
        save: write the files.
    """

    def __init__(
        self,
        name: str | None = None,
        train_metric: str | None = None,
        val_metric: str | None = None,
        window: int = 5,
        directions: dict[str, Literal["min", "max"]] | None = None,
        plots: bool = True,
        save: bool = True,
    ) -> None:
        if window < 1:
            raise ArgumentError(f"window={window}: choose at least 1 epoch.")
        self.prefix = f"{name}_" if name else ""
        self.metrics = {"train_metric": train_metric, "val_metric": val_metric}
        self.window = window
        self.directions: dict[str, Direction] = dict(directions or {})
        self.plots, self.save = plots, save
        self.rows: list[Row] = []
        self._pending: Row = {}
        self._ended: int | None = None
        self._stale: dict[str, torch.Tensor] = {}
        self._folder: str | None = None
        self._began = time.monotonic()
        self._seconds_before = 0.0
        self._drawn = -math.inf
        self._told = False
        self._trained_on: list[str] = []

    # ------------------------------------------------------------------ collecting
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock where the last run stopped it."""
        headline = getattr(pl_module, "headline", None) or "loss"
        self._trained_on = stand_ins(getattr(trainer, "datamodule", None))
        for split in ("train", "val"):
            self.metrics[f"{split}_metric"] = self.metrics[f"{split}_metric"] or f"{split}/{headline}"
        self._folder = None if getattr(trainer, "fast_dev_run", False) else trainer.log_dir  # asked on every rank
        self._began = time.monotonic()
        self._seconds_before = self.rows[-1]["seconds"] if self.rows else 0.0
        self._stale, self._ended = {}, None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch that has ended, with what its end has logged; from here on that is old."""
        self._complete(trainer)
        if self._ended is not None:
            self._write(trainer, draw=time.monotonic() - self._drawn > REDRAW_SECONDS)
        self._ended, self._pending = None, {}
        self._stale = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what this validation found, also for a checkpoint of this moment."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._pending |= {k: v for k, v in self._fresh(trainer).items() if k.startswith("val")}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch; the module logs the means of its training after this."""
        self._ended = trainer.current_epoch + 1
        self.rows = [old for old in self.rows if old["epoch"] < self._ended]
        self._complete(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take what the module logged at the very end of its last epoch."""
        self._complete(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the whole course, and give TensorBoard the metric of its table of hyper-parameters."""
        self._write(trainer, draw=True)
        reached = [row[key] for key in ("train_metric", "val_metric") for row in self.rows if row[key] is not None]
        for logger in trainer.loggers if reached else ():
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics({"hp_metric": reached[-1]}, trainer.global_step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what there is."""
        self._complete(trainer)
        self._write(trainer, draw=True)

    def _fresh(self, trainer: Trainer) -> Row:
        """What this epoch logged: Lightning keeps the values of earlier ones, as the same tensors."""
        metrics = trainer.callback_metrics.items()
        return {k: float(v) for k, v in metrics if v.numel() == 1 and v is not self._stale.get(k)}

    def _complete(self, trainer: Trainer) -> None:
        """Enter the epoch that has ended, again when the module's own ``on_train_epoch_end`` has logged more."""
        if self._ended is None:
            return
        known = self.rows[-1] if self.rows and self.rows[-1]["epoch"] == self._ended else {}
        logged = known | self._pending | self._fresh(trainer)
        losses = {"train_metric": "train/loss", "val_metric": "val/loss"}
        headlines = {
            column: logged.get(str(metric), logged.get(f"{metric}_epoch", logged.get(losses[column])))
            for column, metric in self.metrics.items()
        }
        required: Row = {
            "epoch": self._ended,
            "train_loss": logged.get("train/loss_epoch", logged.get("train/loss")),
            "val_loss": logged.get("val/loss"),
            **headlines,
            "step": known.get("step", trainer.global_step),
            "seconds": known.get("seconds", round(self._seconds_before + time.monotonic() - self._began, 3)),
        }
        self.rows = [old for old in self.rows if old is not known] + [required | logged | required]

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """The epochs so far, that which has just ended included, and what the present one has logged."""
        if trainer.state.fn == "fit":
            self._complete(trainer)
            fresh, trained = self._fresh(trainer), trainer.validating  # one step's is no mean, but the last one's stays
            once = [k for k in fresh if not k.startswith("train") or (trained and f"{k}_step" not in fresh)]
            pending = self._pending | {k: fresh[k] for k in once}
            checkpoint["callbacks"][self.state_key] = {"rows": self.rows, "pending": pending}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue them in a fit; a test of an earlier checkpoint leaves them alone."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        if state and trainer.state.fn == "fit":
            self.rows, self._pending = list(state["rows"]), dict(state["pending"])

    # ------------------------------------------------------------------ writing
    def _write(self, trainer: Trainer, draw: bool) -> None:
        if not (self.save and self.rows and self._folder and trainer.is_global_zero):
            return
        table = self.columns()
        files = {"history.json": self.to_json(table), "history.csv": to_csv(table)}
        if draw and self.plots:
            files["curves.png"] = to_png(draw_curves(table, self.window, self.directions, self._trained_on))
            self._drawn = time.monotonic()
        try:
            for name, content in files.items():
                write_atomically(Path(self._folder) / f"{self.prefix}{name}", content)
        except OSError as error:
            if not self._told:
                rank_zero_warn(f"RunHistory cannot write to {self._folder} ({error}); training goes on without it.")
            self._told = True

    def columns(self) -> dict[str, list[Any]]:
        """One list a column, all of the same length."""
        names = dict.fromkeys([*REQUIRED, *(name for row in self.rows for name in row)])
        return {name: [row.get(name) for row in self.rows] for name in names}

    def to_json(self, table: dict[str, list[Any]]) -> bytes:
        """The columns, their moving averages and the best values."""
        numbers = {name: column for name, column in table.items() if name not in ("epoch", "step", "seconds")}
        smooth = {name: moving_average(column, self.window) for name, column in numbers.items()}
        summary = {name: self._best(name, column, table["epoch"]) for name, column in numbers.items()}
        content = _without_nan({**table, "moving_average": smooth, "summary": summary})
        return json.dumps(content, indent=1, allow_nan=False).encode()

    def _best(self, name: str, column: list[Any], epochs: list[int]) -> dict[str, Any]:
        metric = self.metrics.get(name) or name
        known = [(value, epoch) for value, epoch in zip(column, epochs, strict=True) if _number(value)]
        if not known:
            return {}
        direction = self.directions.get(metric) or direction_of(metric)
        if direction is None:
            return {"min": _end(known, "min"), "max": _end(known, "max")}
        return {"direction": direction, "best": _end(known, direction)}


def _end(known: list[tuple[float, int]], direction: Direction) -> dict[str, Any]:
    value, epoch = min(known) if direction == "min" else max(known, key=lambda pair: (pair[0], -pair[1]))
    return {"value": value, "epoch": epoch}


def moving_average(column: list[Any], window: int) -> list[float | None]:
    """Mean of the last ``window`` numbers up to each place; null where there is no number yet."""
    smooth: list[float | None] = []
    recent: list[float] = []
    for value in column:
        if _number(value):
            recent = [*recent, float(value)][-window:]
        smooth.append(sum(recent) / len(recent) if recent else None)
    return smooth


def to_csv(table: dict[str, list[Any]]) -> bytes:
    """The columns as comma-separated values, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue().encode()


def _number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
