"""Quantisation: notes on a grid, and windows over its rows. Time runs along the first axis."""

import numpy as np
from scipy.signal import lfilter

from ..song import Song
from .base import Array


def rows_of(song: Song, rate: float) -> int:
    """Frames that cover the song, at least 1."""
    return max(1, int(np.ceil(song.length * rate - 1e-6)))


def to_steps(beats: Array, rate: float) -> Array:
    """Nearest frame (N,) int64 of each time; halves go up."""
    return np.asarray(np.floor(beats * rate + 0.5), dtype=np.int64)


def scatter(rows: Array, columns: Array, shape: tuple[int, int], weights: Array | None = None) -> Array:
    """Sums (T, C) float64 of ``weights`` (1 where None) that fall into each cell; what lies outside is left out."""
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    weights = None if weights is None else weights[inside]
    flat = np.bincount(rows[inside] * shape[1] + columns[inside], weights, shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def sounding(starts: Array, stops: Array, columns: Array, shape: tuple[int, int]) -> Array:
    """Cells (T, C) bool that a note covers; note n covers rows ``starts[n] <= t < stops[n]`` of its column."""
    last = shape[0]
    edges = scatter(np.clip(starts, 0, last), columns, (last + 1, shape[1]))
    edges -= scatter(np.clip(stops, 0, last), columns, (last + 1, shape[1]))
    return np.asarray(edges.cumsum(axis=0)[:-1] > 0.5)


def piano_roll(song: Song, rate: float, rows: int, low: int, keys: int, chosen: Array | None = None) -> Array:
    """Keys (T, keys) bool that sound, ``low`` the first; every note sounds for a frame at least."""
    picked = slice(None) if chosen is None else chosen
    starts = to_steps(song.onset[picked], rate)
    stops = np.maximum(to_steps((song.onset + song.duration)[picked], rate), starts + 1)
    return sounding(starts, stops, song.pitch[picked] - low, (rows, keys))


def coverage(onset: Array, end: Array, columns: Array, shape: tuple[int, int]) -> Array:
    """Coverage (T, C): the share of each frame that the notes of a column sound together; times in frames."""
    edges = np.zeros((shape[0] + 1, shape[1]))
    for times, sign in ((onset, 1.0), (end, -1.0)):
        at = np.floor(times).astype(np.int64)
        rest = at + 1 - times
        edges += scatter(at, columns, (shape[0] + 1, shape[1]), sign * rest)
        edges += scatter(at + 1, columns, (shape[0] + 1, shape[1]), sign * (1 - rest))
    covered = edges.cumsum(axis=0)[:-1]
    return np.where(covered < 1e-9, 0.0, covered)


def shifted(values: Array, rows: int) -> Array:
    """Row t is row ``t + rows`` of ``values``, 0 beyond the ends."""
    out = np.zeros_like(values)
    if rows >= 0:
        out[: max(len(values) - rows, 0)] = values[rows:]
    else:
        out[-rows:] = values[:rows]
    return out


def window_sum(values: Array, first: int, last: int) -> Array:
    """Row t is the sum of rows ``t + first .. t + last``, 0 beyond the ends."""
    if last < first:
        return np.zeros(values.shape)
    total = np.concatenate((np.zeros((1, *values.shape[1:])), values.cumsum(axis=0, dtype=np.float64)))
    t = np.arange(len(values))
    sums = total[np.clip(t + last + 1, 0, len(values))] - total[np.clip(t + first, 0, len(values))]
    return np.where(np.abs(sums) < 1e-9, 0.0, sums)


def decayed(values: Array, half_life: float) -> Array:
    """Sum over the past, row t included, of weights that halve every ``half_life`` rows."""
    keep = 0.5 ** (1 / half_life)
    return np.asarray(lfilter([1.0], [1.0, -keep], values, axis=0))


def share(values: Array) -> Array:
    """Rows scaled to sum to 1; rows of 0 stay."""
    total = values.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(values, total, out=np.zeros(values.shape), where=total > 1e-12))


def since(hits: Array) -> Array:
    """Rows since the last hit before row t, of each column (T, C) int64; ``T + 1`` where there was none."""
    t = np.arange(len(hits))[:, None]
    last = np.maximum.accumulate(np.where(hits, t, -1), axis=0)
    before = np.concatenate((np.full((1, hits.shape[1]), -1), last[:-1]))
    return np.where(before < 0, len(hits) + 1, t - before)


def until(hits: Array) -> Array:
    """Rows from row t to the next hit after it, as ``since``."""
    return since(hits[::-1])[::-1]


def one_hot(index: Array, size: int) -> Array:
    """Rows (T, size) with a 1 at ``index``; none where it lies outside."""
    return np.asarray(index[:, None] == np.arange(size), dtype=np.float32)


def in_bar(song: Song, beats: Array) -> tuple[Array, Array]:
    """Beats since the bar's start (N,), and beats of that bar (N,)."""
    begins = np.array([meter.beat for meter in song.meters])
    sizes = np.array([meter.bar for meter in song.meters])
    which = np.maximum(np.searchsorted(begins, beats + 1e-6, side="right") - 1, 0)
    return np.maximum(np.mod(beats - begins[which] + 1e-6, sizes[which]) - 1e-6, 0.0), sizes[which]


def bar_step(position: Array, rate: int, steps: int) -> Array:
    """One-hot (N, steps) of the step within the bar, ``rate`` a beat; what lies beyond counts as the last."""
    return one_hot(np.minimum(np.floor(position * rate + 1e-3), steps - 1), steps)


def turn(phase: Array) -> Array:
    """Sine and cosine (N, 2) of a phase of period 1."""
    return np.stack([np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase)], axis=1)


def tempo_at(song: Song, beats: Array) -> Array:
    """Quarters a minute (N,)."""
    which = np.maximum(np.searchsorted(song.tempos[:, 0], beats + 1e-6, side="right") - 1, 0)
    return np.asarray(song.tempos[which, 1])
