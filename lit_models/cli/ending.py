"""How a run ends: what it leaves, what went wrong, how to go on."""

import os
import shlex
import sys
import traceback
from pathlib import Path

from .origins import HOME, PACKAGES
from .run_folder import Left

FAILED, CTRL_C, TERMINATED = 1, 130, 143
WITH_TRACEBACK = "LITMOTIF_TRACEBACK"


def report(error: BaseException) -> None:
    """The message alone where it was written for the user; a traceback where something broke.

    Written for the user is what our own code, or Lightning's check of the settings, raises in so many words, and what
    the operating system says about files. An error that comes up inside our code without a ``raise`` is a defect.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    error = _original(error)
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    ours = any(Path(innermost.filename).is_relative_to(HOME / package) for package in PACKAGES)
    spoken = ours and (innermost.line or "").startswith("raise ")
    if (spoken or isinstance(error, MisconfigurationException | OSError)) and WITH_TRACEBACK not in os.environ:
        print(f"litmotif: {error}", file=sys.stderr)
        print(f"({type(error).__name__}; set {WITH_TRACEBACK}=1 to see where.)", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _original(error: BaseException) -> BaseException:
    """What a constructor raised, out of what jsonargparse wraps around it."""
    while error.__cause__ is not None and "jsonargparse" in traceback.extract_tb(error.__traceback__)[-1].filename:
        error = error.__cause__
    return error


def say_what_is_left(left: Left, go_on: str) -> None:
    """Name the checkpoint of a run that was cut off, and the command that goes on with it."""
    from lightning.pytorch.utilities import rank_zero_only

    last = left.folder / "checkpoints" / "last.ckpt" if left.folder else None
    if last is not None and last.is_file() and last.stat().st_mtime >= left.since:
        command = f"{go_on} --ckpt_path {shlex.quote(str(last))}"
        rank_zero_only(print)(f"litmotif: stopped. Checkpoint: {last}\nGo on with: {command}", file=sys.stderr)


def say_what_is_missing(left: Left) -> int:
    """Name the checkpoints that the disk refused; the exit status that follows."""
    for path, reason in left.unsaved.items():
        there = "what lies there is older" if path.is_file() else "there is none"
        print(f"litmotif: {path} was not saved at last ({reason}); {there}.", file=sys.stderr)
    return FAILED if left.unsaved else 0


def say_what_there_is(left: Left) -> None:
    """Name the run folder and what it holds."""
    from lightning.pytorch.utilities import rank_zero_only

    if left.folder is not None and left.folder.is_dir():
        names = sorted(path.name for path in left.folder.iterdir())
        rank_zero_only(print)(f"run folder: {left.folder}: {', '.join(names)}")
