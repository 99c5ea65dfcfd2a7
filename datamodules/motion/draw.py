"""Pictures of clips: moments side by side, and films."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from matplotlib.figure import Figure

from ..core import DataError
from ..stick_figures import Skeleton, View, draw_strip, save_animation
from .clip import Clip

FRONT = View(azimuth=125.0, elevation=10.0)
"""From ahead and a little from the left, for somebody who faces along x once z points up (``canonical`` clips do)."""


def strip(clips: Sequence[Clip], scenes: int = 8, view: View = FRONT) -> Figure:
    """Moments of each clip, a row each under its first caption; left is orange, right is blue.

    Args:
        clips: of the same joints.
        scenes: moments, evenly spread.
        view: where one looks from.

    Raises:
        DataError: no clip, or clips of different joints.
    """
    skeletons, edges, names = _figures(clips, 90)
    return draw_strip(skeletons, edges, names, scenes, view)


def save_film(path: str | Path, clips: Sequence[Clip], view: View = FRONT) -> None:
    """All clips side by side under their captions, in real time.

    Args:
        path: ends in ``.gif`` or ``.mp4``, see ``save_animation``.
        clips: of the same joints and rate; a shorter one stays in its last pose.
        view: where one looks from.

    Raises:
        DataError: no clip, clips of different joints or rates, another ending, or no program ffmpeg for ``.mp4``.
    """
    rates = {clip.fps for clip in clips}
    if len(rates) > 1:
        raise DataError(
            f"film of clips at {', '.join(f'{rate:g}' for rate in sorted(rates))} fps: resample them to one."
        )
    skeletons, edges, names = _figures(clips, 34)
    save_animation(path, skeletons, edges, names, clips[0].fps, view)


def _figures(clips: Sequence[Clip], width: int) -> tuple[list[Skeleton], list[tuple[int, int]], list[str]]:
    """Clips as figures with z up and captions of lines of ``width`` characters; bones; names that say left or right."""
    if not clips or any(clip.skeleton.names != clips[0].skeleton.names for clip in clips):
        raise DataError(f"{len(clips)} clips to draw: at least one is needed, and all of the same joints.")
    first = clips[0].skeleton
    turned = {"y": [2, 0, 1], "z": [0, 1, 2]}  # an even exchange of axes: left stays left
    figures = [
        Skeleton(fill((clip.captions or (clip.name,))[0], width), clip.positions[..., turned[clip.skeleton.up]].numpy())
        for clip in clips
    ]
    edges = [(parent, joint) for joint, parent in enumerate(first.parents) if parent >= 0]
    return figures, edges, [name.lower() for name in first.names]
