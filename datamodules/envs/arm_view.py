"""The arm seen from its own side and from the front, with target, trail, margins and torques."""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon
from numpy.typing import NDArray
from torch import Tensor

from .base import take
from .exoskeleton_arm import DT, MARGIN, TOLERANCE, ExoskeletonArm
from .human import IMPAIRMENTS
from .view import Picture, View

Array = NDArray[np.float64]

_TRAIL = 400  # pictures
_SKIN, _DEVICE, _TARGET, _PATH = "#e8b48f", "#455a64", "#c62828", "#90a4ae"
_HEAD, _HEAD_RADIUS = (0.02, 0.18, 0.30), 0.10  # m from the right shoulder
_TRUNK = ((0.06, -0.12), (0.04, -0.52))  # m: half depth and z of chest and pelvis; the shoulder is at its middle
_SHORT = ("flexion", "abduction", "rotation", "elbow", "pronation", "wrist", "deviation")


class Scene(NamedTuple):
    """What one picture shows.

    Attributes:
        points: (3, P) m: shoulder, elbow, wrist, grip.
        target: (3,) m.
        path: (3, Q) m, what the target moves along; Q = 0 for none.
        tolerance: m, around the target.
        room: (7,) distance to the end of the range of motion over the margin; below 1 is in the margin.
        motor: (7,) torque over the limit.
        human: (7,) command.
        step: of the episode.
        caption: a line of text.
    """

    points: Array
    target: Array
    path: Array
    tolerance: float
    room: Array
    motor: Array
    human: Array
    step: int
    caption: str


