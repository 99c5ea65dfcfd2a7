"""``fit``, ``validate``, ``test``, ``predict``: from the arguments to an exit status."""

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from . import configs
from .run_folder import Left

if TYPE_CHECKING:
    from .app import Request

QUIET = (
    r".*does not have many workers.*",  # the data is in memory
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run: its metrics were put aside
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*is smaller than the logging interval.*",
    r".*The `srun` command is available on your system but is not used.*",
    r"You requested to overfit but enabled .* dataloader shuffling.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # inside Lightning 2.6.6
    r".*could not find the monitored key in the returned metrics.*",  # an epoch without validation
)
ADVERTISING = "💡 Tip"
WITH_TRACEBACK = "LITMOTIF_TRACEBACK"


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
        files = [str(configs.find(name)) for name in requested]
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    ckpt_path, overrides = _take(overrides, "--ckpt_path")
    defaults = [str(configs.folder() / f"{configs.DEFAULTS}.yaml")] if files else []
    tokens = [subcommand, *(token for file in [*defaults, *files] for token in ("-c", file)), *overrides]
    with warnings.catch_warnings():
        _be_quiet()
        from .app import Request
        from .parser import HintingParser

        HintingParser.files, HintingParser.overrides = files, overrides
        again = " ".join(["litmotif", subcommand, *(f"-c {name}" for name in requested), *overrides])
        return _guarded(Request(tokens, overrides, configs.experiment_name(requested), ckpt_path, Left()), again)


def _take(arguments: list[str], option: str) -> tuple[str | None, list[str]]:
    value, rest, tokens = None, [], iter(arguments)
    for token in tokens:
        if token == option:
            value = next(tokens, "")
        elif token.startswith(f"{option}="):
            value = token.partition("=")[2]
        else:
            rest.append(token)
    return value, rest


def _be_quiet() -> None:
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for message in QUIET:
        warnings.filterwarnings("ignore", message)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_no_advertising)


def _no_advertising(record: logging.LogRecord) -> bool:
    return ADVERTISING not in record.getMessage()


def _guarded(request: "Request", again: str) -> int:
    from .app import LitmotifCLI

    try:
        LitmotifCLI(request)
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            return int(leaving.code or 0)
        _say_what_is_left(request.left, again)
        return 130
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        _report(error)
        _say_what_is_left(request.left, again)
        return 1
    if request.left.folder is not None and request.left.folder.is_dir():
        names = sorted(path.name for path in request.left.folder.iterdir())
        print(f"run folder: {request.left.folder}: {', '.join(names)}")
    return 0


def _report(error: Exception) -> None:
    """The message alone where our own code speaks to the user; a traceback where something broke."""
    innermost = traceback.extract_tb(error.__traceback__)[-1].filename
    ours = Path(innermost).is_relative_to(Path(__file__).parents[2])
    spoken = isinstance(error, ValueError | OSError | TypeError | ModuleNotFoundError | RuntimeError)
    if ours and spoken and WITH_TRACEBACK not in os.environ:
        print(f"litmotif: {error}", file=sys.stderr)
        print(f"({type(error).__name__}; set {WITH_TRACEBACK}=1 to see where.)", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _say_what_is_left(left: Left, again: str) -> None:
    last = left.folder / "checkpoints" / "last.ckpt" if left.folder and again.startswith("litmotif fit") else None
    if last is not None and last.is_file():
        print(f"litmotif: stopped. Checkpoint: {last}\nGo on with: {again} --ckpt_path {last}", file=sys.stderr)
