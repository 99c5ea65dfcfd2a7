"""Recordings and controllers of the mobile base."""

import math

import pytest
import torch

from datamodules import noise
from datamodules.envs.mobile_base import DT, LIMITS, RADIUS, Motion, advance, pillar_gap, standing
from datamodules.robots.recording import common_layout
from datamodules.trajectories.mobile_base import expert
from datamodules.trajectories.mobile_base.recordings import (
    BEHAVIOURS,
    NOISE,
    NOISE_RATE,
    ActionNoise,
    record,
    to_recordings,
)
from datamodules.trajectories.mobile_base.scenes import (
    HALF_WIDTH,
    PILLARS,
    SPARE,
    THICK,
    THIN,
    draw_scene,
    nearest_obstacles,
)
from litmotif.geometry.frames import to_character
from litmotif.geometry.rotations import wrapped


@pytest.fixture(scope="module")
def episodes():
    torch.set_num_threads(1)
    return record(num=60, steps=200, seed=3)


def _heading(quat):
    return 2 * torch.atan2(quat[..., 2], quat[..., 3])


def _speeds(episodes):
    return torch.cat((episodes.body_vel, episodes.yaw_rate), -1)


# ---------------------------------------------------------------------- recordings
def test_each_action_leads_from_its_state_to_the_next(episodes):
    pose = torch.cat((episodes.root_pos[..., :2], _heading(episodes.root_quat).unsqueeze(-1)), -1)
    speed = _speeds(episodes)
    start = Motion(pose[:, :-1].reshape(-1, 3), speed[:, :-1].reshape(-1, 3))
    after, _ = advance(start, episodes.actions[:, :-1].reshape(-1, 3))
    assert (after.pose[:, :2] - pose[:, 1:, :2].reshape(-1, 2)).abs().max() < 1e-4
    assert wrapped(after.pose[:, 2] - pose[:, 1:, 2].reshape(-1)).abs().max() < 1e-4
    assert (after.speed - speed[:, 1:].reshape(-1, 3)).abs().max() < 1e-5


def test_the_world_velocity_is_the_change_of_the_position(episodes):
    mean = (episodes.root_vel[:, 1:] + episodes.root_vel[:, :-1]) / 2
    change = (episodes.root_pos[:, 1:] - episodes.root_pos[:, :-1]) / DT
    assert (mean - change).norm(dim=-1).quantile(0.999) < 0.05  # a trapezoid against the true path
    assert (episodes.root_quat.norm(dim=-1) - 1).abs().max() < 1e-6
    assert (episodes.root_pos[..., 2] == 0).all()


def test_the_recordings_cover_the_motions_within_the_limits(episodes):
    speed = _speeds(episodes)
    assert (episodes.actions.abs() <= torch.tensor(LIMITS)).all()
    assert (speed[:, 0] == 0).all()  # each begins at rest
    low, high = speed.flatten(0, 1).quantile(torch.tensor([0.01, 0.99]), dim=0)
    assert (high > torch.tensor([1.0, 0.6, 0.9])).all()
    assert (low < torch.tensor([-0.4, -0.6, -0.9])).all()
    still = episodes.root_vel.norm(dim=-1) < 0.15
    assert 0.1 < still.float().mean() < 0.4
    assert episodes.behaviour.bincount().tolist() == [20] * len(BEHAVIOURS)


def test_an_episode_is_a_function_of_seed_and_number(episodes):
    few, other = record(num=7, steps=200, seed=3), record(num=7, steps=200, seed=4)
    for name, value in few._asdict().items():
        assert torch.equal(value, getattr(episodes, name)[:7]), name
    assert not torch.equal(few.actions, other.actions)
    short = record(num=7, steps=50, seed=3)  # and of nothing that comes later
    assert torch.equal(short.actions[:2], few.actions[:2, :50])  # without pillars no later fall can change it


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="num=0, steps=10"):
        record(0, 10)


def test_as_recordings_they_have_a_planar_layout_and_survive_the_character_frame(episodes):
    recordings = to_recordings(episodes)
    assert recordings[0].name == "base/00000-waypoint"
    assert len({recording.motion for recording in recordings}) == len(recordings) == 60
    layout = common_layout(recordings)
    assert layout["root"] == "planar"
    assert [part["name"] for part in layout["state"]] == ["root_pos", "root_vel", "root_rot", "body_vel", "yaw_rate"]
    assert sum(part["size"] for part in layout["state"]) == 8
    assert layout["fps"] == pytest.approx(10.0)
    r = recordings[4]
    root, _ = to_character(r.root_pos[None, :20], r.root_quat[None, :20], r.root_vel[None, :20], 7, planar=True)
    assert root[0, 7, [0, 1, 4]].abs().max() < 1e-12
    assert (root[0, 7, 2:4] - r.local[7, :2]).abs().max() < 1e-5  # there, root velocity is body velocity


