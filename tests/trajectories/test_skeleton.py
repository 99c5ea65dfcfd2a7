"""Pictures of skeletons: what is drawn is where it should be."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from datamodules.core import DataError
from datamodules.robots.kinematics import g1
from datamodules.stick_figures import Skeleton, View, draw_strip, save_animation

from .robots import motion

WALK = motion(30)
POINTS = g1().forward(WALK.root_pos, WALK.root_quat, WALK.joint_pos)[0].numpy()


def test_the_view_is_a_turn_without_perspective():
    points = np.random.default_rng(0).normal(size=(20, 3))
    assert np.allclose(View(0, 0).flat(points), points[:, [0, 2]])
    assert np.allclose(View(90, 0).flat(points), points[:, [1, 2]])
    assert np.allclose(View(0, 90).flat(points), points[:, [0, 1]])
    axes = View(35, 12).flat(np.eye(3))
    assert np.allclose(axes.T @ axes, np.eye(2)), "two directions, of length 1 and at a right angle"


def test_every_bone_is_drawn_inside_the_picture():
    figure = draw_strip(
        [Skeleton("a", POINTS), Skeleton("twice as large", 2 * POINTS)], g1().edges, g1().bodies, scenes=4
    )
    assert len(figure.axes) == 8
    for axes in figure.axes:
        bones = [item for item in axes.collections if isinstance(item, LineCollection)][-1].get_segments()
        assert len(bones) == len(g1().edges) == 29
        ends = np.concatenate(bones)
        (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
        assert (ends >= (left, low)).all()
        assert (ends <= (right, high)).all()
    first, last = figure.axes[0], figure.axes[3]
    shown = [axes.collections[-1].get_segments() for axes in (first, last)]
    assert np.allclose(shown[0][0], View().flat(POINTS[0][list(g1().edges[0])]))
    assert not np.allclose(shown[0], shown[1])


def test_an_animation_lasts_as_long_as_the_motion(tmp_path):
    save_animation(tmp_path / "walk.gif", [Skeleton("a", POINTS)], g1().edges, fps=50)
    with Image.open(tmp_path / "walk.gif") as picture:
        assert picture.n_frames == 15
        durations = []
        for frame in range(picture.n_frames):
            picture.seek(frame)
            durations.append(picture.info["duration"])
        assert sum(durations) == 600


def test_an_mp4_is_made_by_ffmpeg_of_as_many_pictures(tmp_path):
    """A program that keeps the raw pictures it is sent stands for ffmpeg."""
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())\n")
    program.chmod(0o755)
    with mpl.rc_context({"animation.ffmpeg_path": str(program)}):
        save_animation(tmp_path / "walk.mp4", [Skeleton("a", POINTS)], g1().edges, fps=50)
    pictures = np.fromfile(tmp_path / "walk.mp4", dtype=np.uint8).reshape(15, 288, 240, 4)
    assert (pictures[0] != pictures[-1]).any()


def test_films_say_what_they_need(tmp_path):
    with pytest.raises(DataError, match=r"walk\.avi: films end in \.gif or \.mp4"):
        save_animation(tmp_path / "walk.avi", [Skeleton("a", POINTS)], g1().edges)
    with mpl.rc_context({"animation.ffmpeg_path": "no-such-program"}), pytest.raises(DataError, match="ffmpeg"):
        save_animation(tmp_path / "walk.mp4", [Skeleton("a", POINTS)], g1().edges)
    assert not list(tmp_path.iterdir())
