"""Progress of what takes minutes within one step of a progress bar: a line in the log every few seconds."""

import time

from lightning.pytorch.utilities import rank_zero_info

EVERY = 10.0
"""s"""


class Heartbeat:
    """Says how far something is, no more often than every ``EVERY`` seconds, and nothing of what is done sooner.

    Args:
        title: what goes on.
        total: pieces of work.
        unit: what a piece is.
    """

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.begun = self.said = time.monotonic()

    def beat(self, done: int, note: str = "") -> None:
        """So many pieces are done."""
        now = time.monotonic()
        if now - self.said >= EVERY:
            self.said = now
            note = f", {note}" if note else ""
            rank_zero_info(f"{self.title}: {self.unit} {done} of {self.total}{note} ({now - self.begun:.0f} s).")
