"""What a checkpoint was made with, against what is asked for now.

Defaults give way to config files, these to the checkpoint, and the checkpoint to the command line.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

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


def explicit_keys(arguments: list[str], part: str) -> set[str]:
    """The init arguments of ``part`` (``model`` or ``data``) that the command line names."""
    keys = set()
    for token in arguments:
        name = token.partition("=")[0]
        if name.startswith(f"--{part}."):
            keys.add(name.removeprefix(f"--{part}.").removeprefix("init_args.").partition(".")[0])
    return keys


def differences(
    part: str, saved: Mapping[str, Any], requested: Mapping[str, Any], explicit: set[str]
) -> list[Difference]:
    """Compare the hyper-parameters of a checkpoint with the init arguments of now, key by key."""
    return [
        Difference(f"{part}.{key}", saved[key], value, key in explicit)
        for key, value in requested.items()
        if key in saved and plain(saved[key]) != plain(value)
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


def show(found: list[Difference]) -> None:
    """Print what differs, and which value is used."""
    if not found:
        return
    table = Table(title="checkpoint and request differ")
    for column in ("key", "checkpoint", "requested", "used", "because"):
        table.add_column(column)
    for difference in found:
        because = "the command line wins" if difference.explicit else "the run goes on as it was"
        table.add_row(
            difference.key, str(difference.checkpoint), str(difference.requested), str(difference.used), because
        )
    console(stderr=True).print(table)
