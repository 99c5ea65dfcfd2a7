"""A trained run as objects: its data, its module, a trainer that judges."""

import inspect
import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer

from callbacks.results import Results, collect
from datamodules.core import BaseDataModule

from ...core import checkpoint
from .. import configs
from ..app import import_public
from ..run import be_quiet
from .options import key_of

HOMES = ("lit_models", "datamodules")


def public_modules() -> dict[str, Any]:
    """The public modules by name."""
    home = import_module(HOMES[0])
    return {name: owner for name in home.__all__ if inspect.isclass(owner := getattr(home, name))}


def class_named(name: str) -> type[Any]:
    """A class by its dotted path, or a public one by its name.

    Raises:
        ConfigError: there is none.
    """
    import_public()
    for path in (name, *(f"{home}.{name}" for home in HOMES)):
        try:
            found = resolve_name(path)
        except (ImportError, AttributeError, ValueError):
            continue
        if inspect.isclass(found):
            return found
    raise configs.ConfigError(f"there is no class {name!r}. See litmotif list.")


def class_of(part: str, requested: Sequence[str], overrides: Sequence[str]) -> type[Any]:
    """The class that a request asks for.

    Args:
        part: ``model`` or ``data``.
        requested: configs, laid over each other.
        overrides: of the command line, which win.

    Raises:
        ConfigError: none is named, or there is none of that name.
    """
    named = None
    for name in requested:
        content = yaml.safe_load(configs.check(configs.find(name)).read_text())
        given = content.get(part)
        named = (given.get("class_path", named) if isinstance(given, dict) else given) or named
    for token, value in zip_longest(overrides, overrides[1:], fillvalue=""):
        if key_of(token) in (f"--{part}", f"--{part}.class_path"):
            named = token.partition("=")[2] or value
    if named is None:
        raise configs.ConfigError(
            f"{' '.join(requested)}: no {part}.class_path. Name a config of an experiment with -c."
        )
    return class_named(str(named))


def takes(owner: type[Any], *names: str) -> bool:
    """Whether a constructor has these parameters, by itself or by what it hands on."""
    known = {
        name for base in owner.__mro__ for name in inspect.signature(vars(base).get("__init__", object)).parameters
    }
    return known >= set(names)


def data_of(run: Path) -> BaseDataModule:
    """The datamodule that a run was trained on, built anew from its config and its checkpoint.

    Raises:
        FileNotFoundError: the folder has no config or no checkpoint.
    """
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {run} is no run folder of litmotif fit.")
    owner = class_named(yaml.safe_load(path.read_text())["data"]["class_path"])
    made = owner(**checkpoint.read(run)["datamodule_hyper_parameters"])
    assert isinstance(made, BaseDataModule)  # noqa: S101 for mypy
    return made


def judge(module: LightningModule, data: BaseDataModule, accelerator: str = "auto") -> Results:
    """Test results, each metric with its baselines; nothing is written."""
    with warnings.catch_warnings():
        be_quiet()
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.test(module, datamodule=data, verbose=False)
    return collect({name: float(value) for name, value in trainer.callback_metrics.items()}, "test")
