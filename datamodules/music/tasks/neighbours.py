"""Neighbouring notes: before and after a note, in its voice or in any."""

import numpy as np

from .base import Array


def together(moments: Array) -> tuple[Array, Array]:
    """First and last index (M,) of each group of equal or nearly equal (1e-3) neighbours of rising ``moments`` (N,)."""
    new = np.diff(moments) > 1e-3
    ends = np.ones(min(len(moments), 1), bool)  # none of none
    return np.flatnonzero(np.append(ends, new)), np.flatnonzero(np.append(new, ends))


def around(step: Array, voice: Array) -> tuple[Array, Array]:
    """The last note of the step before, and of the step after, in the same voice.

    Args:
        step: (N,) int64, rising; notes of one step sound together.
        voice: (N,) int64.

    Returns:
        Two of (N,) int64, -1 where there is none.
    """
    order = np.lexsort((step, voice))  # stable: within a step the order stays
    sorted_step, sorted_voice = step[order], voice[order]
    new = np.append(True, (np.diff(sorted_step) != 0) | (np.diff(sorted_voice) != 0))
    group = np.cumsum(new) - 1
    last = order[np.flatnonzero(np.append(new[1:], True))]  # of each group
    kind = voice[last]
    same = kind[1:] == kind[:-1]
    before = np.append(-1, np.where(same, last[:-1], -1))
    after = np.append(np.where(same, last[1:], -1), -1)
    out = np.empty((2, len(step)), np.int64)
    out[:, order] = before[group], after[group]
    return out[0], out[1]


def counted(step: Array, first: int, last: int, values: Array | None = None) -> Array:
    """Sum of ``values`` (1 where None) over the notes whose step lies from ``first`` to ``last`` after each note's.

    Args:
        step: (N,) int64, rising.
        first: of the steps, may be negative.
        last: of the steps.
        values: (N,).

    Returns:
        (N,) float64.
    """
    begin = np.searchsorted(step, step + first, side="left")
    end = np.searchsorted(step, step + last, side="right")
    total = np.append(0.0, np.cumsum(np.ones(len(step)) if values is None else values, dtype=np.float64))
    return np.asarray(total[np.maximum(end, begin)] - total[begin])
