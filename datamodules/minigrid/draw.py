"""Pictures of walked plans on the real grid."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .rollouts import Trace

SOLVED, FAILED = "#1a7f37", "#c62828"


def draw_rollouts(traces: Sequence[Trace], title: str, columns: int = 6) -> Figure:
    """Draw each episode as the environment renders it, its path laid over it.

    Args:
        traces: the episodes.
        title: above all panels.
        columns: panels a row.
    """
    columns = min(columns, len(traces))
    rows = math.ceil(len(traces) / columns)
    figure = Figure(figsize=(2.1 * columns, 2.35 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels:
        panel.set_axis_off()
    for panel, trace in zip(panels, traces, strict=False):
        scale = trace.picture.shape[1] / trace.size[0]
        panel.imshow(trace.picture)
        colour = SOLVED if trace.solved else FAILED
        path = (np.array(trace.cells, dtype=float) + 0.5) * scale
        panel.plot(path[:, 0], path[:, 1], color="white", linewidth=4.5, solid_capstyle="round", alpha=0.9)
        panel.plot(path[:, 0], path[:, 1], color=colour, linewidth=2.5, solid_capstyle="round")
        panel.scatter(*path[-1], s=34, color=colour, edgecolors="white", zorder=3)
        panel.scatter(*path[0], s=34, color="white", edgecolors=colour, linewidths=2, zorder=3)
        steps = len(trace.cells) - 1
        text = f"{steps} steps" + (f", best {trace.optimal}" if trace.optimal >= 0 else "")
        panel.set_title(text if trace.solved else f"failed after {steps}", fontsize=8, color=colour)
    return figure
