"""The wheelchair: laws of its motion, the meaning of its costs, its keys, and what policies reach in it."""

import math

import numpy as np
import pytest
import torch

from datamodules.envs import drive, rooms, steering
from datamodules.envs.shared_control import blend
from datamodules.envs.wheelchair import Wheelchair

ROOMS = 8  # per level: few, so that they are built at once
ALONE = torch.tensor([0.0, 0.0, -1.0])


def _env(num_envs=4, **keys) -> Wheelchair:
    env = Wheelchair(num_envs, rooms_per_level=ROOMS, **keys)
    env.reset(seed=11)
    return env


def _chair(n=1, friction=0.8, lag=0.1, slope=(0.0, 0.0)) -> drive.Chair:
    ones = torch.ones(n)
    return drive.Chair(drive.MASS * ones, friction * ones, lag * ones, torch.tensor(slope).unsqueeze(1).expand(2, n))


def _motion(v=0.0, w=0.0, n=1, heading=0.0) -> drive.Motion:
    speed = torch.tensor([[v], [w]]).expand(2, n)
    pose = torch.tensor([[5.0], [5.0], [heading]]).expand(3, n)
    return drive.Motion(pose, speed, torch.zeros(2, n), speed)


def _drive(chair: drive.Chair, motion: drive.Motion, target: list[float], seconds: float) -> list[drive.Motion]:
    track = [motion]
    wanted = torch.tensor(target).unsqueeze(1).expand(2, motion.pose.shape[1])
    for _ in range(round(seconds / 0.05)):
        track.append(drive.advance(chair, track[-1], wanted, 0.05)[0])
    return track


@pytest.fixture
def coasting(monkeypatch):
    """No motor, no resistance."""
    for name in ("GAIN", "YAW_GAIN", "ROLLING", "SCRUB"):
        monkeypatch.setattr(drive, name, 0.0)


# ---------------------------------------------------------------------- motion
def test_a_coasting_chair_keeps_its_kinetic_energy(coasting, monkeypatch):
    monkeypatch.setattr(drive, "AHEAD", 0.3)  # a strong coupling of v and w
    inertia = drive.GYRATION**2 + drive.AHEAD**2
    track = _drive(_chair(), _motion(1.2, 1.0), [0.0, 0.0], 5.0)
    speed = torch.stack([motion.speed[:, 0] for motion in track])
    energy = 0.5 * drive.MASS * (speed[:, 0].square() + inertia * speed[:, 1].square())
    assert speed[-1, 1].abs() < 0.5  # the energy went from the turn into the speed
    assert (energy / energy[0] - 1.0).abs().max() < 0.02


def test_on_a_slope_a_coasting_chair_falls_freely(coasting):
    pull, heading = 0.5, 0.7
    slope = (pull * math.cos(heading), pull * math.sin(heading))  # uphill straight ahead
    end = _drive(_chair(slope=slope), _motion(heading=heading), [0.0, 0.0], 2.0)[-1]
    torch.testing.assert_close(end.speed[:, 0], torch.tensor([-pull * 2.0, 0.0]), rtol=1e-4, atol=1e-4)
    way = torch.hypot(*(end.pose[:2, 0] - 5.0))
    assert abs(float(way) - 0.5 * pull * 2.0**2) < 0.01


def test_across_a_slope_the_chair_turns_downhill(coasting):
    end = _drive(_chair(slope=(0.0, 0.5)), _motion(), [0.0, 0.0], 1.0)[-1]  # uphill to the left
    assert end.speed[1] < -0.05


def test_the_motor_follows_its_demand_with_a_first_order_lag(monkeypatch):
    monkeypatch.setattr(drive, "RISE", 1e6)  # the demand saturates at once, and the chair cannot catch up
    monkeypatch.setattr(drive, "GAIN", 1e6)
    for lag in (0.1, 0.3):
        track = _drive(_chair(lag=lag, friction=9.0), _motion(), [1.6, 0.0], 0.25)
        torque = torch.stack([motion.torque[0, 0] for motion in track])
        time = 0.05 * torch.arange(len(track))
        torch.testing.assert_close(torque, drive.TORQUE_MAX * (1.0 - torch.exp(-time / lag)), rtol=1e-4, atol=1e-3)


