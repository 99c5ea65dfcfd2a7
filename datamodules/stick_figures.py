"""Pictures of moving skeletons: bones between bodies above a ground plane, seen from the side and a little above."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from litmotif.errors import DataError

Points = NDArray[np.floating[Any]]
_LEFT, _RIGHT, _MIDDLE, _GROUND, _PATH = "#c85a28", "#1e6ec8", "#282c34", "#d4d8de", "#8fb98f"
_TILE = 0.5  # m


class Skeleton(NamedTuple):
    """One figure to draw."""

    title: str
    points: Points
    """Positions of the bodies (T, B, 3) m, z up."""


class View(NamedTuple):
    """Where one looks from, without perspective."""

    azimuth: float = 35.0
    """Degrees; 0 looks along the world's y axis, x to the right."""
    elevation: float = 12.0
    """Degrees above the ground."""

    def flat(self, points: Points) -> Points:
        """Points (..., 3) on the picture (..., 2), m."""
        a, e = math.radians(self.azimuth), math.radians(self.elevation)
        right = np.array([math.cos(a), math.sin(a), 0.0])
        up = np.array([-math.sin(a) * math.sin(e), math.cos(a) * math.sin(e), math.cos(e)])
        return np.stack((points @ right, points @ up), axis=-1)


def draw_strip(
    skeletons: Sequence[Skeleton],
    edges: Sequence[tuple[int, int]],
    names: Sequence[str] = (),
    scenes: int = 6,
    view: View = View(),
) -> Figure:
    """Moments of each skeleton side by side, a row each.

    Args:
        skeletons: of the same bodies.
        edges: pairs of bodies with a bone between them, ``KinematicTree.edges``.
        names: of the bodies: left and right sides are then told apart by colour.
        scenes: moments, evenly spread.
        view: where one looks from.
    """
    size = _half_size(skeletons, view)
    figure = Figure(figsize=(1.7 * scenes, 2.6 * len(skeletons)), layout="constrained")
    for row, skeleton in enumerate(skeletons):
        for column, step in enumerate(np.linspace(0, len(skeleton.points) - 1, scenes).astype(int)):
            axes = figure.add_subplot(len(skeletons), scenes, row * scenes + column + 1)
            _draw(axes, skeleton.points, int(step), edges, names, view, size)
            axes.set_title(
                f"{skeleton.title}\nstep {step}" if column == 0 else f"\nstep {step}", fontsize=8, loc="left"
            )
    return figure


def save_animation(
    path: str | Path,
    skeletons: Sequence[Skeleton],
    edges: Sequence[tuple[int, int]],
    names: Sequence[str] = (),
    fps: float = 30.0,
    view: View = View(),
) -> None:
    """A film of all skeletons side by side, each followed by its own camera.

    Args:
        path: ends in ``.gif``, or in ``.mp4``, for which the program ffmpeg has to be installed.
        skeletons: of the same bodies; a shorter one stays in its last pose.
        edges: pairs of bodies with a bone between them.
        names: of the bodies, for the colours of the sides.
        fps: steps a second of the motion; the film shows at most 25 pictures a second of it, in real time.
        view: where one looks from.

    Raises:
        DataError: another ending, or no ffmpeg.
    """
    size, every = _half_size(skeletons, view), max(1, math.ceil(fps / 25))
    figure = Figure(figsize=(3.0 * len(skeletons), 3.6), layout="constrained")
    writer = _film(Path(path))(fps=max(1, round(fps / every)))
    with writer.saving(figure, str(path), dpi=80):
        for step in range(0, max(len(skeleton.points) for skeleton in skeletons), every):
            figure.clear()
            for column, skeleton in enumerate(skeletons):
                axes = figure.add_subplot(1, len(skeletons), column + 1)
                _draw(axes, skeleton.points, min(step, len(skeleton.points) - 1), edges, names, view, size)
                axes.set_title(f"{skeleton.title}   {step / fps:.1f} s", fontsize=8, loc="left")
            writer.grab_frame()


def _film(path: Path) -> type[AbstractMovieWriter]:
    """What writes such a file."""
    if path.suffix not in (".gif", ".mp4"):
        raise DataError(f"{path}: films end in .gif or .mp4.")
    if path.suffix == ".gif":
        return PillowWriter
    if not FFMpegWriter.isAvailable():
        raise DataError(f"{path}: the program ffmpeg is not installed. Install it, or write a .gif.")
    return FFMpegWriter


# ---------------------------------------------------------------------- one picture
def _draw(
    axes: Axes,
    points: Points,
    step: int,
    edges: Sequence[tuple[int, int]],
    names: Sequence[str],
    view: View,
    half: tuple[float, float],
) -> None:
    """One skeleton at one step, the camera on its root."""
    body, ground = points[step], np.array([1.0, 1.0, 0.0])
    tiles = np.arange(-8, 9) * _TILE
    near = np.floor(body[0] / (2 * _TILE)) * 2 * _TILE * ground
    ends = np.array([-8, 8]) * _TILE
    grid = [np.array([[x, end, 0.0] for end in ends]) for x in tiles]
    lines = [view.flat(line[:, order] + near) for line in grid for order in ([0, 1, 2], [1, 0, 2])]
    axes.add_collection(LineCollection(lines, colors=_GROUND, linewidths=0.6))
    axes.add_collection(LineCollection([view.flat(points[: step + 1, 0] * ground)], colors=_PATH, linewidths=1.5))
    axes.add_collection(LineCollection([view.flat(body[list(edge)] * ground) for edge in edges], colors="#b8bcc4"))
    flat = view.flat(body)
    colours = [_side(names[child] if names else "") for _, child in edges]
    bones = LineCollection([flat[list(edge)] for edge in edges], colors=colours, linewidths=2.6, capstyle="round")
    axes.add_collection(bones)
    (x, _), (_, y) = flat[0], view.flat(body[0] * ground)
    axes.set_xlim(x - half[0], x + half[0])
    axes.set_ylim(y - 0.25, y - 0.25 + 2 * half[1])
    axes.set_aspect("equal")
    axes.set_axis_off()


def _side(name: str) -> str:
    return _LEFT if "left" in name else _RIGHT if "right" in name else _MIDDLE


def _half_size(skeletons: Sequence[Skeleton], view: View) -> tuple[float, float]:
    """Half the width and height in m that hold every skeleton at every step, seen from its root on the ground."""
    ground = np.array([1.0, 1.0, 0.0])
    spread = [view.flat(s.points - s.points[:, :1] * ground) for s in skeletons]
    width = max(float(np.abs(flat[..., 0]).max()) for flat in spread)
    height = max(float(flat[..., 1].max()) for flat in spread)
    return max(0.5, width + 0.1), max(0.8, height + 0.35) / 2
