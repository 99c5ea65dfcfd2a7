"""Hyper-parameters of a resumed run: those of the checkpoint against those asked for now.

Defaults give way to config files, these to the checkpoint, and the checkpoint to the command line.
"""

from collections.abc import Mapping, MutableMapping, Set
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_only
from rich.markup import escape
from rich.table import Table

from ..core.checkpoint import CheckpointError, class_name, plain, written_hparams
from ..core.hparams import flat, unplain
from ..core.module import BaseModule
from .tables import console

SETTINGS = ("cache_dir", "workers")
"""How keys end that change nothing but the speed."""


class Difference(NamedTuple):
    """A key whose value in the checkpoint is not the one in the config or on the command line."""

    key: str
    checkpoint: Any
    requested: Any
    used: Any
    explicit: bool


def reconcile(
    config: MutableMapping[str, Any], checkpoint: Mapping[str, Any], path: Path, overrides: list[str], linked: Set[str]
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
    model_class = resolve_name(config["model"]["class_path"])
    written = class_name(checkpoint)
    plain_one = not written and not issubclass(model_class, BaseModule)  # Lightning writes down no class
    if written != model_class.__name__ and not plain_one:
        asked = f"the config asks for {model_class.__name__}"
        raise CheckpointError(f"{path} holds a {written or 'foreign module'}; {asked}. Choose the config of that run.")
    own = {"hyper_parameters": _hparams(checkpoint, "hyper_parameters", path)}
    saved = flat(model_class, written_hparams(own, model_class))
    shaping: Set[str] = frozenset() if plain_one else model_class.shaping()
    found = _differences("model", saved, config, overrides, linked)
    for difference in found:
        if difference.explicit and difference.key.removeprefix("model.") in shaping:
            raise CheckpointError(
                f"--{difference.key} {difference.requested}: the checkpoint's network was built with "
                f"{difference.checkpoint}. Leave the option out, or train a new model without --ckpt_path."
            )
    data = config.get("data")
    if data and data["class_path"].rpartition(".")[2] in checkpoint:  # Lightning keeps the state of data under its
        hparams = _hparams(checkpoint, "datamodule_hyper_parameters", path)  # class: options of other data mean other
        found += _differences("data", hparams, config, overrides)  # things
    named = getattr(resolve_name(data["class_path"]), "machine_bound", ()) if data else ()
    machine_bound = {f"data.{key}" for key in named}
    found = [difference for difference in found if not _stays_here(difference, machine_bound, path)]
    for difference in found:
        part, _, key = difference.key.partition(".")
        config[part]["init_args"][key] = difference.used
    config["seed_everything"] = (config["model"].get("init_args") or {}).get("seed", config["seed_everything"])
    _show(found)


def _hparams(checkpoint: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    """Hyper-parameters of a checkpoint: plain values, from which no class is ever made.

    Raises:
        CheckpointError: they are no such thing.
    """
    found = checkpoint.get(key, {})
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: {key} is no dictionary. Take another checkpoint.")
    for name, value in found.items():
        if (fault := unplain(value)) and not str(name).startswith("_"):
            raise CheckpointError(f"{path}: {key}.{name} holds {fault}: it was not taken. Take another checkpoint.")
    return found


def _stays_here(difference: Difference, machine_bound: Set[str], path: Path) -> bool:
    """Whether this machine's value stays, whatever the checkpoint says: where data lie is no matter of the model.

    Raises:
        CheckpointError: the run had files of its own there, and the request names none.
    """
    was, now = difference.checkpoint, difference.requested
    if difference.explicit or not (difference.key in machine_bound or _is_elsewhere(was)):
        return False
    if now is None and not difference.key.endswith(SETTINGS):
        raise CheckpointError(
            f"{path}: the run was given --{difference.key} ({was}), and this request is not: a path of a checkpoint is "
            f"not taken. Say --{difference.key} PATH, or -c with the config.yaml of the run."
        )
    return True


def _is_elsewhere(value: Any) -> bool:
    return isinstance(value, str) and (Path(value).is_absolute() or value.startswith("~") or ".." in Path(value).parts)


def _differences(
    part: str, saved: Mapping[str, Any], config: Mapping[str, Any], overrides: list[str], linked: Set[str] = frozenset()
) -> list[Difference]:
    """Compare the hyper-parameters of ``model`` or ``data`` key by key, the options of a group each by itself."""
    explicit = _explicit_keys(overrides, part)
    found = []
    for key, value in (config[part].get("init_args") or {}).items():
        if key in saved and key not in linked and plain(saved[key]) != plain(value):
            spoken = any(f"{key}.".startswith(f"{name}.") or name.startswith(f"{key}.") for name in explicit)
            found.append(Difference(f"{part}.{key}", saved[key], value, value if spoken else saved[key], spoken))
    return found


def _explicit_keys(overrides: list[str], part: str) -> set[str]:
    """What the command line names of ``part``, itself or by a link: groups, options, or what is inside of these."""
    names = [token.partition("=")[0] for token in overrides]
    own = {
        name.removeprefix(f"--{part}.").removeprefix("init_args.") for name in names if name.startswith(f"--{part}.")
    }
    return own | {"seed"} if "--seed_everything" in names else own


@rank_zero_only
def _show(found: list[Difference]) -> None:
    """Print what differs, and which value is used."""
    if not found:
        return
    table = Table("key", "checkpoint", "requested", "used", "because", title="checkpoint and request differ")
    for difference in found:
        because = "the command line wins" if difference.explicit else "the run goes on as it was"
        table.add_row(difference.key, *(escape(str(plain(value))) for value in difference[1:4]), because)
    console(stderr=True).print(table)
