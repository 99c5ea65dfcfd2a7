"""``fit``, ``validate``, ``test``, ``predict``: from the arguments to an exit status."""

import os
import sys
import traceback
import warnings

from . import configs

QUIET = (
    r".*does not have many workers.*",  # the data is in memory
    r".*Experiment logs directory .* exists and is not empty.*",  # a resumed run: its metrics were put aside
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*The `srun` command is available on your system but is not used.*",
)


def run(arguments: list[str]) -> int:
    """Run a subcommand of Lightning's command line."""
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
    _be_quiet()
    from . import parser
    from .app import LitmotifCLI, Request

    parser.sources[:] = [*files, "command line"]
    request = Request(tokens, overrides, configs.experiment_name(requested), ckpt_path)
    try:
        cli = LitmotifCLI(request)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _report(error)
    print(f"run folder: {cli.folder}")
    return 0


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


def _report(error: Exception) -> int:
    traceback.print_exc()
    return 1
