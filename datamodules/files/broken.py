"""Broken members of a set: left out and counted, up to a share; more of them stop the reading."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from litmotif.errors import DataError

MAX_BAD = 0.05
"""Share of broken members that is tolerated where nobody says another."""
LISTED = 10
"""Broken members named in a message, at most."""


class Broken(NamedTuple):
    """A file, or a part of one, that could not be read."""

    source: str
    reason: str


class Tally:
    """Counts members of a set while they are read.

    Args:
        where: the set, for messages.
        members: how many there are.
        max_bad: share of broken members that is tolerated, 0 to 1.

    Raises:
        DataError: such a share is none.
    """

    def __init__(self, where: object, members: int, max_bad: float = MAX_BAD) -> None:
        if not 0 <= max_bad <= 1:
            raise DataError(f"data.max_bad={max_bad}: a share of broken files, 0 to 1.")
        self.where, self.members, self.max_bad = where, members, max_bad
        self.broken: list[Broken] = []

    @contextmanager
    def member(self, source: object) -> Iterator[None]:
        """Read one: a DataError inside makes it a broken one.

        Raises:
            DataError: one more than are tolerated; or it is the only member.
        """
        try:
            yield
        except DataError as error:
            if self.members == 1:
                raise
            self.broken.append(Broken(str(source), str(error)))
            check(self.broken, self.members, self.max_bad, self.where)

    def settle(self) -> None:
        """Warn of what could not be read."""
        if self.broken:
            warnings.warn(report(self.broken, self.members, self.where), stacklevel=3)


def check(broken: Sequence[Broken], members: int, max_bad: float, where: object) -> None:
    """See that no more than ``max_bad`` of the members are broken, and not all.

    Raises:
        DataError: too many are; lists the first ten.
    """
    if len(broken) > max_bad * members or (broken and len(broken) == members):
        raise DataError(
            f"{report(broken, members, where)}\nTolerated: {max_bad:.0%} (max_bad). Repair or remove them, or raise "
            "data.max_bad."
        )


def report(broken: Sequence[Broken], members: int, where: object) -> str:
    """What is broken and why, of so many files or parts of them."""
    lines = [why if why.startswith(source) else f"{source}: {why}" for source, why in broken]
    return f"{where}: {len(broken)} of {members} files are broken and were left out:{listed(lines)}"


def listed(lines: Sequence[str]) -> str:
    """The first lines, each below the other, and how many there are more."""
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "".join(f"\n  {line}" for line in [*lines[:LISTED], *more])
