"""Character frames: the way there and back, and what they must not see."""

import pytest
import roma
import torch

from litmotif.geometry.frames import each, frame_of, from_frame, to_character, to_frame, to_world
from litmotif.geometry.rotations import about

from ..trajectories.robots import normal, unit

CLOSE = {"rtol": 0, "atol": 1e-10}
B, W, CURRENT = 6, 9, 3


def windows(planar):
    pos, quat, vel = normal(B, W, 3, seed=1), unit(B, W, seed=2), normal(B, W, 3, seed=3)
    if planar:
        flat = torch.tensor([1.0, 1.0, 0.0])
        return pos * flat, about("z", normal(B, W, seed=4)), vel * flat
    return pos, quat, vel


@pytest.mark.parametrize("planar", [False, True])
def test_round_trip(planar):
    pos, quat, vel = windows(planar)
    root, frame = to_character(pos, quat, vel, CURRENT, planar)
    assert root.shape == (B, W, 5 if planar else 9)
    back_pos, back_quat, back_vel = to_world(root, frame)
    torch.testing.assert_close(back_pos, pos, **CLOSE)
    torch.testing.assert_close(back_vel, vel, **CLOSE)
    torch.testing.assert_close((back_quat * quat).sum(-1).abs(), torch.ones(B, W, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("planar", [False, True])
def test_turning_and_moving_the_world_changes_nothing(planar):
    pos, quat, vel = windows(planar)
    turn, shift = about("z", normal(B, 1, seed=5)), normal(B, 1, 3, seed=6) * torch.tensor([1.0, 1.0, 0.0])
    moved = roma.quat_action(turn, pos) + shift, roma.quat_product(turn, quat), roma.quat_action(turn, vel)
    expected, _ = to_character(pos, quat, vel, CURRENT, planar)
    torch.testing.assert_close(to_character(*moved, CURRENT, planar)[0], expected, **CLOSE)


def test_height_and_tilt_are_kept_and_the_current_step_is_at_the_origin():
    pos, quat, vel = windows(False)
    root, frame = to_character(pos, quat, vel, CURRENT)
    torch.testing.assert_close(root[..., 2], pos[..., 2], **CLOSE)
    torch.testing.assert_close(root[:, CURRENT, :2], torch.zeros(B, 2, dtype=torch.float64), **CLOSE)
    heading = frame_of(*to_world(root, frame)[:2]).heading[:, CURRENT]
    torch.testing.assert_close(heading, frame.heading, **CLOSE)
    assert (to_character(pos, quat, vel, 0)[0] - root).abs().max() > 0.1, "another step is another frame"


def test_points_go_there_and_back():
    frame = frame_of(normal(B, 3), unit(B))
    points = normal(B, 4, 3)
    torch.testing.assert_close(from_frame(each(frame), to_frame(each(frame), points)), points, **CLOSE)
    ahead = from_frame(frame, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).expand(B, 3))
    expected = frame.origin + torch.stack((frame.heading.cos(), frame.heading.sin()), dim=-1)
    torch.testing.assert_close(ahead[:, :2], expected, **CLOSE)
