"""Provenance of results: of which checkpoint, data, seed and version of the code they are, and when they were found."""

import datetime
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lightning.pytorch import LightningModule, Trainer

PLAIN = (bool, int, float, str, type(None), list, dict, tuple)
OF = "of"
"""Key of ``results.json`` under which it stands, beside the metrics."""


def provenance(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """What the numbers of a test or a validation are of.

    Returns:
        ``module``, ``checkpoint`` (null: the weights in memory), ``step``, ``data`` with its class and options,
        ``training_data`` (splits for which training data stands in), ``seed``, ``version``, ``commit`` of the folder
        that the command runs in (null outside of a repository), ``time`` in UTC.
    """
    data = getattr(trainer, "datamodule", None)
    options = {key: value for key, value in getattr(data, "hparams", {}).items() if type(value) in PLAIN}
    return {
        "module": type(module).__name__,
        "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        "step": trainer.global_step,
        "data": {"class": None if data is None else type(data).__name__, "options": options},
        "training_data": stand_ins(data),
        "seed": module.hparams.get("seed"),
        "version": _version(),
        "commit": _commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def stand_ins(data: Any) -> list[str]:
    """Held-out splits of which a datamodule has nothing, so that its training data stands in for them."""
    options = getattr(data, "hparams", {})
    return [
        split for split in ("val", "test") if split in options and not options[split] and options[split] is not None
    ]


def _version() -> str | None:
    try:
        return version("litmotif")
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "rev-parse", "HEAD"]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10)  # noqa: S603
    return said.stdout.strip() or None