def test_the_chair_reaches_what_it_is_told_and_drives_a_circle():
    track = _drive(_chair(), _motion(), [1.0, 0.5], 30.0)
    torch.testing.assert_close(track[-1].speed[:, 0], torch.tensor([1.0, 0.5]), rtol=0.08, atol=0.0)
    v, w = track[-1].speed[:, 0].tolist()
    pose = torch.stack([motion.pose[:2, 0] for motion in track[200:]])
    centre = 0.5 * (pose.amax(0) + pose.amin(0))
    assert (torch.hypot(*(pose - centre).T) - v / w).abs().max() < 0.02


def test_the_reference_rises_as_the_limits_say():
    speed = torch.stack([motion.speed[0, 0] for motion in _drive(_chair(), _motion(), [1.6, 0.0], 1.5)])
    assert abs(float(speed[25] - speed[15]) / 0.5 - drive.RISE) < 0.05
    braked = torch.stack([motion.speed[0, 0] for motion in _drive(_chair(), _motion(1.6), [0.0, 0.0], 1.0)])
    assert abs(float(braked[8] - braked[14]) / 0.3 - drive.FALL) < 0.2


def test_ice_passes_on_no_more_than_friction_times_load():
    ice, floor = _chair(friction=0.03), _chair()
    slow, fast = (_drive(chair, _motion(), [1.6, 0.0], 1.0)[-1].speed[0, 0] for chair in (ice, floor))
    most = 0.03 * drive.GRAVITY * drive.DRIVEN_SHARE
    assert 0.0 < slow < most
    assert fast > 4.0 * slow
    assert drive.advance(ice, _drive(ice, _motion(), [1.6, 0.0], 0.5)[-1], torch.tensor([[1.6], [0.0]]), 0.05)[1] > 0.5
    assert drive.advance(floor, _motion(0.5), torch.tensor([[0.5], [0.0]]), 0.05)[1] == 0.0


def test_a_curve_takes_from_the_friction_circle_and_loads_the_outer_wheel():
    weight = torch.tensor([drive.MASS * drive.GRAVITY])
    left, right = drive._traction(_chair(friction=0.4), torch.tensor([1.2]), torch.tensor([1.2]), weight)
    straight = drive._traction(_chair(friction=0.4), torch.tensor([1.2]), torch.tensor([0.0]), weight).sum()
    assert right > left
    sideways = 1.44 / (0.4 * drive.GRAVITY)
    torch.testing.assert_close((left + right)[0], straight * math.sqrt(1.0 - sideways**2))


def test_wheels_slow_the_whole_curve_down():
    v, w = drive._within_wheels(torch.tensor([[1.67, 0.5], [1.5, 1.5]]))
    assert abs(float(v[0] + 0.5 * drive.TRACK * w[0]) - drive.WHEEL_SPEED_MAX) < 1e-6
    assert abs(float(w[0] / v[0]) - 1.5 / 1.67) < 1e-6
    assert (float(v[1]), float(w[1])) == (0.5, 1.5)
    end = _drive(_chair(), _motion(), [1.67, 1.5], 4.0)[-1].speed[:, 0]
    assert end[0] + 0.5 * drive.TRACK * end[1] < 1.05 * drive.WHEEL_SPEED_MAX


