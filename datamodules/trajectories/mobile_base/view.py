"""Pictures of the mobile base from above: the fan of sampled plans, and paths of the closed loop."""

import math
from collections.abc import Mapping

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from litmotif.errors import ArgumentError

from ...envs.mobile_base import DT, RADIUS
from .scenes import Scene
from .tasks import Rollouts

_PILLAR, _WALL, _PAST, _GOAL = "#8a8f98", "#5a5f68", "#20242c", "#d08700"
_SOLVED, _FAILED = "#1a7f37", "#c62828"
_FANS = ("#8a8f98", "#1565c0", "#7b1fa2", "#00838f")  # the first is what the others are compared with


def draw_plans(
    plans: Mapping[str, Tensor],
    pose: Tensor,
    past: Tensor | None = None,
    pillars: Tensor | None = None,
    goal: Tensor | None = None,
    velocity: Tensor | None = None,
    title: str = "",
) -> Figure:
    """A fan of plans, all from one place; world frame.

    Args:
        plans: (S, H, 2) m by name, S samples of H steps each; the first name is drawn in grey beneath the others.
        pose: (3,), where the base is: x, y in m, heading in rad.
        past: (T, 2) m, how it came there.
        pillars: (P, 3): x, y, radius in m.
        goal: (2,) m.
        velocity: (2,) m/s, the command; drawn as the way of one second.
        title: above.

    Raises:
        ValueError: plans of a wrong shape.
    """
    figure = Figure(figsize=(7.0, 6.2), layout="constrained")
    axes = figure.subplots()
    here = torch.as_tensor(pose, dtype=torch.float32).cpu()
    for order, (name, fan) in enumerate(plans.items()):
        if fan.dim() != 3 or fan.shape[2] != 2:
            raise ArgumentError(f"plans[{name!r}] {tuple(fan.shape)} must be (samples, steps, 2): x, y in m.")
        colour = _FANS[order % len(_FANS)]
        ways = torch.cat((here[:2].expand(len(fan), 1, 2), fan.detach().float().cpu()), 1)
        axes.plot(*ways.permute(2, 1, 0).numpy(), color=colour, linewidth=1.1, alpha=0.55, zorder=2 + order)
        axes.plot([], [], color=colour, linewidth=2, label=name)
        axes.plot(*ways[:, -1].T.numpy(), "o", markersize=2.5, color=colour, zorder=2 + order)
    if past is not None:
        axes.plot(*past.detach().cpu().T.numpy(), color=_PAST, linewidth=2, label="past", zorder=7)
    _draw_base(axes, here, _PAST)
    if pillars is not None:
        _draw_pillars(axes, pillars)
    if goal is not None:
        _draw_goal(axes, goal)
    if velocity is not None:
        (x, y), (vx, vy) = here[:2].tolist(), velocity.tolist()
        way = {"arrowstyle": "-|>", "color": _GOAL, "linewidth": 2}
        axes.annotate("", (x + vx, y + vy), (x, y), arrowprops=way, zorder=8)
    _finish(axes, square=False)
    axes.legend(loc="upper left", framealpha=0.9)
    axes.set(xlabel="x, m", ylabel="y, m", title=title)
    return figure


def draw_paths(rollouts: Rollouts, title: str, count: int = 8, columns: int = 4) -> Figure:
    """The paths of the first episodes, a panel each: green when solved, red when not.

    Args:
        rollouts: outcomes of N episodes.
        title: above all panels.
        count: panels at most.
        columns: panels a row.
    """
    count = min(count, len(rollouts.success))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    forest = rollouts.scene.half_width is not None
    figure = Figure(figsize=(3.4 * columns, (2.9 if forest else 3.6) * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=12, fontweight="bold")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel in panels[count:]:
        panel.set_axis_off()
    for row, panel in enumerate(panels[:count]):
        _draw_episode(panel, rollouts, row)
    return figure


def _draw_episode(panel: Axes, rollouts: Rollouts, row: int) -> None:
    scene, path = rollouts.scene, rollouts.paths[row]
    colour = _SOLVED if rollouts.success[row] else _FAILED
    _draw_pillars(panel, scene.pillars[row])
    if scene.half_width is not None:
        for wall in (-scene.half_width, scene.half_width):
            panel.axhline(wall, color=_WALL, linewidth=2)
    if scene.goal is not None:
        _draw_goal(panel, scene.goal[row])
    if scene.velocity is not None:
        _draw_commands(panel, scene, path, row)
    panel.plot(*path[:, :2].T.numpy(), color=colour, linewidth=1.8, zorder=4)
    for second in range(0, len(path), 20):  # every 2 s
        _draw_base(panel, path[second], colour, 0.35)
    _draw_base(panel, path[-1], colour)
    end = "fell" if rollouts.falls[row] else "touched" if rollouts.collisions[row] else None
    end = end or ("solved" if rollouts.success[row] else "not solved")
    unit = "m/s" if scene.velocity is not None else "m"
    text = f"{end} after {rollouts.seconds[row]:.1f} s, {rollouts.error[row]:.2f} {unit} off"
    _finish(panel, square=scene.half_width is None)
    panel.set_title(text, fontsize=9, color=colour)


def _draw_commands(panel: Axes, scene: Scene, path: Tensor, row: int) -> None:
    """Each command as the way it asks for, from where the base was when it came."""
    assert scene.velocity is not None  # noqa: S101
    commands = scene.velocity[row]
    steps = (len(path) - 1) // len(commands)
    for index, command in enumerate(commands):
        start = path[index * steps, :2]
        ends = torch.stack((start, start + command * steps * DT)).T.numpy()
        panel.plot(*ends, color=_GOAL, linewidth=1.2, linestyle="--", zorder=3)


def _draw_pillars(axes: Axes, pillars: Tensor) -> None:
    for x, y, radius in pillars.tolist():
        if max(abs(x), abs(y)) < 100.0:  # neither a wall as a disc nor a missing one
            axes.add_patch(Circle((x, y), radius, color=_PILLAR, linewidth=0, zorder=1))


def _draw_goal(axes: Axes, goal: Tensor) -> None:
    x, y = goal.tolist()
    axes.plot(x, y, "*", markersize=13, color=_GOAL, markeredgecolor="white", markeredgewidth=0.8, zorder=6)


def _draw_base(axes: Axes, pose: Tensor, colour: str, alpha: float = 1.0) -> None:
    """The footprint, with a line to where it faces."""
    x, y, heading = pose.tolist()
    axes.add_patch(Circle((x, y), RADIUS, fill=False, color=colour, linewidth=1.2, alpha=alpha, zorder=5))
    nose = (x + RADIUS * math.cos(heading), y + RADIUS * math.sin(heading))
    axes.plot((x, nose[0]), (y, nose[1]), color=colour, linewidth=1.2, alpha=alpha, zorder=5)


def _finish(axes: Axes, square: bool) -> None:
    """Equal scales; ``square`` widens the shorter side to the longer one."""
    axes.set_aspect("equal")
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.2)
    axes.set_axisbelow(True)
    if square:
        limits = axes.get_xlim(), axes.get_ylim()
        half = max(high - low for low, high in limits) / 2
        (x, y) = (sum(limit) / 2 for limit in limits)
        axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half))
