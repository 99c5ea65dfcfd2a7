"""Run summary: the course and the end of a run, read from its folder."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callbacks.provenance import OF
from callbacks.results import Results
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
    history = json.loads(path.read_text()) if path else {}
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
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return {
        name: {row: float("nan") if value is None else value for row, value in rows.items()}
        for name, rows in found.items()
        if name != OF
    }


def write_json(path: Path, content: Any) -> None:
    """Write as JSON has it: null where a number is not finite."""
    write_atomically(path, json.dumps(_finite(content), indent=1, allow_nan=False).encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
