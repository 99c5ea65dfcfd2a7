"""Command line: the ``litmotif`` command, the only place where the three packages meet.

What needs no PyTorch (``--help``, ``--version``, ``list``, ``doctor``) is answered before it is imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from litmotif.names import did_you_mean

RUNS = {
    "fit": "train, then test the best checkpoint",
    "validate": "evaluate on the validation split",
    "test": "evaluate on the test split",
    "predict": "run on the test split and keep what comes out",
}
OWN = {
    "series": "train several configs, or seeds of one, in turn; go on where it stopped",
    "compare": "what runs of several algorithms reach over seeds: intervals, tests, a picture",
    "crossval": "train and judge k folds of the data; mean, interval, predictions of unseen songs",
    "ensemble": "average several runs, judge them together, export them as one",
    "generate": "let a trained model make something: music, motion",
    "export": "write a trained model for another runtime: rtneural",
    "slurm": "write, and on request submit, the job script of a config",
    "list": "modules, datamodules, callbacks and configs, one line each",
    "doctor": "versions, origins, accelerators, extras",
}
"""Ours: ``commands/NAME.py`` has a class of that name."""
HELP = f"""\
usage: litmotif COMMAND [options]

Lightning modules for motion, policies and music.

{chr(10).join(f"  {name:10} {line}" for name, line in (RUNS | OWN).items())}

options of fit, validate, test, predict (COMMAND --help shows all):
  -c NAME             a shipped config (litmotif list) or a file; several are laid over each other
  --ckpt_path WHICH   last, best, a file, or a run folder
  --model.KEY VALUE   a hyper-parameter of the module; likewise --data.KEY, --trainer.KEY
  --print_config      show the resolved config and stop
  --trust             let the configs name any class that is installed; else ours, Lightning's, PyTorch's and your own

  litmotif --version
  litmotif fit -c mdlm/empty_8x8
  litmotif test -c mdlm/empty_8x8 --ckpt_path best
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: arguments; None takes those of the process.

    Returns:
        The exit status, see ``errors``.
    """
    from .errors import exit_status

    return exit_status(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(arguments: list[str]) -> int:
    from .errors import RequestError
    from .package_paths import require_ours

    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if command != "doctor":  # the place to look when something is foreign
        require_ours()
    if command == "--version":
        from .. import __version__

        print(f"litmotif {__version__}")
        return 0
    if command in RUNS:
        from .commands.run_process import end_with_parent
        from .run import run

        end_with_parent()
        return run(arguments)
    if command in OWN:
        module = import_module(f".commands.{command}", __package__)
        return int(getattr(module, command.capitalize())()(arguments[1:]))
    hint = did_you_mean(command, [*RUNS, *OWN], count=1)
    raise RequestError(f"there is no command {command!r}.{hint} See litmotif --help.")
