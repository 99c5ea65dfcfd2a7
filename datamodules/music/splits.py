"""Grouped splits and cross-validation folds of songs; a group is never split."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from ..core import DataError, random_stream
from .song import Song

NAMES = ("train", "val", "test")
Splits = dict[str, list[int]]
"""Numbers of songs by split, rising."""


def balanced(groups: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Deal whole groups out so that each part gets about its share of the songs.

    The largest groups go first, those of a size in a drawn order, each to the part that lacks most of its share. The
    last ones are kept for parts that would stay empty, so that each with a share has a group where there are enough.

    Args:
        groups: the group of each song.
        shares: by part, adding up to 1.
        seed: of the order.

    Raises:
        DataError: the shares do not add up.
    """
    if min(shares.values()) < 0 or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise DataError(f"shares={dict(shares)}: none below 0, together 1.")
    sizes = Counter(groups)
    names = sorted(sizes)
    order = sorted(random_stream(seed).permutation(len(names)).tolist(), key=lambda k: -sizes[names[k]])
    lacks = {part: share * len(groups) for part, share in shares.items()}
    home: dict[str, str] = {}
    for number, k in enumerate(order):
        empty = [part for part, share in shares.items() if share > 0 and part not in home.values()]
        part = max(empty if len(empty) >= len(order) - number else lacks, key=lambda name: lacks[name])
        home[names[k]] = part
        lacks[part] -= sizes[names[k]]
    return {part: [k for k, group in enumerate(groups) if home[group] == part] for part in shares}


def spread(songs: Sequence[Song], limit: int) -> list[Song]:
    """So many songs at most, evenly over the set; each official split keeps its share, and one song at least.

    Args:
        songs: all of them.
        limit: at least 3.
    """
    if len(songs) <= limit:
        return list(songs)
    official = all(song.split for song in songs)
    parts = [[k for k, song in enumerate(songs) if song.split == name] for name in NAMES] if official else []
    parts = [part for part in parts if part] or [list(range(len(songs)))]
    shares = [limit * len(part) / len(songs) for part in parts]
    quota = [max(1, int(share)) for share in shares]
    while sum(quota) < limit:  # the largest remainder first
        quota[max(range(len(parts)), key=lambda k: shares[k] - quota[k])] += 1
    while sum(quota) > limit:  # where a small split got its one
        quota[max(range(len(parts)), key=lambda k: quota[k])] -= 1
    chosen = [part[k * len(part) // many] for part, many in zip(parts, quota, strict=True) for k in range(many)]
    return [songs[k] for k in sorted(chosen)]


def split_songs(
    songs: Sequence[Song], shares: Sequence[float], seed: int, folds: int | None = None, fold: int = 0
) -> Splits:
    """Songs of train, val and test.

    With ``folds``, fold ``fold`` is the test part and the rest is dealt out by the shares of train and val. Without,
    the official split holds where every song has one; else everything is dealt out by ``shares``.

    Args:
        songs: all of them.
        shares: of train, val and test.
        seed: of dealing out.
        folds: number of parts, or None.
        fold: which of them is held out.

    Raises:
        DataError: there are three shares no more, or fold is none of folds, or there are fewer groups than folds.
    """
    if len(shares) != 3:
        raise DataError(f"data.split={list(shares)}: the shares of train, val and test.")
    groups = [song.group for song in songs]
    if folds is not None:
        if not 0 <= fold < folds or folds < 2:
            raise DataError(f"data.folds={folds}, data.fold={fold}: 2 or more folds, and one of 0 .. folds - 1.")
        if len(set(groups)) < folds:
            raise DataError(f"data.folds={folds}: {len(set(groups))} groups of songs cannot be split so. Take fewer.")
        parts = balanced(groups, {str(k): 1 / folds for k in range(folds)}, seed)
        rest = [k for part, of in parts.items() if part != str(fold) for k in of]
        total = shares[0] + shares[1]
        if total <= 0:
            raise DataError(f"data.split={list(shares)}: train and val have no share, which folds deal out.")
        dealt = balanced([groups[k] for k in rest], {"train": shares[0] / total, "val": shares[1] / total}, seed)
        return {name: sorted(rest[k] for k in of) for name, of in dealt.items()} | {"test": parts[str(fold)]}
    if all(song.split for song in songs):
        return {name: [k for k, song in enumerate(songs) if song.split == name] for name in NAMES}
    return balanced(groups, dict(zip(NAMES, shares, strict=True)), seed)
