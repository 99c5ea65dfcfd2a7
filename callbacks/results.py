"""The table at the end of a run: what was reached, beside what it has to be compared with."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console
from rich.table import Table

from litmotif.files import write_atomically
from litmotif.names import BOUNDS

from .provenance import OF, provenance, stand_ins

Results = dict[str, dict[str, float]]
LIMIT, ENV_STEPS, COST_RATE = "limit", "env_steps", "cost_rate_"
MOST_COLUMNS = 8
"""More metrics than that stand below one another."""


class ResultsTable(Callback):
    """Prints the metrics of a test (or of ``validate``), each beside its baselines, and writes ``results.json``.

    Beside the metrics the file says under ``of`` what they are of, see ``provenance``.

    A metric logged as ``test/success`` fills the row of the model; ``test/success/random`` fills the row ``random``;
    ``test/success/low`` and ``test/success/high`` are the bounds of its interval. Where ``test/cost_NAME/limit`` stands
    beside a cost, a line under the table names the limits that are exceeded; where the module has ``experienced()``,
    environment steps and costs, another one says what training has taken.

    Args:
        title: above the table.
        columns: metrics to show, in this order; None shows those that have a baseline or an interval, and the others
            under the table. More than 8 stand below one another.
        digits: decimals.
        percent: metrics shown in per cent.
    """

    def __init__(
        self,
        title: str | None = None,
        columns: list[str] | None = None,
        digits: int = 3,
        percent: list[str] | None = None,
    ) -> None:
        self.title, self.columns, self.digits = title, columns, digits
        self.percent = percent or []
        self._seconds, self._began = 0.0, time.monotonic()

    # ------------------------------------------------------------------ how long training has taken
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        self._seconds += time.monotonic() - self._began

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Seconds so far, those of the runs that this one resumes included."""
        if trainer.state.fn == "fit":
            seconds = self._seconds + time.monotonic() - self._began
            checkpoint["callbacks"][self.state_key] = {"seconds": seconds}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Count on from there."""
        state = checkpoint.get("callbacks", {}).get(self.state_key, {})
        self._seconds = self._seconds or state.get("seconds", 0.0)

    def _effort(self, experienced: Mapping[str, float]) -> str | None:
        """What a policy has learned from: environment steps, wall time, steps a second, and what they cost."""
        steps, seconds = experienced.get(ENV_STEPS, 0.0), self._seconds
        if not steps:
            return None
        costs = [
            f"{name.removeprefix(COST_RATE)} {rate:.3g}" for name, rate in experienced.items() if name != ENV_STEPS
        ]
        took = f" in {seconds:,.0f} s of wall time, {steps / seconds:,.0f} a second" if seconds else ""
        return f"Trained on {steps:,.0f} environment steps{took}" + (
            f"; mean cost of each of them: {', '.join(costs)}." if costs else "."
        )

    # ------------------------------------------------------------------ the table
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print and write."""
        self._report(trainer, pl_module, "test")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for a ``validate`` of its own."""
        if trainer.state.fn == "validate":
            self._report(trainer, pl_module, "val")

    def _report(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        folder = trainer.log_dir  # asks all processes, so it must not stand behind a condition on the rank
        results = collect({name: float(value) for name, value in trainer.callback_metrics.items()}, split)
        if not results or not trainer.is_global_zero:
            return
        console = Console() if sys.stdout.isatty() else Console(width=160)  # a pipe has no width of its own
        seen = " (training data)" if split in stand_ins(getattr(trainer, "datamodule", None)) else ""
        console.print(self.table(results, self.title or f"{type(pl_module).__name__}, {split}{seen}"))
        experienced: Callable[[], Mapping[str, float]] = getattr(pl_module, "experienced", dict)
        for line in filter(None, (verdict(results), self._effort(experienced()))):
            console.print(line)
        if folder and not getattr(trainer, "fast_dev_run", False):
            found: dict[str, Any] = {OF: provenance(trainer, pl_module)}
            found |= {name: {k: _json(v) for k, v in row.items()} for name, row in results.items()}
            content = json.dumps(found, indent=1, default=str)
            path = Path(folder) / ("results.json" if split == "test" else f"results_{split}.json")
            try:
                write_atomically(path, content.encode())
            except OSError as error:
                rank_zero_warn(f"ResultsTable cannot write {path}: {error}")

    def table(self, results: Results, title: str) -> Table:
        """Rows: the model, then its baselines. Columns: the metrics; the other way round where these are many."""
        shown = self._shown(results)
        rows = dict.fromkeys(["value", *(row for name in shown for row in results[name] if row not in BOUNDS)])
        names = ["model" if row == "value" else row for row in rows]
        cells = [[self.cell(results[name], row, name in self.percent) for name in shown] for row in rows]
        table = Table(title=title, caption=self._others(results, shown), caption_justify="left")
        table.add_column("")
        if len(shown) > MOST_COLUMNS:
            for name in names:
                table.add_column(name, justify="right", style="bold" if name == "model" else None)
            for name, of_name in zip(shown, zip(*cells, strict=True), strict=True):
                table.add_row(self._label(name), *of_name)
            return table
        for name in shown:
            table.add_column(self._label(name), justify="right")
        for name, of_row in zip(names, cells, strict=True):
            table.add_row(name, *of_row, style="bold" if name == "model" else None)
        return table

    def _shown(self, results: Results) -> list[str]:
        if self.columns is None:
            compared = [name for name, rows in results.items() if len(rows) > 1]
            return compared or list(results)
        missing = [name for name in self.columns if name not in results]
        if missing:
            rank_zero_warn(f"ResultsTable: columns {missing} were not logged; there are {list(results)}.")
        return [name for name in self.columns if name in results]

    def _others(self, results: Results, shown: list[str]) -> str | None:
        if self.columns is not None:
            return None
        others = [name for name in results if name not in shown]
        texts = [f"{self._label(name)} {self.cell(results[name], 'value', name in self.percent)}" for name in others]
        return ", ".join(texts) or None

    def _label(self, name: str) -> str:
        return name.replace("_", " ") + (", %" if name in self.percent else "")

    def cell(self, values: dict[str, float], row: str, percent: bool = False) -> str:
        """A number as it is shown, that of the model with its interval."""
        if math.isnan(values.get(row, math.nan)):
            return "—"
        factor, digits = (100.0, max(0, self.digits - 2)) if percent else (1.0, self.digits)
        text = _number(factor * values[row], digits)
        if row == "value" and all(math.isfinite(values.get(bound, math.nan)) for bound in BOUNDS):
            text += " [" + ", ".join(_number(factor * values[bound], digits) for bound in BOUNDS) + "]"
        return text


def verdict(results: Results) -> str | None:
    """Names the limits that are exceeded, and those that are kept; None where there are none."""
    limited = {name: rows for name, rows in results.items() if LIMIT in rows}
    said = {name.removeprefix("cost_"): (rows["value"], rows[LIMIT]) for name, rows in limited.items()}
    over = [f"{name} {value:.3g} > {limit:.3g}" for name, (value, limit) in said.items() if not value <= limit]
    kept = [f"{name} {value:.3g} <= {limit:.3g}" for name, (value, limit) in said.items() if value <= limit]
    words = {"Limits exceeded": over, "All limits kept" if not over else "kept": kept}
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in words.items() if names) + "." if said else None


def _number(value: float, digits: int) -> str:
    """Fixed decimals, unless they would hide that a number is not 0, or run on."""
    if value and not 10**-digits / 2 <= abs(value) < 1e5:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def collect(metrics: dict[str, float], split: str) -> Results:
    """Sort ``split/metric`` and ``split/metric/row``, or a plain ``split_metric``, into one dictionary a metric."""
    results: Results = {}
    for name, value in metrics.items():
        prefix, _, rest = name.partition("/" if "/" in name else "_")
        if prefix == split and rest:
            metric, _, row = rest.partition("/")
            results.setdefault(metric, {})[row or "value"] = value
    return {metric: rows for metric, rows in results.items() if "value" in rows}


def _json(value: float) -> Any:
    return value if math.isfinite(value) else None
