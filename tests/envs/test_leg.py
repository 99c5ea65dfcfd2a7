"""The leg exoskeleton as an environment: laws of the base, difficulty, task, and an audit of feasibility."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

import datamodules.envs
from datamodules.envs.exoskeleton_leg import FALL, LEVELS, ExoskeletonLeg
from datamodules.envs.leg_robot import COSTS

torch.set_num_threads(1)


# ------------------------------------------------------------------ the environment
def roll(env, policy, steps=400):
    """Means over the first episode of each row: return, length, success, costs (6,), measures."""
    env.reset(seed=1)
    n, g = env.num_envs, torch.Generator().manual_seed(0)
    alive, totals = torch.ones(n), {name: torch.zeros(n) for name in ("return", "length", "success", *env.cost_names)}
    measures: dict[str, torch.Tensor] = {}
    for _ in range(steps):
        if policy == "scripted":
            action = env.scripted(env.state).T
        else:
            action = torch.zeros(n, len(env.action_names))
            if policy == "random":
                action = 2.0 * torch.rand(action.shape, generator=g) - 1.0
        _, reward, terminated, truncated, info = env.step(action)
        now = {"return": reward, "length": alive, "success": info["success"].float()}
        now |= dict(zip(env.cost_names, info["costs"].T, strict=True))
        for name, value in now.items():
            totals[name] += alive * value
        for name, value in info["measures"].items():
            measures[name] = measures.get(name, torch.zeros(n)) + alive * value
        assert info["costs"].min() >= 0.0
        assert (info["costs"][~terminated] <= 1.0).all()  # a fall is charged with what it cuts off
        assert reward.max() <= 1.0
        alive = alive * ~(terminated | truncated)
        if not alive.any():
            break
    means = {name: (value / totals["length"]).mean().item() for name, value in measures.items()}
    return {name: value.mean().item() for name, value in totals.items()} | means


@pytest.mark.parametrize("bilateral", [False, True])
def test_gymnasium_checks_it(bilateral):
    env = gymnasium.make(
        "litmotif/ExoskeletonLeg-v0", bilateral=bilateral, level=2, impairment="mixed", severity=[0, 1]
    )
    check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("bilateral", [False, True])
def test_a_row_lives_through_what_it_does_alone(bilateral):
    keys = {"level": 3, "impairment": "mixed", "severity": [0.2, 1.0], "bilateral": bilateral, "max_episode_steps": 30}
    many, one = ExoskeletonLeg(6, seed=5, **keys), ExoskeletonLeg(1, seed=9, **keys)
    g = torch.Generator().manual_seed(0)
    together, alone = many.reset()[0], one.reset()[0]
    # random actions over a reset: 70 steps of at most 30 each
    for _ in range(70):
        torch.testing.assert_close(together[4], alone[0], atol=1e-4, rtol=1e-4)
        action = 2.0 * torch.rand(6, len(many.action_names), generator=g) - 1.0
        (together, r, _, _, info), (alone, r1, _, _, info1) = many.step(action), one.step(action[4:5])
        torch.testing.assert_close(r[4], r1[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(info["costs"][4], info1["costs"][0], atol=1e-4, rtol=1e-4)


def test_an_episode_that_ends_keeps_its_last_measures():
    env, twin = (ExoskeletonLeg(3, severity=0.5, max_episode_steps=5) for _ in range(2))
    twin.autoreset = False
    env.reset(seed=0), twin.reset(seed=0)
    for _ in range(5):
        _, _, _, truncated, info = env.step(torch.full((3, 3), 0.3))
        last = twin.step(torch.full((3, 3), 0.3))[4]
    assert truncated.all()
    assert info["measures"]["user_effort"].min() > 0.0
    for name, value in info["measures"].items():
        torch.testing.assert_close(value, last["measures"][name])


def test_levels_are_read_row_by_row_at_the_next_episode():
    env = ExoskeletonLeg(400, level=0, max_episode_steps=3)
    env.levels[200:] = 4
    env.reset(seed=0)
    lag, dropout = env.state["walk"][3], env.state["walk"][5]
    torch.testing.assert_close(lag, torch.tensor([LEVELS[0][3], LEVELS[4][3]]).repeat_interleave(200))
    assert dropout[200:].min() > 0.0
    assert env.state["body"][5][200:].std() > 3 * env.state["body"][5][:200].std()  # body mass
    env.levels[:] = 0
    for _ in range(3):
        env.step(torch.zeros(400, 3))
    torch.testing.assert_close(env.state["walk"][3], torch.full((400,), LEVELS[0][3]))


def test_dropout_holds_the_last_measurement():
    env = ExoskeletonLeg(500, level=4)
    env.reset(seed=0)
    before = env.state["measured"].clone()
    env.step(torch.zeros(500, 3))
    held = (env.state["measured"] == before).flatten(0, 1).all(0)
    assert held.float().mean() == pytest.approx(LEVELS[4][5], abs=0.04)
    assert torch.equal(env.state["measured"][..., ~held], env.state["joints"][:2][..., ~held])


def test_pushes_have_their_size_and_move_the_hip():
    env, calm = (ExoskeletonLeg(800, level=4, impairment="none", severity=0.0) for _ in range(2))
    env.reset(seed=0), calm.reset(seed=0)
    calm.state["walk"][6] = 0.0
    for _ in range(60):
        env.step(torch.zeros(800, 3)), calm.step(torch.zeros(800, 3))
    push = env.state["push"]
    assert push.std() == pytest.approx(LEVELS[4][6], rel=0.08)
    assert calm.state["push"].abs().max() == 0.0
    moved = env.state["joints"][0, 0] - calm.state["joints"][0, 0]
    assert torch.corrcoef(torch.stack((moved, push[0])))[0, 1] > 0.3


def test_no_authority_and_no_torque_are_the_same_to_the_leg():
    legs = []
    for action in ([1.0, -1.0, -1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]):
        env = ExoskeletonLeg(4, level=2, impairment="none", severity=0.0)
        env.reset(seed=0)
        for _ in range(20):
            env.step(torch.tensor(action).expand(4, 3))
        legs.append(env.state)
    assert torch.equal(legs[0]["joints"], legs[1]["joints"])
    torch.testing.assert_close(legs[0]["joints"], legs[2]["joints"], atol=0.05, rtol=0.05)  # but for the trust
    assert (legs[2]["human_trust"] > legs[1]["human_trust"]).all()
    assert (legs[2]["human_effort"] < legs[1]["human_effort"]).all()  # slacking


def test_torques_bend_the_joints_the_way_they_point():
    for joint in (0, 1):
        moved = []
        for sign in (-1.0, 1.0):
            env = ExoskeletonLeg(8, level=0, severity=0.0)
            env.reset(seed=0)
            action = torch.zeros(8, 3)
            action[:, joint], action[:, 2] = sign, 1.0
            for _ in range(15):
                env.step(action)
            moved.append(env.state["joints"][0, joint])
        assert (moved[1] > moved[0] + 0.1).all()


def test_a_leg_far_from_its_gait_falls():
    env = ExoskeletonLeg(2)
    env.reset(seed=0)
    env.state["joints"][[0, 3], 0, 0] -= FALL + 0.1  # leg and robot, the hip of row 0
    _, reward, terminated, _, info = env.step(torch.zeros(2, 3))
    assert terminated.tolist() == [True, False]
    assert reward[0] < -4.0 < 0.0 < reward[1]
    assert 399.0 <= info["costs"][0, 0] <= 400.0  # as if it lay there until the end
    assert info["costs"][1, 0] <= 1.0
    assert not info["success"].any()


def test_a_leg_off_its_gait_leaves_its_load_to_the_other():
    env = ExoskeletonLeg(1, bilateral=True)
    load, square = torch.ones(4, 1), torch.zeros(4, 1)
    torch.testing.assert_close(env._shared(load, square), load)
    square[2] = 0.2  # the left knee
    shared = env._shared(load, square)
    assert shared[0] == shared[2] < 1.0 < shared[1] == shared[3]
    torch.testing.assert_close(shared.sum(), load.sum())
    assert torch.equal(ExoskeletonLeg(1)._shared(load[:2], square[:2]), load[:2])


def test_legs_are_half_a_cycle_apart_and_hemiplegia_takes_one_side():
    env = ExoskeletonLeg(600, level=0, impairment="hemiplegia", severity=1.0, bilateral=True)
    env.reset(seed=0)
    phase, speed, frequency = env.state["walk"][:3]
    apart = env.gait(phase + 0.5, speed, frequency).angle
    torch.testing.assert_close(env.state["reference"][0, 1::2], apart)
    weak = env.state["human_channel"][2] < 0.5
    assert torch.equal(weak[0], weak[2])
    assert torch.equal(weak[1], weak[3])
    assert (weak[0] ^ weak[1]).all()
    assert ExoskeletonLeg(1).action_names == ("hip", "knee", "authority")
    assert env.action_names == ("left_hip", "right_hip", "left_knee", "right_knee", "authority")


def test_observation_is_about_unit_scale_and_named():
    env = ExoskeletonLeg(500, level=4, impairment="mixed", severity=[0.0, 1.0])
    observation, _ = env.reset(seed=0)
    spread = torch.cat([observation] + [env.step(env.scripted(env.state).T)[0] for _ in range(60)]).std(0)
    assert observation.shape == (500, len(env.observation_names)) == (500, 20)
    assert 0.1 < spread.min() < spread.max() < 2.0


def test_a_run_goes_on_as_if_never_stopped():
    env, other = (ExoskeletonLeg(4, level=3, impairment="mixed", severity=[0.3, 1.0]) for _ in range(2))
    env.reset(seed=2), other.reset(seed=50)
    action = torch.full((4, 3), 0.4)
    for _ in range(10):
        env.step(action)
    other.load_state_dict(env.state_dict())
    for _ in range(10):
        here, there = env.step(action), other.step(action)
        assert all(torch.equal(a, b) for a, b in zip(here[:4], there[:4], strict=True))


def test_projection_takes_less_power_from_the_leg():
    free, shielded = (
        roll(ExoskeletonLeg(64, level=1, severity=0.7, projection=p), "random", 150) for p in (False, True)
    )
    assert shielded["resistive_power"] < 0.9 * free["resistive_power"]


def test_pictures_show_the_leg_and_change():
    for bilateral in (False, True):
        env = ExoskeletonLeg(1, bilateral=bilateral, render_mode="rgb_array")
        env.reset(seed=0)
        first = env.render()
        for _ in range(20):
            env.step(env.scripted(env.state).T)
        second = env.render()
        assert first.shape == second.shape == (520, 900, 3)
        assert first.dtype == np.uint8
        assert 0.01 < (first != second).any(-1).mean() < 0.5
        env.close()
    assert ExoskeletonLeg(1).render() is None


def test_errors_name_the_key():
    with pytest.raises(ValueError, match="level: 5"):
        ExoskeletonLeg(1, level=5)


# ------------------------------------------------------------------ audit of feasibility
@pytest.mark.parametrize("level", range(5))
def test_audit_an_assistant_reaches_the_goal_where_nobody_helps_it_is_missed(level):
    keys = {"level": level, "impairment": "weakness", "severity": 0.7}
    zero, random, scripted = (roll(ExoskeletonLeg(32, **keys), policy) for policy in ("zero", "random", "scripted"))
    assert scripted["success"] > 0.9
    assert scripted["length"] > 390
    assert scripted["return"] > 2.0 * max(zero["return"], random["return"])
    assert max(zero["success"], random["success"]) < 0.3
    assert scripted["override"] > 0.2 > zero["override"]
    # something is left to learn: less of some cost, more of the return
    assert max(scripted[name] for name in COSTS) > 20.0
    assert scripted["return"] < 390.0


def test_audit_a_healthy_walker_needs_no_help():
    healthy = roll(ExoskeletonLeg(32, level=0, impairment="none", severity=0.0), "zero")
    assert healthy["success"] > 0.95
    assert healthy["return"] > 300.0


@pytest.mark.parametrize("kind", ["tremor", "spasticity", "ataxia", "hemiplegia", "fatigue"])
def test_audit_impairment_hurts_and_help_helps(kind):
    alone, helped = (
        roll(ExoskeletonLeg(32, level=0, impairment=kind, severity=0.8), policy) for policy in ("zero", "scripted")
    )
    assert alone["return"] < 180.0
    assert helped["return"] > 1.5 * alone["return"]


def test_registered_for_many():
    assert datamodules.envs is not None
    env = gymnasium.make_vec("litmotif/ExoskeletonLeg-v0", 3)
    assert env.reset(seed=0)[0].shape == (3, 20)
