"""Hints for requests that the parser cannot read at all: no module, no ``-c``, an option of other tools."""

import re
from collections.abc import Iterator, Sequence

from lightning.pytorch import Trainer

from litmotif.names import nearest

from ..core.hparams import keys
from . import configs
from .links import class_path, named_class

HABITS = {
    "seed": "seed_everything",
    "epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "gpus": "trainer.devices",
    "resume": "ckpt_path",
    "resume_from_checkpoint": "ckpt_path",
    "checkpoint": "ckpt_path",
    "lr_scheduler": "model.schedule.name",
}
"""What options are called elsewhere, and here."""


def advice(message: str, files: Sequence[str], overrides: Sequence[str]) -> str | None:
    """What to write instead of a request; None where the parser's own message says it.

    Args:
        message: of the parser.
        files: the config files of the request, in order.
        overrides: what stands on the command line besides them.
    """
    for token in positional(overrides):
        known = nearest(token, configs.names(), count=1, cutoff=0.8)
        what = f"Write -c {known[0]} for the config." if known else "An option is written --KEY VALUE or --KEY=VALUE."
        return f"command line: nothing is asked for by {token!r} alone. {what}"
    unknown = re.search(r"(?:accept option|Option) '([^']+)'|unrecognized arguments: --([^\s=]+)", message)
    if unknown:
        word = (unknown[1] or unknown[2]).partition(".")[0]
        meant = options_called(word, files, overrides) if f"--{word}" in map(_key, overrides) else []
        if meant:
            return (
                f"command line: there is no option --{word}. Did you mean {' or '.join(f'--{key}' for key in meant)}?"
            )
    if class_path("model", files, overrides) is None and "model" in message:
        return "no module is named. Choose a config with -c NAME (litmotif list), or a class with --model and --data."
    return None


def positional(overrides: Sequence[str]) -> Iterator[str]:
    """What stands neither as an option nor as the value of the option before it."""
    for before, token in zip(["", *overrides], overrides, strict=False):
        if not token.startswith("-") and (not before.startswith("--") or "=" in before):
            yield token


def options_called(word: str, files: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The options that a word means which is none: by habit, or as a key of the module, the data or the trainer."""
    if word in HABITS:
        return [HABITS[word]]
    owners = {part: named_class(part, files, overrides) for part in ("model", "data")} | {"trainer": Trainer}
    known = [f"{part}.{name}" for part, owner in owners.items() if owner is not None for name in keys(owner)]
    same = [key for key in known if key.rpartition(".")[2] == word]
    near = nearest(word, {key.rpartition(".")[2] for key in known}, count=1, cutoff=0.8)
    return same or [key for key in known if key.rpartition(".")[2] in near]


def _key(token: str) -> str:
    return token.partition("=")[0]
