"""Names: the nearest to a typo, and those of an interval."""

import difflib
from collections.abc import Iterable

BOUNDS = ("low", "high")
"""``metric/low`` and ``metric/high`` are the interval of ``metric``, and no rows."""


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.5) -> list[str]:
    """The names that resemble ``name`` most, case apart, best first.

    Args:
        name: as it was written.
        known: what there is.
        count: at most so many.
        cutoff: similarity in [0, 1] that they have at least.
    """
    spelt = {each.casefold(): each for each in known}
    return [spelt[near] for near in difflib.get_close_matches(name.casefold(), spelt, count, cutoff)]


def did_you_mean(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.5) -> str:
    """A sentence with the nearest names, with a blank before it; empty where nothing comes near."""
    near = nearest(name, known, count, cutoff)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
