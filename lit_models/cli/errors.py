"""Error messages and exit statuses: the one place where an exception becomes a sentence.

0 where all went well; 1 after a failure; 2 for a wrong request; 130 after Ctrl-C, 143 after SIGTERM.
"""

import os
import sys
import traceback
from collections.abc import Callable

from litmotif.errors import LitmotifError

from .configs import ConfigError

FAILED, WRONG_REQUEST, CTRL_C, TERMINATED = 1, 2, 130, 143
STOPPED = (CTRL_C, TERMINATED)
WITH_TRACEBACK = "LITMOTIF_TRACEBACK"


class RequestError(LitmotifError, ValueError):
    """A request that a command cannot mean; the message says what to write instead."""


def exit_status(action: Callable[[], int | None]) -> int:
    """Carry out a command; its exit status, or that of the exception which ends it, see ``report``."""
    try:
        return action() or 0
    except BaseException as error:
        return report(error)


def report(error: BaseException) -> int:
    """Say what ended a command, a sentence or a traceback; the exit status that follows."""
    if isinstance(error, SystemExit):
        if type(error) is not SystemExit:
            return TERMINATED  # SIGTERMException, Lightning's own
        if isinstance(error.__context__, KeyboardInterrupt):
            return CTRL_C  # Lightning has saved and left
        return error.code if isinstance(error.code, int) else 0 if error.code is None else FAILED
    if isinstance(error, KeyboardInterrupt):
        print("litmotif: stopped.", file=sys.stderr)
        return CTRL_C
    text = sentence(error)
    if text is None or WITH_TRACEBACK in os.environ:
        traceback.print_exception(error)
        return FAILED
    print(f"litmotif: {text}", file=sys.stderr)
    if isinstance(error, ConfigError | RequestError):
        return WRONG_REQUEST
    print(f"({type(error).__name__}; set {WITH_TRACEBACK}=1 to see where.)", file=sys.stderr)
    return FAILED


def sentence(error: BaseException) -> str | None:
    """What an error says to the user; None for a defect, which needs its traceback.

    Written for the user is every ``LitmotifError``, Lightning's check of the settings, and what the operating system
    says about files.
    """
    if isinstance(error, LitmotifError | OSError):
        return str(error)
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    return str(error) if isinstance(error, MisconfigurationException) else None