def test_left_and_right_are_mirror_images():
    start = _motion(0.4, 0.3)
    mirrored = drive.Motion(start.pose, start.speed * torch.tensor([[1.0], [-1.0]]), start.torque, start.reference)
    mirrored = mirrored._replace(reference=mirrored.speed)
    end, other = _drive(_chair(), start, [1.2, 0.9], 2.0)[-1], _drive(_chair(), mirrored, [1.2, -0.9], 2.0)[-1]
    torch.testing.assert_close(end.pose[0], other.pose[0])
    torch.testing.assert_close(end.pose[1] - 5.0, 5.0 - other.pose[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(end.torque, other.torque.flip(0))


# ---------------------------------------------------------------------- the episodes
def test_a_row_of_a_batch_lives_as_it_would_alone():
    keys = {"level": 4, "impairment": "mixed", "severity": [0.2, 1.0], "projection": True, "max_episode_steps": 25}
    batch = _env(5, **keys)
    alone = [Wheelchair(1, rooms_per_level=ROOMS, **keys) for _ in range(5)]
    for i, env in enumerate(alone):
        env.reset(seed=11 + i)
    actions = 2.0 * torch.rand(60, 5, 3, generator=torch.Generator().manual_seed(3)) - 1.0
    for action in actions:
        observation, reward, terminated, truncated, info = batch.step(action)
        for i, env in enumerate(alone):
            other = env.step(action[i : i + 1])
            torch.testing.assert_close(observation[i], other[0][0], rtol=0.0, atol=1e-5)
            torch.testing.assert_close(reward[i], other[1][0], rtol=0.0, atol=1e-5)
            torch.testing.assert_close(info["costs"][i], other[4]["costs"][0], rtol=0.0, atol=1e-5)
            assert (terminated[i], truncated[i]) == (other[2][0], other[3][0])


def test_a_saved_run_goes_on_as_if_it_had_not_stopped():
    env, other = (_env(8, level=3, impairment="tremor", severity=0.7, max_episode_steps=20) for _ in range(2))
    actions = 2.0 * torch.rand(40, 8, 3, generator=torch.Generator().manual_seed(4)) - 1.0
    for action in actions[:15]:
        env.step(action)
    other.load_state_dict(env.state_dict())
    for action in actions[15:]:
        assert torch.equal(env.step(action)[0], other.step(action)[0])


def test_advance_changes_nothing_of_the_state_it_is_given():
    env = _env(6, level=4, impairment="mixed", severity=0.8)
    before = {name: value.clone() for name, value in env.state.items()}
    env.advance(env.state, torch.rand(3, 6))
    assert all(torch.equal(before[name], env.state[name]) for name in before)


def test_the_observation_is_what_it_is_called():
    env = _env(64, level=4, impairment="mixed", severity=0.8)
    for _ in range(40):
        observation, *_ = env.step(env.scripted(env.state).T)
    names, state = env.observation_names, env.state
    assert observation.shape == (64, len(names))
    assert observation.isfinite().all()
    assert observation.abs().max() < 3.0
    column = {name: observation[:, i] for i, name in enumerate(names)}
    torch.testing.assert_close(column["speed"] * drive.SPEED_MAX, state["speed"][0])
    torch.testing.assert_close(column["joystick_yaw"], state["joystick"][1])
    torch.testing.assert_close(column["lidar_3"] * 5.0, state["sensed"][3])
    torch.testing.assert_close(column["elapsed"] * env.max_episode_steps, state["elapsed"].float())
    heading = state["pose"][2]
    x, y = state["way"][1:]
    torch.testing.assert_close(column["way_left"], y * heading.cos() - x * heading.sin(), rtol=1e-4, atol=1e-5)
    # the nearest person: a unit vector times how close
    size = torch.hypot(column["person_ahead"], column["person_left"])
    expected = (1.0 - (state["person_gap"] + rooms.FOOTPRINT + rooms.PERSON) / 5.0).clamp(min=0.0)
    torch.testing.assert_close(size, expected, rtol=1e-3, atol=1e-4)
    assert (size > 0).any()


def test_the_robot_sees_the_joystick_that_it_blends_with():
    env = _env(4, impairment="none")
    for _ in range(10):
        env.step(torch.zeros(4, 3))
    joystick = env.state["joystick"].clone()
    action = torch.tensor([0.4, -0.6, 0.5]).repeat(4, 1)
    env.step(action)
    torch.testing.assert_close(env.state["command"], blend(joystick, action.T[:2], torch.full((4,), 0.75)))


def test_driver_and_lidar_draw_anew_at_each_step(monkeypatch):
    env = _env(2, level=4)
    moments, act = [], env.human.act
    monkeypatch.setattr(
        env.human, "act", lambda state, *rest: moments.append(state["elapsed"][0].item()) or act(state, *rest)
    )
    lost = []
    for _ in range(4):
        env.step(torch.zeros(2, 3))
        lost.append(env.state["sensed"] != env.state["ranges"])
    assert moments == [1, 2, 3, 4]
    assert len({tuple(rays.flatten().tolist()) for rays in lost}) > 1


def _placed(env: Wheelchair, x: torch.Tensor, y: torch.Tensor, heading: float = 0.0) -> None:
    """Stand all chairs of an environment somewhere else."""
    env.state["pose"] = torch.stack((x, y, torch.full_like(x, heading)))
    env.state |= env._sense(env.state, env.state["key"], env.state["elapsed"])


def test_touching_ends_an_episode_badly():
    env = _env(3)
    env.autoreset = False
    _placed(env, torch.full((3,), 0.46), torch.full((3,), 5.0), math.pi)  # a centimetre from the wall, facing it
    ends, rewards = torch.zeros(3, dtype=torch.bool), torch.zeros(3)
    for _ in range(20):
        _, reward, terminated, _, info = env.step(torch.tensor([1.0, 0.0, 1.0]).repeat(3, 1))
        rewards = torch.where(terminated & ~ends, reward, rewards)
        ends |= terminated
        assert not info["success"].any()
    assert ends.all()
    assert (rewards < -9.0).all()


def test_arriving_ends_an_episode_well():
    env = _env(3)
    goal = env.state["goal"]
    _placed(env, goal[0] - 0.5, goal[1])
    for _ in range(40):
        _, reward, terminated, _, info = env.step(torch.tensor([0.5, 0.0, 1.0]).repeat(3, 1))
        if terminated.any():
            break
    assert info["success"].all()
    assert terminated.all()
    assert (reward > 9.0).all()


def test_the_reward_adds_up_to_the_way_gone():
    env = _env(16, impairment="none")
    env.autoreset = False
    begun, total, ended = env.state["way"][0], torch.zeros(16), torch.zeros(16, dtype=torch.bool)
    steps = 59
    for _ in range(steps):
        _, reward, terminated, *_ = env.step(ALONE.repeat(16, 1))
        total, ended = total + reward, ended | terminated
    gone = (begun - env.state["way"][0]) / (drive.SPEED_MAX * 0.05)
    torch.testing.assert_close(total[~ended], (0.3 * gone - 0.03 * steps)[~ended], rtol=1e-3, atol=1e-2)
    assert (~ended).sum() > 4


# ---------------------------------------------------------------------- costs
def _costs(env: Wheelchair, joystick=(0.0, 0.0), jerk=0.0, **state) -> list[float]:
    """The costs of one hand-made moment, in the order of ``cost_names``."""
    at_rest = {"speed": (0.0, 0.0), "gap": 1.0, "free": (4.0, 4.0), "person_gap": 9.0, "command": (0.0, 0.0)}
    tensors = {name: torch.tensor(value).unsqueeze(-1) for name, value in (at_rest | state).items()}
    return env._costs(tensors, torch.tensor(joystick).unsqueeze(1), torch.tensor([jerk]))[:, 0].tolist()


def test_each_cost_means_what_it_says():
    env = _env(1)
    assert _costs(env) == [0.0] * 5
    assert _costs(env, gap=0.3)[0] == pytest.approx(0.0, abs=1e-6)
    assert _costs(env, gap=0.12)[0] == pytest.approx(0.6)
    assert _costs(env, gap=-0.1)[0] == 1.0
    # 0.6 m free: sqrt(2 * 1 * (0.6 - 0.1)) = 1 m/s stops in time
    assert _costs(env, speed=(1.0, 0.0), free=(0.6, 4.0))[1] == pytest.approx(0.0, abs=1e-6)
    assert _costs(env, speed=(1.2, 0.0), free=(0.6, 4.0))[1] == pytest.approx(0.4)
    assert _costs(env, speed=(-0.5, 0.0), free=(0.6, 0.1))[1] == pytest.approx(1.0)
    assert _costs(env, speed=(0.8, 0.0), person_gap=0.5)[1] == pytest.approx(2 * (0.8 - 0.25 - 0.3))
    assert _costs(env, speed=(1.5, 1.0))[2] == 0.0
    assert _costs(env, speed=(1.5, -1.4))[2] == pytest.approx(0.6)
    assert _costs(env, jerk=-2.5)[3] == 0.0
    assert _costs(env, jerk=-7.5)[3] == pytest.approx(0.5)
    assert _costs(env, joystick=(0.8, 0.0), command=(0.3, 0.0))[4] == 0.0
    assert _costs(env, joystick=(0.8, 0.0), command=(0.0, 0.5))[4] == pytest.approx(0.8 - 0.25)  # at right angles
    assert _costs(env, joystick=(0.5, 0.0), command=(-0.5, 0.0))[4] == pytest.approx(1.0 - 0.25)  # against it
    assert _costs(env, joystick=(0.0, 0.0), command=(1.0, 0.0))[4] == 0.0  # nothing was asked for


def test_costs_stay_in_their_range_whatever_happens():
    env = _env(128, level=4, impairment="mixed", severity=[0.0, 1.0])
    generator, worst = torch.Generator().manual_seed(5), torch.zeros(5)
    for step in range(80):
        action = 2.0 * torch.rand(128, 3, generator=generator) - 1.0
        action[:, 0], action[:, 2] = 1.0, 1.0 if step % 20 else -1.0
        action[:, 1] = 0.9
        costs = env.step(action)[4]["costs"]
        assert ((costs >= 0.0) & (costs <= 1.0)).all()
        worst = torch.maximum(worst, costs.amax(0))
    assert (worst > 0.2).all()  # each of them can be violated


# ---------------------------------------------------------------------- projection
def test_the_limit_is_the_nearest_safe_command():
    env = _env(256, level=4, impairment="none")
    for _ in range(30):
        env.step(env.scripted(env.state).T)
    state = env.state
    generator = torch.Generator().manual_seed(6)
    command = 2.0 * torch.rand(2, 256, generator=generator) - 1.0
    safe = steering.limit(state, command)
    v, w = drive.to_speeds(safe)
    speeds = steering.safe_speed(steering.lidar.free_way(state["sensed"]), state["person_gap"], 0.2)
    assert (v <= speeds[0] + 1e-3).all()
    assert (-v <= speeds[1] + 1e-3).all()
    assert ((v * w).abs() <= steering.LATERAL_MAX + 1e-3).all()
    assert (v.abs() + 0.5 * drive.TRACK * w.abs() <= drive.WHEEL_SPEED_MAX + 1e-3).all()
    torch.testing.assert_close(steering.limit(state, safe), safe, rtol=0.0, atol=1e-4)  # what is safe stays
    assert (safe != command).any(0).float().mean() > 0.1
    # nearer than each of many other commands that are safe by definition, with the tangent to v w = a for the curve
    now = state["speed"][0].abs().clamp(1.0, drive.SPEED_MAX)
    distance = torch.hypot(*(command - safe))
    for _ in range(300):
        other = (2.0 * torch.rand(2, 256, generator=generator) - 1.0).abs().copysign(command)
        v, w = drive.to_speeds(other).abs()
        inside = v <= torch.where(command[0] > 0, speeds[0], speeds[1])
        inside &= steering.LATERAL_MAX / now * v + now * w <= 2.0 * steering.LATERAL_MAX
        inside &= v + 0.5 * drive.TRACK * w <= drive.WHEEL_SPEED_MAX
        assert (distance <= torch.hypot(*(command - other)) + 1e-4)[inside].all()


def test_the_limit_looks_ahead_when_going_ahead_and_behind_when_going_back():
    env = _env(2)
    both_ways = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    env.state["person_gap"] = torch.full((2,), 9.0)
    for ray, limited_row in ((0, 0), (8, 1)):  # something 15 cm before the chair, then behind it
        env.state["sensed"] = torch.full((16, 2), 5.0)
        env.state["sensed"][ray] = rooms.FOOTPRINT + 0.15
        command = steering.limit(env.state, both_ways)
        assert 0.0 < command[0, limited_row].abs() < 0.4
        assert command[0, 1 - limited_row].abs() > 0.99


def _recklessly(env: Wheelchair, steps: int) -> torch.Tensor:
    """Costs (M,) and collisions of a robot that drives at full speed along the way, per step."""
    costs = torch.zeros(6)
    for _ in range(steps):
        action = env.scripted(env.state)
        action[0], action[2] = 1.0, 1.0
        *_, info = env.step(action.T)
        costs += torch.cat((info["costs"].mean(0), info["measures"]["collision"].mean().view(1)))
    return costs / steps


def test_projection_keeps_a_reckless_robot_in_check():
    free, limited = (_recklessly(_env(96, level=3, projection=on), 100) for on in (False, True))
    assert limited[1] < 0.3 * free[1]  # speed margin
    assert limited[5] < 0.3 * free[5]  # collisions
    assert free[5] > 0.002


# ---------------------------------------------------------------------- keys
def test_every_key_changes_what_it_names():
    def after(steps=25, **keys):
        env = _env(16, **keys)
        for _ in range(steps):
            observation, _, _, truncated, info = env.step(torch.tensor([0.5, 0.3, 0.0]).repeat(16, 1))
        return observation, info, truncated, env

    plain = after()[0]
    for key, value in {
        "level": 3,
        "rooms_seed": 1,
        "max_episode_steps": 300,
    }.items():
        assert not torch.equal(after(**{key: value})[0], plain), key
    tremor = after(impairment="tremor", severity=0.5)
    assert not torch.equal(tremor[0], plain)
    assert not torch.equal(tremor[0], after(impairment="tremor", severity=0.9)[0])
    severity = _env(64, impairment="mixed", severity=[0.2, 0.4]).state["human_severity"]
    assert 0.2 <= severity.min() < severity.max() <= 0.4
    assert after(max_episode_steps=25)[2].all()
    assert (after(override_budget=0.0)[1]["costs"][:, 4] >= after(override_budget=0.9)[1]["costs"][:, 4]).all()
    assert after(override_budget=0.0)[1]["costs"][:, 4].sum() > after(override_budget=0.9)[1]["costs"][:, 4].sum()
    wide, narrow = _env(3, goal_tolerance=0.8), _env(3, goal_tolerance=0.1)
    for env, arrives in ((wide, True), (narrow, False)):
        _placed(env, env.state["goal"][0] - 0.5, env.state["goal"][1])
        assert env.step(ALONE.repeat(3, 1))[4]["success"].all() == arrives
    assert Wheelchair(2, rooms_per_level=3).bank.goal.shape[1] == 3 * len(rooms.OBSTACLES)


def test_levels_can_be_set_row_by_row():
    env = _env(10)
    assert (env.state["room"] < ROOMS).all()
    assert len(_env(100).state["room"].unique()) == ROOMS
    env.levels = torch.arange(10) % 5
    env.reset()
    assert torch.equal(env.state["room"] // ROOMS, env.levels)
    assert (env.state["dropout"].diff()[:4] > 0).all()
    assert (env.state["chair"][1].diff()[:4] < 0).all()  # friction
    assert (env.state["chair"][2].diff()[:4] > 0).all()  # lag


def test_nobody_stands_in_the_place_where_a_chair_begins():
    env = Wheelchair(2000, level=4, rooms_per_level=ROOMS)
    env.reset(seed=0)
    assert env.state["gap"].min() > 0.25
    assert env.state["person_gap"].min() > 0.5


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"level": 5}, "level"),
        ({"goal_tolerance": 0.0}, "goal_tolerance"),
        ({"override_budget": 1.0}, "override_budget"),
        ({"rooms_per_level": 0}, "rooms_per_level"),
        ({"impairment": "hiccups"}, "impairment"),
        ({"severity": 2.0}, "severity"),
        ({"render_mode": "ascii"}, "render_mode"),
    ],
)
def test_a_wrong_key_is_named(keys, word):
    with pytest.raises(ValueError, match=word):
        Wheelchair(1, **({"rooms_per_level": ROOMS} | keys))


