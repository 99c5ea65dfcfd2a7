"""Nearest-neighbour baseline: real training motions of nearly the same caption."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from .table import ClipTable


def nearest(table: ClipTable, captions: Sequence[str], lengths: Sequence[int]) -> Tensor:
    """For each caption the motion whose own caption shares most words with it, and of those the nearest in length.

    Args:
        table: where to look.
        captions: B of them.
        lengths: frames of each.

    Returns:
        (B, T, F), T the longest length: cut to it, or its last frame held; 0 behind the end.
    """
    said = [[_words(caption) for caption in row.captions] or [frozenset()] for row in table.rows]
    frames = [min(len(row.motion), table.frames) for row in table.rows]
    made = table.rows[0].motion.new_zeros(len(captions), max(lengths), table.rows[0].motion.shape[1])
    for k, (caption, length) in enumerate(zip(captions, lengths, strict=True)):
        asked = _words(caption)
        likeness = [max(_shared(asked, words) for words in row) for row in said]
        best = max(range(len(said)), key=lambda row: (likeness[row], -abs(frames[row] - length)))
        made[k, :length] = table.rows[best].motion[torch.arange(length).clamp(max=frames[best] - 1)]
    return made


def _words(caption: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", caption.casefold()))


def _shared(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of all their words that both have (Jaccard); 1 for two captions without words."""
    both = one | other
    return len(one & other) / len(both) if both else 1.0
