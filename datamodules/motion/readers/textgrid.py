"""TextGrid (Praat): who says what when, in tiers of intervals; long and short form."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...core import DataError
from ...files.guard import guarded

_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![\w.])(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.\]])|<exists>')
_SILENT = ("", "<eps>", "sil", "sp", "#", "{noise}")


class Interval(NamedTuple):
    """Something said from ``start`` to ``end`` (s)."""

    start: float
    end: float
    text: str


@guarded
def read(path: str | Path) -> dict[str, tuple[Interval, ...]]:
    """Interval tiers by name; tiers of points are left out.

    Raises:
        DataError: it is none, cut off, or has intervals that run backwards.
    """
    raw = Path(path).read_bytes()
    text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")
    if "TextGrid" not in text[:200]:
        raise DataError(f"{path}: no TextGrid: it begins with {text[:40]!r}.")
    body = text[text.index("TextGrid") :].partition("\n")[2]
    tokens = iter([one[1].replace('""', '"') if one[1] is not None else one[2] for one in _TOKEN.finditer(body)])
    tiers: dict[str, tuple[Interval, ...]] = {}
    try:
        next(tokens), next(tokens), next(tokens)  # from, to, <exists>
        for _ in range(int(next(tokens))):
            kind, name = next(tokens), next(tokens)
            next(tokens), next(tokens)
            entries = [
                (float(next(tokens)), float(next(tokens)), next(tokens))
                if kind == "IntervalTier"
                else (float(next(tokens)), 0.0, next(tokens))
                for _ in range(int(next(tokens)))
            ]
            if kind == "IntervalTier":
                tiers[name] = tuple(Interval(start, end, said.strip()) for start, end, said in entries)
    except (StopIteration, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: the TextGrid ends early or has text where a time is due: write it again.") from error
    for name, tier in tiers.items():
        for number, one in enumerate(tier, start=1):
            if not one.start <= one.end:
                raise DataError(f"{path}: tier {name}, interval {number}: from {one.start:g} to {one.end:g} s.")
    return tiers


def words(path: str | Path) -> tuple[Interval, ...]:
    """Intervals with speech of the tier ``words``, or of the first one.

    Raises:
        DataError: no tier of intervals.
    """
    tiers = read(path)
    if not tiers:
        raise DataError(f"{path}: no tier of intervals.")
    tier = tiers.get("words", next(iter(tiers.values())))
    return tuple(one for one in tier if one.text.lower() not in _SILENT)


def sentences(spoken: Sequence[Interval], pause: float) -> list[Interval]:
    """Words joined until a silence of at least ``pause`` s."""
    joined: list[Interval] = []
    for word in spoken:
        if joined and word.start - joined[-1].end < pause:
            last = joined[-1]
            joined[-1] = Interval(last.start, word.end, f"{last.text} {word.text}")
        else:
            joined.append(word)
    return joined
