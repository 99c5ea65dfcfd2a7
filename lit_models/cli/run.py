"""``fit``, ``validate``, ``test``, ``predict``: from the arguments to an exit status."""

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence

from . import configs, ending
from .run_folder import Left

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


def run(arguments: list[str]) -> int:
    """Run a subcommand of Lightning's command line.

    Args:
        arguments: the subcommand and what follows it.

    Returns:
        The exit status.
    """
    subcommand, *others = arguments
    requested, overrides = configs.split(others)
    try:
        files = [str(configs.check(configs.find(name))) for name in requested]
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    defaults = str(configs.folder() / f"{configs.DEFAULTS}.yaml")
    tokens = [subcommand, *(token for file in [defaults, *files] for token in ("-c", file)), *overrides]
    again = ["litmotif", subcommand, *(token for name in requested for token in ("-c", name)), *overrides]
    try:
        with warnings.catch_warnings():
            be_quiet()
            return _run(tokens, files, overrides, configs.experiment_name(requested), again)
    except KeyboardInterrupt:
        print("litmotif: stopped before training began.", file=sys.stderr)
        return ending.CTRL_C


def _run(tokens: list[str], files: list[str], overrides: list[str], name: str, again: Sequence[str]) -> int:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from .app import LitmotifCLI, Request
    from .parser import HintingParser

    HintingParser.files, HintingParser.overrides = files, overrides
    left = Left()
    go_on = shlex.join(_without(again, "--ckpt_path"))
    try:
        LitmotifCLI(Request(tokens, overrides, name, left))
    except SIGTERMException:
        ending.say_what_is_left(left, go_on)
        return ending.TERMINATED
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        ending.say_what_is_left(left, go_on)
        return ending.CTRL_C
    except Exception as error:
        ending.report(error)
        ending.say_what_is_left(left, go_on)
        return ending.FAILED
    ending.say_what_there_is(left)
    return ending.say_what_is_missing(left)


def _without(tokens: Sequence[str], option: str) -> list[str]:
    rest, remaining = [], iter(tokens)
    for token in remaining:
        if token == option:
            next(remaining, None)
        elif not token.startswith(f"{option}="):
            rest.append(token)
    return rest


def be_quiet() -> None:
    """Leave out what Lightning says of every run, and its advertising; undone by ``warnings.catch_warnings``."""
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_no_advertising)


def _no_advertising(record: logging.LogRecord) -> bool:
    return ADVERTISING not in record.getMessage()