# ---------------------------------------------------------------------- noise
def test_action_noise_has_the_moments_of_the_process():
    shaking = ActionNoise(noise.combine(torch.arange(20_000)), NOISE)
    values = [shaking.value] + [shaking.step(moment) for moment in range(1, 11)]
    variance = NOISE**2 / (2 * NOISE_RATE)
    for value in (values[0], values[-1]):
        assert value.mean().abs() < 4 * math.sqrt(variance / value.numel())
        assert value.var().item() == pytest.approx(variance, rel=0.03)
    covariance = (values[0] * values[-1]).mean().item()
    assert covariance == pytest.approx(variance * math.exp(-NOISE_RATE * 10 * DT), rel=0.05)


# ---------------------------------------------------------------------- scenes
def test_every_forest_has_a_way_through():
    scene = draw_scene("forest", noise.combine(5, torch.arange(200)))
    pillars = scene.pillars.double()
    assert pillars.shape == (200, PILLARS, 3)
    assert ((pillars[..., 2] >= THIN) & (pillars[..., 2] <= THICK)).all()
    # no gap between two pillars is closed, so no fence of pillars joins the walls
    gap = torch.cdist(pillars[..., :2], pillars[..., :2]) - pillars[:, None, :, 2] - pillars[..., 2:]
    gap = gap + torch.eye(PILLARS) * 1e3
    assert gap.min() >= 2 * (RADIUS + SPARE) - 1e-5
    reaches_both = (pillars[..., 1].abs() + pillars[..., 2] + 2 * RADIUS) > 2 * HALF_WIDTH
    assert not reaches_both.any()
    for place in (scene.start[:, :2], scene.goal):
        assert pillar_gap(place, place, scene.pillars).min() >= SPARE


def test_the_nearest_obstacles_come_first_and_walls_are_discs():
    scene = draw_scene("forest", noise.combine(6, torch.arange(30)))
    place = torch.stack((torch.linspace(0, 9, 30), torch.linspace(-3, 3, 30)), 1)
    seen = nearest_obstacles(scene, place, 6, 2.5)
    gap = (seen[..., :2] - place.unsqueeze(1)).norm(dim=-1) - seen[..., 2]
    assert (gap.sort(1)[0] - gap).abs().max() < 2e-3  # float32 at 1 km
    assert (seen[gap > 2.5][:, 2] == 0).all()
    row = 0  # at y = -3: the wall y = -4 is 1 m away
    wall = seen[row][seen[row][:, 2] > 100]
    assert wall.shape == (1, 3)
    assert (wall[0, :2] - place[row]).norm() - wall[0, 2] == pytest.approx(1.0, abs=1e-3)
    everything = (scene.pillars[..., :2] - place.unsqueeze(1)).norm(dim=-1) - scene.pillars[..., 2]
    assert ((everything <= 2.5).sum(1).clamp(max=5) <= (gap <= 2.5).sum(1)).all()


# ---------------------------------------------------------------------- controllers
def test_free_way_ends_where_the_margin_begins():
    place, obstacles = torch.zeros(1, 2), torch.tensor([[[2.0, 0.0, 0.2]]])
    free = expert.free_way(place, torch.tensor([[0.0, math.pi / 2, math.pi]]), obstacles, torch.tensor([5.0]))
    assert torch.allclose(free, torch.tensor([[2.0 - 0.2 - RADIUS - 0.15, 5.0, 5.0]]), atol=1e-5)


def test_a_violated_margin_is_left():
    goal, pillar = torch.tensor([[3.0, 0.0]]), torch.tensor([[[0.0, -0.5, 0.2]]])  # beside it: a gap of 0.05 m of 0.15
    velocity = expert.towards(standing(torch.zeros(1, 3)), goal, pillar)
    free = expert.towards(standing(torch.zeros(1, 3)), goal, pillar - torch.tensor([0.0, 0.11, 0.0]))
    assert free[0, 1].abs() < 1e-6
    assert velocity[0, 1] >= 0.4 - 1e-6  # 4/s of 0.1 m


def test_a_controller_stops_at_its_goal_and_its_actions_are_smooth():
    motion, last = standing(torch.tensor([[0.0, 0.0, 2.0]])), torch.zeros(1, 3)
    goal, nothing = torch.tensor([[2.5, -1.5]]), torch.zeros(1, 0, 3)
    for _ in range(100):
        velocity = expert.towards(motion, goal, nothing)
        wish = expert.to_speeds(motion, velocity, expert.facing(motion, velocity))
        action = expert.smooth(last, wish)
        assert (action - last)[:, :2].norm() <= expert.SLEW * DT + 1e-6
        motion, last = advance(motion, action)[0], action
    assert (motion.pose[:, :2] - goal).norm() < 0.02
    assert motion.speed.norm() < 0.05


def test_speeds_out_of_reach_keep_their_direction():
    wish = torch.tensor([[3.0, 1.0, 0.2], [0.5, -2.0, -9.0]])
    slowed = expert.within_reach(wish)
    assert torch.allclose(slowed, torch.tensor([[1.2, 0.4, 0.2], [0.2, -0.8, -1.5]]), atol=1e-6)
