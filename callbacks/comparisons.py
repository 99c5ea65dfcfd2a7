"""Pictures of a comparison: what each algorithm reaches, seed by seed, and performance profiles."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from litmotif.comparison import performance_profile

from .curves import COLOURS, OTHERS
from .directions import Direction

PALETTE = (*COLOURS.values(), *OTHERS)
Values = NDArray[np.float64]


def draw_comparison(
    values: Mapping[str, Mapping[str, Values]],
    reached: Mapping[str, Mapping[str, tuple[float, float, float]]],
    directions: Mapping[str, Direction],
) -> Figure:
    """One row a metric: interquartile means with their intervals over the seeds, and performance profiles.

    Args:
        values: by metric and algorithm, of S seeds (S,).
        reached: by metric and algorithm: interquartile mean, lower and upper bound.
        directions: which way is better.
    """
    figure = Figure(figsize=(9.5, 0.6 + 2.3 * len(values)), layout="constrained")
    panels = figure.subplots(len(values), 2, squeeze=False)
    for (left, right), metric in zip(panels, values, strict=True):
        title = f"{metric.replace('_', ' ')} ({'lower' if directions[metric] == 'min' else 'higher'} is better)"
        left.set_title(title, fontsize=10, fontweight="bold", loc="left")
        _draw_means(left, values[metric], reached[metric])
        _draw_profiles(right, values[metric], directions[metric])
        for panel in (left, right):
            panel.grid(alpha=0.2, linewidth=0.6)
            panel.tick_params(labelsize=8)
            panel.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_means(panel: Axes, values: Mapping[str, Values], reached: Mapping[str, tuple[float, float, float]]) -> None:
    for place, (name, seeds) in enumerate(values.items()):
        colour = PALETTE[place % len(PALETTE)]
        mean, low, high = reached[name]
        if np.isfinite(low):
            panel.barh(place, high - low, left=low, height=0.5, color=colour, alpha=0.25)
        panel.plot(seeds, np.full(len(seeds), place), ".", color=colour, alpha=0.7)
        panel.plot([mean, mean], [place - 0.25, place + 0.25], color=colour, linewidth=2.5)
    panel.set_yticks(range(len(values)), list(values))
    panel.set_ylim(len(values) - 0.4, -0.6)
    panel.margins(x=0.08)


def _draw_profiles(panel: Axes, values: Mapping[str, Values], direction: Direction) -> None:
    sign = -1.0 if direction == "min" else 1.0
    everything = np.concatenate([sign * seeds for seeds in values.values()])
    margin = 0.05 * (np.ptp(everything) or 1.0)
    thresholds = np.linspace(everything.min() - margin, everything.max() + margin, 200)
    for place, (name, seeds) in enumerate(values.items()):
        share = performance_profile(sign * seeds, thresholds)
        panel.plot(sign * thresholds, share, color=PALETTE[place % len(PALETTE)], linewidth=1.8, label=name)
    panel.set_ylabel("share of runs that do better", fontsize=8)
    panel.set_ylim(-0.03, 1.03)
    panel.legend(fontsize=7, framealpha=0.7, edgecolor="none")