# ---------------------------------------------------------------------- audit
def _audit(policy: str, each: int = 32, **keys) -> dict[str, torch.Tensor]:
    """Mean over the first episodes of each level: (5,) return, cost, length, success."""
    env = Wheelchair(5 * each, rooms_per_level=64, **keys)
    env.levels = torch.arange(5).repeat_interleave(each)
    env.reset(seed=3)
    env.autoreset = False
    generator = torch.Generator().manual_seed(7)
    live = torch.ones(5 * each, dtype=torch.bool)
    sums = {name: torch.zeros(5 * each) for name in ("return", "cost", "length", "success")}
    while live.any():
        action = {
            "zero": lambda: torch.zeros(5 * each, 3),
            "alone": lambda: ALONE.repeat(5 * each, 1),
            "random": lambda: 2.0 * torch.rand(5 * each, 3, generator=generator) - 1.0,
            "scripted": lambda: env.scripted(env.state).T,
        }[policy]()
        _, reward, terminated, truncated, info = env.step(action)
        for name, value in (
            ("return", reward),
            ("cost", info["cost"]),
            ("length", 1.0),
            ("success", info["success"].float()),
        ):
            sums[name] += value * live
        live &= ~(terminated | truncated)
    return {name: value.view(5, each).mean(1) for name, value in sums.items()}


