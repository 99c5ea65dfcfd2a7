"""Lightning's subcommands ``fit``, ``validate``, ``test``, ``predict``: from the arguments to an exit status."""

import contextlib
import io
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import yaml

from . import configs, errors
from .run_folder import RunArtifacts

QUIET = (
    r".*does not have many workers.*",  # the data is in memory
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run: its metrics were put aside
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*is smaller than the logging interval.*",
    r".*The `srun` command is available on your system but is not used.*",
    r"Using ModelCheckpoint with manual optimization.*",  # a checkpoint after the step is what is wanted
    r"You requested to overfit but enabled .* dataloader shuffling.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # inside Lightning 2.6.6
    r"Precision bf16-mixed is not supported by the model summary.*",  # which counts parameters all the same
    r".*could not find the monitored key in the returned metrics.*",  # an epoch without validation
)
ADVERTISING = "💡 Tip"


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand of Lightning's command line.

    Args:
        arguments: the subcommand and what follows it.

    Returns:
        The exit status.
    """
    subcommand, *others = arguments
    requested, overrides = configs.split(others)
    artifacts = RunArtifacts()
    status = errors.exit_status(lambda: _run(subcommand, requested, overrides, artifacts))
    again = ["litmotif", subcommand, *(token for name in requested for token in ("-c", name)), *overrides]
    if status == 0:
        return say_what_there_is(artifacts)
    say_how_to_go_on(artifacts, again)
    return status


def _run(subcommand: str, requested: Sequence[str], overrides: list[str], artifacts: RunArtifacts) -> None:
    files = [str(configs.check(configs.find(name))) for name in requested]
    with warnings.catch_warnings():
        be_quiet()
        from .app import LitmotifCLI, Request
        from .parser import HintingParser

        HintingParser.files, HintingParser.overrides = files, overrides
        defaults = str(configs.folder() / f"{configs.DEFAULTS}.yaml")
        tokens = [subcommand, *(token for file in [defaults, *files] for token in ("-c", file)), *overrides]
        LitmotifCLI(Request(tokens, overrides, configs.experiment_name(list(requested)), artifacts))


def resolved_config(fit: Sequence[str]) -> dict[str, Any]:
    """The config of a ``fit``, resolved and checked as the run would; nothing is built.

    Args:
        fit: arguments of ``litmotif fit``.

    Raises:
        SystemExit: the request is wrong; it has been said what is.
    """
    with contextlib.redirect_stdout(io.StringIO()) as text:
        status = run(["fit", *fit, "--print_config"])
    if status:
        raise SystemExit(status)
    return dict(yaml.safe_load(text.getvalue()))


# ---------------------------------------------------------------------- what a run leaves
def say_how_to_go_on(artifacts: RunArtifacts, command: Sequence[str]) -> None:
    """Name the checkpoint of a run that was cut off, and the command that goes on with it."""
    last = artifacts.folder / "checkpoints" / "last.ckpt" if artifacts.folder else None
    if last is not None and last.is_file() and last.stat().st_mtime >= artifacts.since:
        from lightning.pytorch.utilities import rank_zero_only

        go_on = shlex.join([*_without(command, "--ckpt_path"), "--ckpt_path", str(last)])
        rank_zero_only(print)(f"litmotif: stopped. Checkpoint: {last}\nGo on with: {go_on}", file=sys.stderr)


def say_what_there_is(artifacts: RunArtifacts) -> int:
    """Name the run folder, what it holds, and the checkpoints that the disk refused; the exit status that follows."""
    if artifacts.folder is not None and artifacts.folder.is_dir():
        from lightning.pytorch.utilities import rank_zero_only

        names = sorted(path.name for path in artifacts.folder.iterdir())
        rank_zero_only(print)(f"run folder: {artifacts.folder}: {', '.join(names)}")
    for path, reason in artifacts.unsaved.items():
        there = "what lies there is older" if path.is_file() else "there is none"
        print(f"litmotif: {path} was not saved at last ({reason}); {there}.", file=sys.stderr)
    return errors.FAILED if artifacts.unsaved else 0


def _without(tokens: Sequence[str], option: str) -> list[str]:
    pairs = zip(["", *tokens], tokens, strict=False)
    return [token for before, token in pairs if option not in (before, token.partition("=")[0])]


def be_quiet() -> None:
    """Leave out what Lightning says of every run, and its advertising; undone by ``warnings.catch_warnings``."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_no_advertising)


def _no_advertising(record: logging.LogRecord) -> bool:
    return ADVERTISING not in record.getMessage()
