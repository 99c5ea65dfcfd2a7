"""Lightning's subcommands ``fit``, ``validate``, ``test``, ``predict``: from the arguments to an exit status."""

import contextlib
import io
import shlex
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import yaml

from ..plugins.messages import be_quiet
from . import configs, errors, trust
from .run_folder import RunArtifacts


def run(arguments: Sequence[str]) -> int:
    """Run a subcommand of Lightning's command line, given with what follows it; the exit status."""
    subcommand, *others = arguments
    if "" not in sys.path:  # the current folder, last: a user's own classes are found there, and nothing is shadowed
        sys.path.append("")
    requested, overrides = configs.requested(others)
    artifacts = RunArtifacts()
    try:
        status = errors.exit_status(lambda: _run(subcommand, requested, overrides, artifacts))
    finally:
        artifacts.let_go()
    again = ["litmotif", subcommand, *(token for name in requested for token in ("-c", name)), *overrides]
    if status == 0:
        return say_what_there_is(artifacts)
    say_how_to_go_on(artifacts, again)
    return status


def _run(subcommand: str, requested: Sequence[str], overrides: list[str], artifacts: RunArtifacts) -> None:
    found = [configs.check(configs.find(name)) for name in requested]
    configs.require_one_experiment(found)
    files = [str(path) for path in found]
    trusting, overrides = trust.on_command_line(overrides)
    if not trusting:
        trust.require_trusted_names(files, overrides)
    with warnings.catch_warnings():
        be_quiet()
        from .app import LitmotifCLI, Request
        from .own_env import own_defaults
        from .parser import HintingParser

        HintingParser.files, HintingParser.overrides = files, overrides
        defaults = str(configs.folder() / f"{configs.DEFAULTS}.yaml")
        tokens = [subcommand, *(token for file in [defaults, *files] for token in ("-c", file)), *overrides]
        tokens += own_defaults(subcommand, files, overrides)
        experiment = configs.experiment_name(list(requested))
        LitmotifCLI(Request(tokens, overrides, experiment, artifacts, trusting))


def resolved_config(fit: Sequence[str]) -> dict[str, Any]:
    """The config of ``litmotif fit`` with these arguments, resolved and checked as the run would; nothing is built.

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

        names = sorted(path.name for path in artifacts.folder.iterdir() if path.name[0] != ".")
        rank_zero_only(print)(f"run folder: {artifacts.folder}: {', '.join(names)}")
    for path, reason in artifacts.unsaved.items():
        there = "what lies there is older" if path.is_file() else "there is none"
        print(f"litmotif: {path} was not saved at last ({reason}); {there}.", file=sys.stderr)
    return errors.FAILED if artifacts.unsaved else 0


def _without(tokens: Sequence[str], option: str) -> list[str]:
    pairs = zip(["", *tokens], tokens, strict=False)
    return [token for before, token in pairs if option not in (before, token.partition("=")[0])]
