"""Laws that real clips of the G1 must keep; skipped without the folder that LITMOTIF_DATA names."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules.robots.jumps import find_jumps
from datamodules.robots.kinematics import g1
from datamodules.trajectories.features import robot_features
from datamodules.trajectories.mirror import mirror_points, mirrored, partners
from datamodules.trajectories.readers import read_folder
from datamodules.trajectories.store import TrajectoryStore

DATA = Path(os.environ.get("LITMOTIF_DATA", "nowhere")) / "motion" / "g1_moves"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="LITMOTIF_DATA holds no motion/g1_moves")


@pytest.fixture(scope="module")
def clips():
    return read_folder(DATA / "csv")


def test_all_is_read_with_the_rate_of_the_manifest(clips):
    assert (len(clips), sum(map(len, clips)), {clip.fps for clip in clips}) == (59, 106_149, {60.0})


def test_joints_stay_within_their_limits(clips):
    beyond = [(clip.limits[:, 0] - clip.joint_pos).maximum(clip.joint_pos - clip.limits[:, 1]).max() for clip in clips]
    assert max(beyond) < 1e-4, "rounding of the limits in the retargeting"


def test_kinematics_are_those_of_the_simulator_and_csv_and_npz_are_one_clip(clips):
    path = DATA / "npz_sample" / "B_Fence1.npz"
    (clip,) = read_folder(path)  # finds the order of bodies: depth first
    (twin,) = (other for other in clips if other.name == "B_Fence1")
    torch.testing.assert_close(clip.joint_pos, twin.joint_pos[:-1], rtol=0, atol=2e-5)
    with np.load(path) as file:
        stored, speed = torch.from_numpy(file["body_pos_w"]).double(), torch.from_numpy(file["body_lin_vel_w"]).double()
    pos, _ = g1().forward(clip.root_pos, clip.root_quat, clip.joint_pos)
    assert torch.linalg.vector_norm(pos - stored, dim=-1).max() < 1e-6
    seen = robot_features(clip, g1())
    torch.testing.assert_close(seen.root_vel[1:], speed[1:-1, 0], rtol=0, atol=1e-5)


def test_more_than_half_of_the_clips_jump(clips):
    jumping = {jump.recording for clip in clips for jump in find_jumps(clip) if jump.part.endswith("joint")}
    assert len(jumping) == 33


def test_mirror_images_of_real_motion(clips):
    clip, swap = clips[0], partners(g1().bodies)
    pos, _ = g1().forward(clip.root_pos, clip.root_quat, clip.joint_pos)
    image = mirrored(clip, g1())
    reflected, _ = g1().forward(image.root_pos, image.root_quat, image.joint_pos)
    off = (reflected - mirror_points(pos[:, swap])).abs()
    legs = [row for row, name in enumerate(g1().bodies) if any(part in name for part in ("hip", "knee", "ankle"))]
    assert off[:, legs].max() < 1e-9
    assert off.max() < 1.1e-5, "the model's right shoulder sits 0.01 mm further in"


def test_windows_of_real_motion_have_statistics(clips):
    store = TrajectoryStore([robot_features(clip, g1()) for clip in clips[:6]])
    statistics = store.statistics(store.starts(21), 21, 4)
    assert all(part.isfinite().all() for part in statistics)
    assert statistics.state_std.min() > 0
