"""What a run has reached, read from its folder."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callbacks.results import Results

from ...core import checkpoint


@dataclass(frozen=True)
class Outcome:
    """The course and the end of one run; None where the run kept no such thing.

    Attributes:
        module: its class.
        parameters: of the network.
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


def outcome(run: Path) -> Outcome:
    """Read a run folder."""
    history = _history(run)
    module, parameters, epoch = _checkpoint(run)
    losses = dict(zip(history.get("epoch", []), history.get("val_loss", []), strict=True))
    seconds = history.get("seconds") or [None]
    return Outcome(module, parameters, epoch, losses.get(epoch), seconds[-1], results(run))


def results(run: Path) -> Results:
    """The test results of a run; empty where it was not tested."""
    path = run / "results.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}
    return {
        name: {row: float("nan") if value is None else value for row, value in rows.items()}
        for name, rows in found.items()
    }


def as_json(content: Any) -> bytes:
    """As JSON has it: null where a number is not finite."""
    return json.dumps(_finite(content), indent=1, allow_nan=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _history(run: Path) -> dict[str, list[Any]]:
    path = next(iter(sorted(run.glob("*history.json"))), None)
    return dict(json.loads(path.read_text())) if path else {}


def _checkpoint(run: Path) -> tuple[str, int | None, int | None]:
    try:
        kept = checkpoint.read(run)
        name = str(kept.get("litmotif", {}).get("class", ""))
        epoch = int(kept["epoch"]) + 1
    except (FileNotFoundError, checkpoint.CheckpointError):
        return "", None, None
    try:
        return name, sum(parameter.numel() for parameter in checkpoint.load(run).parameters()), epoch
    except checkpoint.CheckpointError:  # a class of the user, which only the command's own process knows
        return name, None, epoch
