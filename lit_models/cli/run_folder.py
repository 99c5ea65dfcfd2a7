"""Run folder: one place for everything that a run leaves, found again by ``last`` and ``best``."""

import os
import secrets
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import dict_to_namespace

from litmotif.files import write_atomically

from ..core.checkpoint import LAST, PREVIOUS, predecessor
from ..plugins.callbacks import SHIPPED
from .run_claim import Hold, slurm_job, versions


@dataclass
class RunArtifacts:
    """Artifacts of a run, known as soon as they are.

    Attributes:
        folder: the run folder.
        since: when the command began, in seconds of the clock: what is older is of another run.
        unsaved: checkpoints whose latest save failed, each with the reason.
        hold: on the folder, where a fit of this process writes to it.
        page: says what the numbers of the module mean; None where it has none.
    """

    folder: Path | None = None
    since: float = field(default_factory=time.time)
    unsaved: dict[Path, str] = field(default_factory=dict)
    hold: Hold | None = None
    page: Path | None = None

    def let_go(self) -> None:
        """Have another process go on in the folder."""
        if self.hold is not None:
            self.hold.release()


RUNS = "runs"
FOLDERED = ("TensorBoardLogger", "CSVLogger")
"""Loggers that write to ``save_dir/name/version``."""
LIGHTNINGS_NAME = "lightning_logs"
"""The ``name`` of a logger that nobody has named."""
JOBS = "slurm_jobs"
"""File of a run folder: the cluster jobs that have worked in it, one a line."""


def root(trainer: Mapping[str, Any], name: str | None, experiment: str) -> Path:
    """Where the runs of an experiment lie.

    Args:
        trainer: its options; ``default_root_dir`` is the place itself, the first logger's ``save_dir`` and ``name``
            stand for ``runs`` and the name of the experiment.
        name: asked for by ``--name``.
        experiment: the name that follows from the configs.
    """
    if trainer.get("default_root_dir"):
        return Path(trainer["default_root_dir"])
    first = next(iter(configured(trainer.get("logger"))), None)
    given = first["init_args"] if first is not None and _kind(first) in FOLDERED else {}
    of_logger = given.get("name") if given.get("name") != LIGHTNINGS_NAME else None
    return Path(given.get("save_dir") or RUNS) / (name or of_logger or experiment)


def record_job(folder: Path) -> None:
    """Write down which cluster job works here, so that it finds its run again when it is requeued."""
    if job := slurm_job():
        with (folder / JOBS).open("a") as file:
            file.write(f"{job}\n")


def of_requeued_job(root: Path) -> str | None:
    """The newest checkpoint of the run that this job worked at before it was requeued, if there is any."""
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    mine = (run for run in versions(root) if (run / JOBS).is_file() and slurm_job() in (run / JOBS).read_text().split())
    found = [run / "checkpoints" / name for run in mine for name in (LAST, PREVIOUS)]
    return next((str(path) for path in found if path.is_file()), None)


def find_checkpoint(which: str, root: Path, preferred: tuple[str, ...] = ("last", "best")) -> Path:
    """The checkpoint that ``--ckpt_path`` means.

    Args:
        which: ``last`` or ``best`` of the newest run below ``root`` that has one, a file, a run folder, or a folder of
            runs.
        root: where the runs of this experiment lie.
        preferred: which checkpoint of a run folder, first choice first.

    Raises:
        FileNotFoundError: there is none; lists what was looked for.
    """
    path, newest = Path(which), which in ("last", "best")
    runs = versions(root) if newest else [path, *versions(path)] if path.is_dir() else []
    names = (which,) if newest else preferred
    looked_for = [run / "checkpoints" / f"{name}.ckpt" for run in runs for name in names] or [path] * (not newest)
    for candidate in looked_for:
        for file in (candidate, predecessor(candidate)):
            if file is not None and file.is_file():
                return file
    places = ", ".join(map(str, looked_for)) or f"{root} has no run yet"
    raise FileNotFoundError(f"--ckpt_path {which}: no such checkpoint. Looked for: {places}.")


def place(trainer: MutableMapping[str, Any], folder: Path, checkpoints: Path | None = None) -> None:
    """Give the run folder to the trainer, to each logger without a version, and to each ``dirpath`` left open.

    A trainer without a logger, or without checkpoints, is left without what ``configs/defaults.yaml`` has for them.

    Args:
        trainer: its config, changed in place.
        folder: of the run.
        checkpoints: where they lie; None: in ``folder``.
    """
    trainer["default_root_dir"] = str(folder)
    if trainer.get("logger") in (True, None):
        trainer["logger"] = dict_to_namespace(
            {"class_path": f"lightning.pytorch.loggers.{FOLDERED[0]}", "init_args": {}}
        )
    if isinstance(trainer.get("callbacks"), list):
        busy = [each for each in trainer["callbacks"] if not _is_idle(each, trainer)]
        trainer["callbacks"] = sorted(busy, key=_place_in_line)
    for logger in configured(trainer.get("logger")):
        kind, given = _kind(logger), logger["init_args"]
        values: dict[str, str] = {}
        if kind in FOLDERED and given.get("version") is None:
            values = {"save_dir": str(folder.parent), "name": "", "version": folder.name}
        elif kind == "WandbLogger" and given.get("id") is None and given.get("version") is None:
            values = {"save_dir": str(folder)} if given.get("save_dir") in (None, ".", RUNS) else {}
            values |= {} if trainer.get("fast_dev_run") else {"id": _wandb_id(folder)}
        for key, value in values.items():
            given[key] = value
    for callback in configured(trainer.get("callbacks")):
        given = callback.get("init_args") or {}
        if "dirpath" in given and given["dirpath"] is None:
            given["dirpath"] = str(
                checkpoints or folder / "checkpoints"
            )  # where Lightning puts it hangs on the first logger


def _is_idle(callback: Any, trainer: Mapping[str, Any]) -> bool:
    """Whether a callback of ``configs/defaults.yaml`` has nothing to do, for which Lightning would refuse it."""
    if _kind(callback) == "LearningRateMonitor":
        return not trainer.get("logger")
    shipped = _kind(callback) == "ModelCheckpoint" and callback["init_args"].get("filename") in SHIPPED
    return shipped and trainer.get("enable_checkpointing") is False


def _place_in_line(callback: Any) -> int:
    """0, or later for ``last.ckpt``, which holds the state of the other checkpoints, and for what saves by it."""
    if _kind(callback) == "ModelCheckpoint":
        return int(callback["init_args"].get("filename") == SHIPPED[1])
    return 2 * (_kind(callback) == "Requeue")


def _kind(item: Any) -> str:
    return str(item["class_path"]).rpartition(".")[2] if hasattr(item, "class_path") else ""


def configured(value: Any) -> list[Any]:
    """Classes of a config: one, or those of a list."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if hasattr(item, "class_path")]


def _wandb_id(folder: Path) -> str:
    """A resumed run goes on under its id."""
    kept = folder / "wandb_id"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, secrets.token_hex(4).encode())
    return kept.read_text()


def keep_metrics(folder: Path) -> None:
    """Put ``metrics.csv`` of an earlier start aside: CSVLogger would delete it."""
    metrics = folder / "metrics.csv"
    if metrics.is_file():
        number = len(list(folder.glob("metrics_*.csv"))) + 1
        metrics.rename(folder / f"metrics_{number}.csv")