def test_audit_of_policies_at_every_level():
    impaired = {"impairment": "mixed", "severity": [0.4, 0.9]}
    zero, random = _audit("zero", **impaired), _audit("random", **impaired)
    alone, scripted = _audit("alone", **impaired), _audit("scripted", **impaired)
    assert (scripted["success"] >= 0.85).all()
    assert scripted["success"].mean() >= 0.93
    assert (scripted["length"] < 330).all()
    assert (scripted["return"] > 15.0).all()
    assert (scripted["return"] > zero["return"] + 5.0).all()
    assert (scripted["return"] > random["return"] + 10.0).all()
    assert (scripted["success"] >= alone["success"]).all()
    assert scripted["success"][3:].mean() > alone["success"][3:].mean() + 0.1  # help is needed where it is hard
    assert zero["success"].mean() < 0.6
    assert (scripted["cost"] < random["cost"]).all()
    assert (scripted["length"] < alone["length"]).all()


# ---------------------------------------------------------------------- pictures
def test_the_picture_shows_what_happens():
    env = _env(1, level=4, render_mode="rgb_array", impairment="tremor", severity=0.5)
    first = env.render()
    assert first.dtype == np.uint8
    assert first.ndim == 3
    assert first.shape[2] == 3
    assert np.array_equal(first, env.render())
    for _ in range(30):
        env.step(env.scripted(env.state).T)
    assert (first != env.render()).any(2).mean() > 0.01
    assert _env(1).render() is None


def test_the_window_opens_and_closes(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = _env(1, level=2, render_mode="human")
    assert env.render() is None
    assert pygame.display.get_surface() is not None
    env.close()
    assert not pygame.display.get_init()
