"""The run folder: one place for everything that a run leaves, found again by ``last`` and ``best``."""

import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Left:
    """What a run leaves behind, known as soon as it is chosen.

    Attributes:
        folder: the run folder.
    """

    folder: Path | None = None


CHILD = "LITMOTIF_RUN_FOLDER"
"""Tells the processes that Lightning starts which folder the first one chose."""


def versions(root: Path) -> list[Path]:
    """The run folders below ``root``, newest first."""
    found = [path for path in root.glob("version_*") if path.is_dir()]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)] or [0], reverse=True)


def choose(root: Path, resumed: Path | None) -> Path:
    """The folder of this run: that of the checkpoint it resumes, or the next version below ``root``."""
    if "LOCAL_RANK" in os.environ and CHILD in os.environ:
        return Path(os.environ[CHILD])
    if resumed is not None and resumed.parent.name == "checkpoints":
        folder = resumed.parent.parent
    elif job := os.environ.get("SLURM_JOB_ID"):
        folder = root / f"version_{job}"
    else:
        newest = next(iter(versions(root)), None)
        number = int(re.sub(r"\D", "", newest.name) or 0) + 1 if newest else 0
        folder = root / f"version_{number}"
    os.environ[CHILD] = str(folder)
    return folder


def find_checkpoint(which: str, root: Path) -> Path:
    """The checkpoint that ``--ckpt_path`` means.

    Args:
        which: ``last`` or ``best`` of the newest run below ``root`` that has one, a file, a run folder, or a folder of
            runs.
        root: where the runs of this experiment lie.

    Raises:
        FileNotFoundError: there is none; lists what was looked for.
    """
    if which in ("last", "best"):
        looked_for = [folder / "checkpoints" / f"{which}.ckpt" for folder in versions(root)]
        none = f"{root} has no run yet"
    else:
        path = Path(which)
        runs = [path, *versions(path)] if path.is_dir() else []
        looked_for = [run / "checkpoints" / f"{name}.ckpt" for run in runs for name in ("last", "best")] or [path]
        none = ""
    for candidate in looked_for:
        if candidate.is_file():
            return candidate
    places = ", ".join(str(path) for path in looked_for) or none
    raise FileNotFoundError(f"--ckpt_path {which}: no such checkpoint. Looked for: {places}.")


def place_loggers(loggers: list[MutableMapping[str, Any]], folder: Path) -> None:
    """Give the run folder to every logger of a config that does not name its own version."""
    for logger in loggers:
        kind, given = str(logger["class_path"]).rpartition(".")[2], logger["init_args"]
        if kind in ("TensorBoardLogger", "CSVLogger") and given.get("version") is None:
            place = {"save_dir": str(folder.parent), "name": "", "version": folder.name}
        elif kind == "WandbLogger" and given.get("id") is None and given.get("version") is None:
            place = {"save_dir": str(folder), "id": re.sub(r"\W+", "-", f"{folder.parent}-{folder.name}").strip("-")}
        else:
            continue
        for key, value in place.items():
            given[key] = value


def keep_metrics(folder: Path) -> None:
    """Put ``metrics.csv`` of an earlier start aside: CSVLogger would delete it."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        number = len(list(folder.glob("metrics_*.csv"))) + 1
        metrics.rename(folder / f"metrics_{number}.csv")
