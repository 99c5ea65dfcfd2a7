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
from lightning.pytorch.utilities import rank_zero_warn

from .curves import draw_curves
from .directions import Direction, direction_of
from .files import write_atomically

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
        train_metric: the logged metric that fills ``train_metric``.
        val_metric: the logged metric that fills ``val_metric``.
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
        self.prefix = f"{name}_" if name else ""
        self.metrics = {"train_metric": train_metric, "val_metric": val_metric}
        self.window = window
        self.directions: dict[str, Direction] = dict(directions or {})
        self.plots, self.save = plots, save
        self.rows: list[Row] = []
        self._validated: Row = {}
        self._began = time.monotonic()
        self._seconds_before = 0.0
        self._drawn = -math.inf
        self._told = False

    # ------------------------------------------------------------------ collecting
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock where the last run stopped it."""
        self._began = time.monotonic()
        self._seconds_before = self.rows[-1]["seconds"] if self.rows else 0.0
        self._validated = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what this validation found; the last one of an epoch counts."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._validated = {k: v for k, v in _plain(trainer.callback_metrics).items() if k.startswith("val")}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch and write the files."""
        if getattr(trainer, "fast_dev_run", False):
            return
        logged = {
            k: v for k, v in _plain(trainer.callback_metrics).items() if not k.startswith("val")
        } | self._validated
        self._validated = {}
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "train_loss": logged.get("train/loss_epoch", logged.get("train/loss")),
            "val_loss": logged.get("val/loss"),
            **{column: logged.get(metric) if metric else None for column, metric in self.metrics.items()},
            "step": trainer.global_step,
            "seconds": round(self._seconds_before + time.monotonic() - self._began, 3),
            **logged,
        }
        self.rows = [old for old in self.rows if old["epoch"] < row["epoch"]] + [row]
        self._write(trainer, draw=time.monotonic() - self._drawn > REDRAW_SECONDS)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the whole course."""
        self._write(trainer, draw=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what there is."""
        self._write(trainer, draw=True)

    def state_dict(self) -> dict[str, Any]:
        """The epochs so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue them."""
        self.rows = list(state_dict["rows"])

    # ------------------------------------------------------------------ writing
    def _write(self, trainer: Trainer, draw: bool) -> None:
        folder = trainer.log_dir  # asks all processes, so it must not stand behind a condition on the rank
        if not (self.save and self.rows and folder and trainer.is_global_zero) or getattr(
            trainer, "fast_dev_run", False
        ):
            return
        try:
            table = self.columns()
            write_atomically(Path(folder) / f"{self.prefix}history.json", lambda file: file.write(self.to_json(table)))
            write_atomically(Path(folder) / f"{self.prefix}history.csv", lambda file: file.write(to_csv(table)))
            if draw and self.plots:
                figure = draw_curves(table, self.window, self.directions)
                path = Path(folder) / f"{self.prefix}curves.png"
                write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))
                self._drawn = time.monotonic()
        except OSError as error:
            if not self._told:
                rank_zero_warn(f"RunHistory cannot write to {folder} ({error}); training goes on without it.")
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
        known = [(value, epoch) for value, epoch in zip(column, epochs, strict=True) if _number(value)]
        if not known:
            return {}
        direction = self.directions.get(name) or direction_of(self.metrics.get(name) or name)
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


def _plain(metrics: dict[str, torch.Tensor]) -> Row:
    return {name: float(value) for name, value in metrics.items() if value.numel() == 1}


def _number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