class ArmView(View):
    """Draws pictures of one arm and remembers where its hand was.

    Args:
        mode: see ``View``.
    """

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        self.trail = deque[Array](maxlen=_TRAIL)
        self._step = -1
        self.figure = Figure(figsize=(8.0, 4.8), dpi=100)
        self.canvas = FigureCanvasAgg(self.figure)
        side, front, bars = self.figure.subplots(1, 3, width_ratios=(1.0, 1.0, 0.8))
        self.figure.subplots_adjust(left=0.02, right=0.99, bottom=0.06, top=0.87, wspace=0.06)
        self.caption = self.figure.suptitle("", x=0.02, ha="left", fontsize=10, family="monospace")
        # From the right side one looks along +y: x to the right. From the front, along -x: y to the right.
        self.views = [
            (side, 0, self._scene(side, 0, "from the right")),
            (front, 1, self._scene(front, 1, "from the front")),
        ]
        self._bars(bars)

    def _scene(self, axes: Axes, across: int, title: str) -> dict[str, Line2D]:
        axes.set(xlim=(-0.28, 0.72) if across == 0 else (-0.55, 0.45), ylim=(-0.72, 0.55), aspect="equal")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9, loc="left")
        (chest, top), (pelvis, bottom) = _TRUNK
        if across == 0:
            trunk = [
                (-chest, 0.1),
                (chest, 0.1),
                (chest + 0.03, top),
                (pelvis + 0.05, bottom),
                (-pelvis - 0.05, bottom),
            ]
        else:
            trunk = [(0.0, 0.08), (0.36, 0.08), (0.33, bottom), (0.03, bottom)]
        axes.add_patch(Polygon(trunk, closed=True, color="#cfd8dc", zorder=0))
        axes.add_patch(Circle((_HEAD[across], _HEAD[2]), _HEAD_RADIUS, color="#cfd8dc", zorder=0))

        def line(**style: object) -> Line2D:
            return axes.plot([], [], **style)[0]  # type: ignore[arg-type]

        return {
            "path": line(color=_PATH, linewidth=1.0, linestyle="--"),
            "trail": line(color="#1565c0", linewidth=1.2, alpha=0.7),
            "skin": line(color=_SKIN, linewidth=13, solid_capstyle="round", solid_joinstyle="round", zorder=2),
            "device": line(color=_DEVICE, linewidth=3, solid_capstyle="round", zorder=3),
            "target": line(color=_TARGET, marker="o", markerfacecolor="none", markeredgewidth=1.5, zorder=5),
            "centre": line(color=_TARGET, marker="+", markersize=7, zorder=5),
            "shoulder": line(marker="o", markersize=11, markeredgecolor="white", zorder=4),
            "elbow": line(marker="o", markersize=9, markeredgecolor="white", zorder=4),
            "wrist": line(marker="o", markersize=8, markeredgecolor="white", zorder=4),
        }

    def _bars(self, axes: Axes) -> None:
        axes.set(xlim=(-1.05, 1.05), ylim=(6.6, -0.6), xticks=[-1, 0, 1], yticks=[])
        axes.axvline(0.0, color="black", linewidth=0.5)
        axes.set_title("share of full: drive, human", fontsize=9, loc="left")
        places = np.arange(len(_SHORT))
        self.motor = axes.barh(places - 0.17, np.zeros(len(_SHORT)), 0.3, color=_DEVICE)
        self.human = axes.barh(places + 0.17, np.zeros(len(_SHORT)), 0.3, color=_SKIN)
        self.labels = [axes.text(-1.02, i - 0.36, name, fontsize=7, va="center") for i, name in enumerate(_SHORT)]

    def draw(self, env: ExoskeletonArm) -> Picture:
        """One picture (480, 800, 3)."""
        picture = _scene_of(env)
        if picture.step <= self._step:  # another episode
            self.trail.clear()
        self._step = picture.step
        self.trail.append(picture.points[:, -1])
        past = np.array(self.trail).T
        colours = [_traffic_light(room) for room in picture.room]
        worst = {"shoulder": picture.room[:3].min(), "elbow": picture.room[3], "wrist": picture.room[4:].min()}
        for axes, across, lines in self.views:
            plane = [across, 2]
            pixels = axes.transData.transform([(0.0, 0.0), (picture.tolerance, 0.0)])
            lines["target"].set_markersize(2.0 * (pixels[1, 0] - pixels[0, 0]) * 72.0 / self.figure.dpi)
            data = {"path": picture.path, "trail": past, "skin": picture.points, "device": picture.points}
            data |= {"target": picture.target[:, None], "centre": picture.target[:, None]}
            for i, joint in enumerate(worst):
                data[joint] = picture.points[:, i : i + 1]
                lines[joint].set_markerfacecolor(_traffic_light(worst[joint]))
            for name, points in data.items():
                lines[name].set_data(*points[plane])
        for bars, shares in ((self.motor, picture.motor), (self.human, picture.human)):
            for bar, share in zip(bars, shares, strict=True):
                bar.set_width(float(share))
        for label, colour in zip(self.labels, colours, strict=True):
            label.set_color(colour)
        self.caption.set_text(picture.caption)
        self.canvas.draw()  # type: ignore[no-untyped-call]
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def _traffic_light(room: float) -> tuple[float, float, float]:
    """Green with three margins of room, red at the end of the range."""
    share = min(max(room / 3.0, 0.0), 1.0)
    return (0.85 - 0.7 * share, 0.15 + 0.4 * share, 0.15)


def _scene_of(env: ExoskeletonArm) -> Scene:
    """Row 0 as a picture shows it."""
    row = take(env.state, torch.zeros(1, dtype=torch.int64, device=env.device))
    body, angle, time = env.body, row["motion"][:7], row["elapsed"] * DT
    pose = body.chain.pose(body.links(row["links"]), angle)
    points = torch.cat((pose.hinge[:, [0, 3, 6], 0], pose.tip), 1)
    room = (body.half - (angle - body.middle).abs()) / MARGIN
    motor, _, command, *_ = row["joints"].unbind()
    target, _ = env.task.target(row["plan"], time)
    distance, *_, authority = row["score"][:, 0].tolist()
    kind = IMPAIRMENTS[int(row["human_kind"])]
    told = f"t {float(time):4.2f} s   distance {100.0 * distance:5.1f} cm   authority {authority:4.2f}"
    told += f"   level {int(env.levels[0])}   {kind} {float(row['human_severity']):.2f}"

    def plain(value: Tensor) -> NDArray[np.float64]:
        return value.cpu().double().numpy()

    return Scene(
        points=plain(points),
        target=plain(target[:, 0] * row["traits"][0]),
        path=plain(row["traits"][0] * env.task.path()),
        tolerance=TOLERANCE,
        room=plain(room[:, 0]),
        motor=plain((motor / body.torque_limit)[:, 0]),
        human=plain(command[:, 0]),
        step=int(row["elapsed"]),
        caption=told,
    )
