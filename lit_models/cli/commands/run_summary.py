"""Run summary: the course and the end of a run, read from its folder."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callbacks.provenance import OF
from callbacks.results import Results
from litmotif.bounds import read_json
from litmotif.errors import DataError
from litmotif.files import write_atomically

from ...core import checkpoint


@dataclass(frozen=True)
class RunSummary:
    """Summary of one run; None where the run kept no such thing.

    Attributes:
        best_epoch: of the best checkpoint, from 1.
        val_loss: of that epoch.
        seconds: of training, those before a resume included.
        results: of the test, each metric with its baselines.
    """

    module: str = ""
    parameters: int | None = None
    best_epoch: int | None = None
    val_loss: float | None = None
    seconds: float | None = None
    results: Results = field(default_factory=dict)


def summarise(run: Path) -> RunSummary:
    """Read a run folder."""
    path = next(iter(sorted(run.glob("*history.json"))), None)
    history = _history(path) if path else {}
    losses = dict(zip(history.get("epoch", []), history.get("val_loss", []), strict=True))
    seconds = (history.get("seconds") or [None])[-1]
    try:
        kept = checkpoint.read(run)
        epoch = int(kept["epoch"]) + 1
    except (FileNotFoundError, checkpoint.CheckpointError):
        return RunSummary(seconds=seconds, results=test_results(run))
    try:
        parameters = sum(parameter.numel() for parameter in checkpoint.load(run).parameters())
    except checkpoint.CheckpointError:  # a class of the user, which only the command's own process knows
        parameters = None
    module = str(kept.get("litmotif", {}).get("class", ""))
    return RunSummary(module, parameters, epoch, losses.get(epoch), seconds, test_results(run))


def test_results(run: Path) -> Results:
    """The test results of a run; empty where it was not tested."""
    path = run / "results.json"
    found = read_json(path) if path.is_file() else {}
    rows_of = [rows for name, rows in found.items() if name != OF] if isinstance(found, dict) else [None]
    if not all(isinstance(rows, dict) and all(map(_is_number, rows.values())) for rows in rows_of):
        raise DataError(f"{path}: no results of a test.", "Remove it, and test again.")
    return {
        name: {row: float("nan") if value is None else value for row, value in rows.items()}
        for name, rows in found.items()
        if name != OF
    }


def _history(path: Path) -> dict[str, list[Any]]:
    """The columns of a ``history.json``.

    Raises:
        DataError: it is none.
    """
    content = read_json(path)
    names = ("epoch", "val_loss", "seconds")
    columns = {name: content.get(name, []) for name in names} if isinstance(content, dict) else {}
    whole = columns and all(isinstance(column, list) and all(map(_is_number, column)) for column in columns.values())
    if not whole or len(columns["epoch"]) != len(columns["val_loss"]):
        raise DataError(f"{path}: no history of a run.", "Remove it; a resumed run writes it anew from its checkpoint.")
    return columns


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def write_json(path: Path, content: Any) -> None:
    """Write as JSON has it: null where a number is not finite."""
    write_atomically(path, json.dumps(_finite(content), indent=1, allow_nan=False).encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
