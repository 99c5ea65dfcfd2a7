"""Curves of a run: one panel a metric, its splits and baselines together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from litmotif.names import BOUNDS

from .directions import Direction, direction_of

COLOURS = {"train": "#4878a8", "val": "#d8503a"}
OTHERS = ("#4c9f70", "#8a63b0", "#c58a1c", "#5f6b7a")
BASELINES = {"expert": "--", "floor": "--", "random": ":"}
ENV_STEPS = "train/env_steps"
"""Where a module counts them, curves are drawn against environment steps instead of epochs."""
SKIPPED = (ENV_STEPS, "epoch", "step", "seconds", "train_loss", "val_loss", "train_metric", "val_metric")
RATE = "learning rate"

Table = Mapping[str, Sequence[Any]]


def draw_curves(
    table: Table, window: int, directions: Mapping[str, Direction], trained_on: Sequence[str] = ()
) -> Figure:
    """Draw the columns of a history.

    Args:
        table: columns by name; ``split/metric`` and ``split/metric/row``, where a row ``low`` or ``high`` bounds the
            metric and any other is a baseline.
        window: epochs of the moving average that is drawn over the raw values, as many before as behind, so that it
            does not lag; a fifth of a short course at most.
        directions: which way is better, where the name does not tell.
        trained_on: splits for which training data stands in.
    """
    counted = table.get(ENV_STEPS, ())
    axis = "environment steps" if counted and all(map(_finite, counted)) else "epoch"
    table = table if axis == "epoch" else {**table, "epoch": counted}
    groups = _groups(table)
    count = len(groups) + any(_trade(table, split) for split in COLOURS)
    across = min(3, count) or 1
    down = math.ceil(count / across) or 1
    figure = Figure(figsize=(4.6 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for panel in panels[count:]:
        panel.set_axis_off()
    for panel, (metric, names) in zip(panels, groups.items(), strict=False):
        _draw_panel(panel, metric, names, table, window, directions, trained_on)
        panel.set_xlabel(axis, fontsize=8)
    if count > len(groups):
        _draw_trade(panels[len(groups)], table)
    return figure


def _trade(table: Table, split: str) -> list[tuple[float, float]]:
    """Shares of the limit that the worst cost used, and returns."""
    pairs = zip(table.get(f"{split}/cost_share", ()), table.get(f"{split}/return", ()), strict=False)
    return [(share, earned) for share, earned in pairs if _finite(share) and _finite(earned)]


def _draw_trade(panel: Axes, table: Table) -> None:
    """Return against cost: the way of the policy from its first epoch to its last, which is marked."""
    _dress(panel, "return against cost")
    panel.axvline(1.0, color="0.4", linestyle="--", linewidth=1.2, label="limit")
    for split, colour in COLOURS.items():
        if points := _trade(table, split):
            panel.plot(*zip(*points, strict=True), color=colour, linewidth=0.9, alpha=0.5, marker="o", ms=2.5)
            panel.scatter(*points[-1], s=40, color=colour, edgecolor="white", zorder=4, label=f"{split}, last")
    panel.set_xlabel("largest share of a limit used", fontsize=8)
    panel.set_ylabel("return", fontsize=8)
    panel.legend(loc="best", fontsize=7, framealpha=0.7, edgecolor="none")


def _dress(panel: Axes, title: str) -> None:
    panel.set_title(title, fontsize=10, fontweight="bold", loc="left")
    panel.grid(alpha=0.2, linewidth=0.6)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
    panel.margins(x=0.04, y=0.12)


def _parts(name: str) -> tuple[str, str, str]:
    """The split, the metric and the row of a name; each may be empty."""
    if name.startswith("lr-"):  # Lightning's LearningRateMonitor
        return name.removeprefix("lr-"), RATE, ""
    first, _, rest = name.removesuffix("_epoch").partition("/")
    metric, _, row = rest.partition("/")
    return (first, metric, row) if metric else ("", first, "")


def _groups(table: Table) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, column in table.items():
        _, metric, row = _parts(name)
        twice = name.endswith("_step") or f"{name}_epoch" in table
        if name not in SKIPPED and not twice and row not in BOUNDS and _points(table["epoch"], column)[0]:
            group = groups.setdefault(metric, [])
            if metric != RATE or all(list(column) != list(table[other]) for other in group):
                group.append(name)  # parameter groups mostly share their learning rate
    order = sorted(groups, key=lambda metric: (metric != "loss", metric == RATE))
    return {metric: groups[metric] for metric in order}


def _draw_panel(
    panel: Axes,
    metric: str,
    names: list[str],
    table: Table,
    window: int,
    directions: Mapping[str, Direction],
    trained_on: Sequence[str],
) -> None:
    _dress(panel, metric.replace("_", " "))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    rows = [name for name in names if _parts(name)[2]]
    curves = [name for name in names if not _parts(name)[2]]
    for index, name in enumerate(curves):
        split = _parts(name)[0]
        colour = COLOURS.get(split, OTHERS[index % len(OTHERS)])
        _draw_band(panel, name, table, colour)
        called = f"{split} = training data" if split in trained_on else split or metric
        _draw_curve(panel, called, *_points(table["epoch"], table[name]), 1 if metric == RATE else window, colour)
        direction = directions.get(name) or direction_of(name)
        if direction and split != "train":
            _mark_best(panel, *_points(table["epoch"], table[name]), direction, colour)
    for name in rows:
        split, _, row = _parts(name)
        x, y = _points(table["epoch"], table[name])
        if len(set(y)) == 1:  # a constant: from end to end
            x, y = [table["epoch"][0], table["epoch"][-1]], y[:1] * 2
        panel.plot(x, y, linestyle=BASELINES.get(row, "-."), linewidth=1.2, color="0.4", label=f"{split} {row}")
    panel.legend(loc="best", fontsize=7, framealpha=0.7, edgecolor="none")


def _draw_curve(panel: Axes, label: str, x: list[int], y: list[float], window: int, colour: str) -> None:
    window = max(1, min(window, len(y) // 5))
    around = [y[max(0, i - window // 2) : i + (window + 1) // 2] for i in range(len(y))]
    label += f", mean of {window}" * (window > 1)
    few = "o" if len(x) < 3 else None
    panel.plot(x, y, linewidth=0.9, alpha=0.4, color=colour)
    panel.plot(
        x, [sum(values) / len(values) for values in around], linewidth=2, color=colour, label=label, marker=few, ms=3
    )


def _draw_band(panel: Axes, name: str, table: Table, colour: str) -> None:
    low, high = (table.get(f"{name}/{end}") for end in BOUNDS)
    if low is None or high is None:
        return
    known = [point for point in zip(table["epoch"], low, high, strict=True) if all(map(_finite, point))]
    if len(known) == 1:
        panel.vlines(*known[0], color=colour, alpha=0.3, linewidth=4)
    elif known:
        x, bottom, top = zip(*known, strict=True)
        panel.fill_between(x, bottom, top, color=colour, alpha=0.12, linewidth=0)


def _mark_best(panel: Axes, x: list[int], y: list[float], direction: Direction, colour: str) -> None:
    best = (min if direction == "min" else max)(y)
    at = x[y.index(best)]
    late = at > (x[0] + x[-1]) / 2
    panel.scatter([at], [best], s=28, color=colour, edgecolor="white", linewidth=0.8, zorder=4)
    panel.annotate(
        f"{best:.4g}",
        (at, best),
        textcoords="offset points",
        xytext=(-4 if late else 4, 6 if direction == "max" else -11),
        ha="right" if late else "left",
        fontsize=8,
        fontweight="bold",
        color=colour,
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        zorder=5,
    )


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _points(epochs: Sequence[int], column: Sequence[Any]) -> tuple[list[int], list[float]]:
    known = [(e, v) for e, v in zip(epochs, column, strict=True) if _finite(v)]
    return [e for e, _ in known], [v for _, v in known]
