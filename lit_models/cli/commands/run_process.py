"""Subprocess: one run in a process of its own, through the ordinary command."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Runner = Callable[[list[str]], int]
"""Carries out ``litmotif ARGUMENTS`` and gives its exit status."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PARENT = "LITMOTIF_PARENT"
"""The handle of a pipe of which the parent alone holds the other end."""


def run(arguments: list[str]) -> int:
    """Carry out ``litmotif ARGUMENTS`` in a process of its own: nothing of one run can reach the next.

    The process leads a group of its own, so that Ctrl-C comes here alone and is handed on once: a second one would cut
    off the checkpoint that the first one asks for.

    Returns:
        Its exit status; 128 + the signal's number where one ended it.
    """
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)  # the child imports what we would import
    command = [sys.executable, "-P", "-m", "lit_models", *arguments]
    theirs, ours = os.pipe()
    environment = os.environ | {"PYTHONPATH": paths, PARENT: str(theirs)}
    try:
        with (
            subprocess.Popen(command, env=environment, process_group=0, pass_fds=[theirs]) as child,  # noqa: S603
            _forwarding(child),
        ):
            status = child.wait()
    finally:
        os.close(theirs)
        os.close(ours)
    return 128 - status if status < 0 else status


@contextmanager
def _forwarding(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    def hand_on(number: int, frame: Any) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """In the process that ``run`` has started: a parent that is killed takes it along, as SIGTERM would end it."""
    handle = os.environ.pop(PARENT, "")
    if not handle.isdigit():
        return

    def wait() -> None:
        try:
            os.read(int(handle), 1)  # ends when the other end is closed, by whatever closed it
        except OSError:
            return  # no handle of ours
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
