"""Trained run: its checkpoint, found by name, and its module and datamodule, built anew."""

import importlib
import inspect
import warnings
from collections.abc import Sequence
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Self

from lightning.pytorch import LightningModule, Trainer

from callbacks.results import Results, collect
from datamodules.core import BaseDataModule

from ...core import checkpoint
from ...core.hparams import unplain
from ...plugins.messages import be_quiet
from .. import configs, run_folder
from ..trust import is_own
from .run_summary import test_results

OFF = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
"""What a trainer leaves out that only evaluates."""


class TrainedRun:
    """A run that has left a checkpoint.

    Args:
        file: the checkpoint.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.folder = file.parent.parent if file.parent.name == "checkpoints" else file.parent
        self.name = "/".join(self.folder.resolve().parts[-2:])

    @classmethod
    def find(cls, which: str, requested: Sequence[str] = ()) -> Self:
        """The run that ``--ckpt_path`` and ``-c`` mean.

        Args:
            which: ``best`` or ``last`` of the newest run, a file, a run folder, or a folder of runs.
            requested: configs, only to know where the runs lie.

        Raises:
            ConfigError: no such config, or none where one is needed.
            FileNotFoundError: no such checkpoint; lists what was looked for.
        """
        if not requested and which in ("best", "last"):
            raise configs.ConfigError(f"--ckpt_path {which} needs -c NAME, or give a checkpoint file or a run folder.")
        root = Path("runs") / configs.experiment_name(list(requested))
        for name in requested:
            trainer = configs.read(configs.check(configs.find(name))).get("trainer")
            given = trainer.get("default_root_dir") if isinstance(trainer, dict) else None
            root = Path(given) if isinstance(given, str) and given else root
        return cls(run_folder.find_checkpoint(which, root, ("best", "last")))

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the checkpoint holds."""
        return checkpoint.read(self.file)

    @cached_property
    def module(self) -> Any:
        """The module, in eval mode."""
        return checkpoint.load(self.file)

    @cached_property
    def data_options(self) -> dict[str, Any]:
        """Options that the datamodule was built with; where files lie is asked of the run's own config.

        Raises:
            CheckpointError: one of them is no plain value.
        """
        options = self.content.get("datamodule_hyper_parameters", {})
        for key, value in options.items():
            if not key.startswith("_") and (fault := unplain(value)):
                raise checkpoint.CheckpointError(f"{self.file}: the option {key} of its data holds {fault}.")
        machine_bound = getattr(self.data_class, "machine_bound", ())
        found = {key: value for key, value in options.items() if key[:1] != "_" and key not in machine_bound}
        return found | {key: value for key, value in self._given.items() if key in machine_bound and key in options}

    @cached_property
    def _given(self) -> dict[str, Any]:
        """What the config of the run says of its data."""
        given = self._config_of_data.get("init_args")
        return {key: value for key, value in given.items() if not unplain(value)} if isinstance(given, dict) else {}

    @cached_property
    def _config_of_data(self) -> dict[str, Any]:
        path = self.folder / "config.yaml"
        content = configs.read(path) if path.is_file() else None
        data = content.get("data") if isinstance(content, dict) else None
        return data if isinstance(data, dict) else {}

    @cached_property
    def data_class(self) -> type[BaseDataModule] | None:
        """The class of the datamodule: a public one, or that of the run's config; None where it is not here."""
        package, path = importlib.import_module("datamodules"), self.folder / "config.yaml"
        public = [name for name in package.__all__ if name in self.content]  # its state lies under its name
        if public or not path.is_file():
            return getattr(package, public[0]) if public else None
        named = self._config_of_data.get("class_path")
        if not isinstance(named, str) or not is_own(named.partition(".")[0]):
            return None
        try:
            found = resolve_name(named)
        except (ImportError, AttributeError, ValueError):
            return None
        return found if isinstance(found, type) else None

    def datamodule(self) -> Any:
        """The datamodule, built anew.

        Raises:
            CheckpointError: its class is not known here.
        """
        if self.data_class is None:
            raise checkpoint.CheckpointError(f"{self.file}: the class of its data is not importable here.")
        return self.data_class(**self.data_options)

    def seen(self) -> dict[str, Any]:
        """What it was trained and tuned on, as its datamodule tells items apart; nothing where that cannot."""
        kept = self.content.get(getattr(self.data_class, "__name__", ""), {})
        if "seen" in kept or not hasattr(self.data_class, "seen"):
            return dict(kept.get("seen", {}))
        return dict(self.datamodule().seen())

    def require_columns(self, data: Any) -> None:
        """See that columns of the data are called what they were when the module was trained.

        Raises:
            CheckpointError: they are not: the module was trained before they changed their meaning, or on other data.
        """
        for name in ("features", "outputs"):
            known, found = checkpoint.plain(self.module.hparams.get(name)), checkpoint.plain(getattr(data, name, None))
            if known and found and known != found:
                differ = [pair for pair in zip_longest(known, found) if pair[0] != pair[1]]
                raise checkpoint.CheckpointError(
                    f"{self.file}: trained on {name} of another meaning: {len(differ)} differ, the first is "
                    f"{differ[0][0]!r} there and {differ[0][1]!r} in the data. Train it anew on this data."
                )

    def results(self) -> Results:
        """Test results; empty where it was not tested, or where those of the run are of its best checkpoint."""
        best = self.file.with_name("best.ckpt")
        return {} if best.is_file() and not best.samefile(self.file) else test_results(self.folder)

    def described_data(self, ask: bool = True) -> dict[str, Any]:
        """The data of the run: class, options, and with ``ask`` what the datamodule says of itself (``describe``)."""
        found = {"class": self.data_class and self.data_class.__name__, "options": self.data_options}
        return found | (self.datamodule().describe() if ask and hasattr(self.data_class, "describe") else {})


def public_modules(method: str) -> list[str]:
    """Names of the public modules that have a method."""
    package = importlib.import_module("lit_models")
    owners = {name: getattr(package, name) for name in package.__all__}
    return [name for name, owner in owners.items() if inspect.isclass(owner) and hasattr(owner, method)]


def evaluate(module: LightningModule, data: BaseDataModule, accelerator: str = "auto") -> Results:
    """Test results, each metric with its baselines; nothing is written."""
    with warnings.catch_warnings():
        be_quiet()
        off: dict[str, Any] = dict.fromkeys(OFF, False)
        trainer = Trainer(accelerator=accelerator, devices=1, **off)
        trainer.test(module, datamodule=data, verbose=False)
    return collect({name: float(value) for name, value in trainer.callback_metrics.items()}, "test")
