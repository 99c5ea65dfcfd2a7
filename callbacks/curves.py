"""Curves of a run: one panel a metric, its splits and baselines together."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .directions import Direction, direction_of

COLOURS = {"train": "#4c78a8", "val": "#e45756"}
SKIPPED = ("epoch", "step", "seconds", "train_loss", "val_loss", "train_metric", "val_metric")
BAND = ("low", "high")
BASELINES = {"expert": "--", "random": ":"}
RATE = "learning rate"


def draw_curves(table: Mapping[str, Sequence[Any]], window: int, directions: Mapping[str, Direction]) -> Figure:
    """Draw the columns of a history.

    Args:
        table: columns by name; ``split/metric`` and ``split/metric/row``, where a row ``low`` or ``high`` bounds the
            metric and any other is a baseline.
        window: epochs of the moving average that is drawn over the raw values.
        directions: which way is better, where the name does not tell.
    """
    groups = _groups(table)
    across = min(3, len(groups)) or 1
    down = math.ceil(len(groups) / across) or 1
    figure = Figure(figsize=(4.6 * across, 3.2 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    for panel, (metric, names) in zip(panels, groups.items(), strict=False):
        panel.set_title(metric.replace("_", " "), fontsize=10, fontweight="bold")
        for name in names:
            _draw(panel, name, table, window, directions)
        panel.grid(alpha=0.25)
        panel.set_xlabel("epoch", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=7, framealpha=0.6)
    return figure


def _groups(table: Mapping[str, Sequence[Any]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in table:
        parts = name.removesuffix("_epoch").split("/")
        said_twice = name.endswith("_step") or f"{name}_epoch" in table
        if name in SKIPPED or said_twice or (len(parts) > 2 and parts[-1] in BAND):
            continue
        if any(value is not None and math.isfinite(value) for value in table[name]):
            metric = RATE if name.startswith("lr-") else parts[1] if len(parts) > 1 else name
            groups.setdefault(metric, []).append(name)
    loss_first = sorted(groups, key=lambda metric: metric != "loss")
    return {metric: groups[metric] for metric in loss_first}


def _draw(
    panel: Axes, name: str, table: Mapping[str, Sequence[Any]], window: int, directions: Mapping[str, Direction]
) -> None:
    x, y = _points(table["epoch"], table[name])
    split, *rest = name.removesuffix("_epoch").split("/")
    if len(rest) > 1:
        style = BASELINES.get(rest[-1], "-.")
        panel.plot(x, y, linestyle=style, linewidth=1.3, color="0.35", label=f"{split} {rest[-1]}")
        return
    if name.startswith("lr-"):
        panel.plot(x, y, linewidth=1.5, label=name.removeprefix("lr-"))
        return
    colour = COLOURS.get(split, "#54a24b")
    smooth = [sum(y[max(0, i - window + 1) : i + 1]) / len(y[max(0, i - window + 1) : i + 1]) for i in range(len(y))]
    panel.plot(x, y, linewidth=0.9, alpha=0.35, color=colour, marker="." if len(x) < 3 else None)
    panel.plot(x, smooth, linewidth=2, color=colour, label=split if rest else name)
    low, high = (table.get(f"{name}/{end}") for end in BAND)
    if low is not None and high is not None:
        panel.fill_between(
            x, _points(table["epoch"], low)[1], _points(table["epoch"], high)[1], color=colour, alpha=0.12
        )
    direction = directions.get(name) or direction_of(name)
    if direction and split != "train":
        best = (min if direction == "min" else max)(y)
        at = x[y.index(best)]
        panel.scatter([at], [best], s=26, color=colour, zorder=3)
        panel.annotate(
            f"{best:.4g}", (at, best), textcoords="offset points", xytext=(0, 6), fontsize=7, ha="center", color=colour
        )


def _points(epochs: Sequence[int], column: Sequence[Any]) -> tuple[list[int], list[float]]:
    known = [(e, v) for e, v in zip(epochs, column, strict=True) if v is not None and math.isfinite(v)]
    return [e for e, _ in known], [v for _, v in known]
