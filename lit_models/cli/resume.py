"""What a checkpoint was made with, against what is asked for now.

Defaults give way to config files, these to the checkpoint, and the checkpoint to the command line.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from rich.markup import escape
from rich.table import Table

from ..core.checkpoint import CheckpointError, plain
from .console import console


class Difference(NamedTuple):
    """A key whose value in the checkpoint is not the one in the config or on the command line."""

    key: str
    checkpoint: Any
    requested: Any
    explicit: bool

    @property
    def used(self) -> Any:
        """The value that wins."""
        return self.requested if self.explicit else self.checkpoint


def reconcile(
    config: MutableMapping[str, Any], checkpoint: Mapping[str, Any], path: Path, overrides: list[str], linked: set[str]
) -> None:
    """Take the checkpoint's hyper-parameters into the config, except where the command line speaks; show the rest.

    Args:
        config: of the subcommand; changed in place.
        checkpoint: what is resumed.
        path: where it comes from.
        overrides: what stands on the command line besides configs.
        linked: init arguments of the module that the data will fill.

    Raises:
        CheckpointError: another class, or the command line asks for another architecture.
    """
    model_type = resolve_name(config["model"]["class_path"])
    written = checkpoint.get("litmotif", {}).get("class")
    if written != model_type.__name__:
        asked = f"the config asks for {model_type.__name__}"
        raise CheckpointError(f"{path} holds a {written or 'foreign module'}; {asked}. Choose the config of that run.")
    found = []
    for part, saved in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
        hparams = checkpoint.get(saved, {})
        if part == "data" and config["data"]["class_path"].rpartition(".")[2] not in checkpoint:
            continue  # Lightning keeps the state of the data under its class: of other data, options mean other things
        init_args = config[part]["init_args"]
        skipped = linked if part == "model" else ()
        differ = differences(part, hparams, init_args, explicit_keys(overrides, part), skipped)
        if part == "model":
            refuse_architecture(differ, model_type.architecture)
        adopt(differ, init_args)
        found += differ
    config["seed_everything"] = config["model"]["init_args"].get("seed", config["seed_everything"])
    show(found)


def explicit_keys(arguments: list[str], part: str) -> set[str]:
    """The init arguments of ``part`` (``model`` or ``data``) that the command line names, itself or by a link."""
    keys = set()
    for token in arguments:
        name = token.partition("=")[0]
        if name == "--seed_everything":
            keys.add("seed")
        elif name.startswith(f"--{part}."):
            keys.add(name.removeprefix(f"--{part}.").removeprefix("init_args.").partition(".")[0])
    return keys


def differences(
    part: str, saved: Mapping[str, Any], requested: Mapping[str, Any], explicit: set[str], skipped: Iterable[str] = ()
) -> list[Difference]:
    """Compare the hyper-parameters of a checkpoint with the init arguments of now, key by key but for ``skipped``."""
    return [
        Difference(f"{part}.{key}", saved[key], value, key in explicit)
        for key, value in requested.items()
        if key in saved and key not in skipped and plain(saved[key]) != plain(value)
    ]


def refuse_architecture(found: list[Difference], architecture: frozenset[str]) -> None:
    """A network cannot change its shape on the way.

    Raises:
        CheckpointError: the command line asks for another value; names the key and both.
    """
    for difference in found:
        if difference.explicit and difference.key.removeprefix("model.") in architecture:
            raise CheckpointError(
                f"--{difference.key} {difference.requested}: the checkpoint's network was built with "
                f"{difference.checkpoint}. Leave the option out, or train a new model without --ckpt_path."
            )


def adopt(found: list[Difference], init_args: MutableMapping[str, Any]) -> None:
    """Take over the checkpoint's values where the command line says nothing."""
    for difference in found:
        if not difference.explicit:
            init_args[difference.key.partition(".")[2]] = difference.checkpoint


@rank_zero_only
def show(found: list[Difference]) -> None:
    """Print what differs, and which value is used."""
    if not found:
        return
    table = Table(title="checkpoint and request differ")
    for column in ("key", "checkpoint", "requested", "used", "because"):
        table.add_column(column)
    for difference in found:
        because = "the command line wins" if difference.explicit else "the run goes on as it was"
        values = (difference.checkpoint, difference.requested, difference.used)
        table.add_row(difference.key, *(escape(str(plain(value))) for value in values), because)
    console(stderr=True).print(table)
