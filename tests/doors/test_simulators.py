"""Our simulators in other people's hands: Gymnasium's modes and wrappers, partial resets, Stable-Baselines3."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector

import datamodules.envs
from datamodules import Rollouts
from datamodules.core import DataError
from datamodules.envs.tabular import TabularCMDP

IDS = [f"litmotif/{name}-v0" for name in ("TabularCMDP", "Wheelchair", "ExoskeletonLeg", "ExoskeletonArm")]
assert datamodules.envs is not None  # registers them


def tabular(mode=AutoresetMode.SAME_STEP, rows=8, steps=4, **kwargs):
    return TabularCMDP(rows, max_episode_steps=steps, autoreset_mode=mode, **{"survival": 1.0, "seed": 0, **kwargs})


def still(env):
    return torch.zeros(env.num_envs, dtype=torch.int64)


# ---------------------------------------------------------------------- what follows an end
def test_the_three_modes_tell_the_same_episodes():
    """Row for row the rewards of the same episodes, with nothing, a blank step, or blank steps and a reset between."""
    told = {}
    for mode in ("SameStep", "NextStep", "Disabled"):
        env, blank = tabular(mode), False
        assert env.metadata["autoreset_mode"] is AutoresetMode(mode)
        env.reset(seed=3)
        observation, told[mode] = env.observe(env.state), []
        for _ in range(14):
            before = observation
            observation, reward, terminated, truncated, info = env.step(still(env))
            if blank:
                assert not (reward.any() | terminated.any() | truncated.any() | info["costs"].any())
                if mode == "Disabled":
                    assert torch.equal(observation, before)
                    env.reset(options={"reset_mask": np.ones(8, dtype=bool)})
                    observation = env.observe(env.state)
            else:
                told[mode].append((before, reward, info["costs"]))
            blank = mode != "SameStep" and bool(truncated.any())
    assert len(told["NextStep"]) == len(told["Disabled"]) == 12
    for one, *others in zip(*told.values(), strict=False):
        assert all(torch.equal(a, b) for other in others for a, b in zip(one, other, strict=True))


def test_a_partial_reset_begins_some_rows_and_leaves_the_others():
    env, twin = tabular(), tabular()
    first, _ = env.reset(seed=0)
    twin.reset(seed=0)
    for _ in range(2):
        env.step(still(env)), twin.step(still(twin))
    mask = np.arange(8) < 3
    observation, _ = env.reset(seed=[0] * 8, options={"reset_mask": mask})
    assert torch.equal(observation[:3], first[:1].expand(3, -1))
    after, expected = env.step(still(env)), twin.step(still(twin))
    assert torch.equal(after[0][3:], expected[0][3:])
    assert env.state["elapsed"].tolist() == [1] * 3 + [3] * 5
    with pytest.raises(ValueError, match=r"reset_mask of shape \(3,\) must be \(8,\)"):
        env.reset(options={"reset_mask": mask[:3]})
    with pytest.raises(ValueError, match="2 seeds for 8 rows"):
        env.reset(seed=[1, 2])


def test_a_mode_that_there_is_not_is_named_and_rollouts_want_their_own():
    with pytest.raises(ValueError, match=r"autoreset_mode: 'Sometimes' must be one of.*NextStep"):
        tabular("Sometimes")
    with pytest.raises(DataError, match=r"env_kwargs.autoreset_mode"):
        Rollouts(env="litmotif/TabularCMDP-v0", env_kwargs={"autoreset_mode": "Disabled"}).prepare_data()


def test_what_nobody_seeded_differs_and_what_is_seeded_does_not():
    for make in (lambda: tabular(seed=None), lambda: gymnasium.make_vec("litmotif/TabularCMDP-v0", 8)):
        assert not torch.equal(make().reset()[0], make().reset()[0])
        assert torch.equal(make().reset(seed=4)[0], make().reset(seed=4)[0])
    apart = gymnasium.make_vec("litmotif/TabularCMDP-v0", 12, vectorization_mode="sync").reset()[0]
    assert len(np.unique(apart, axis=0)) > 1
    mixed = tabular(states=50)
    one, other = (mixed.reset(seed=[7, None] * 4)[0] for _ in range(2))
    assert torch.equal(one[::2], other[::2])
    assert not torch.equal(one[1::2], other[1::2])


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (torch.tensor([0]), r"shape \(1,\) must be \(8,\)"),
        (still(tabular()) - 1, r"\[-1\].*0 to 2"),
        ([3] * 8, "0 to 2"),
    ],
)
def test_an_action_that_is_none_is_refused(action, words):
    env = tabular()
    env.reset()
    with pytest.raises(ValueError, match=words):
        env.step(action)


# ---------------------------------------------------------------------- Gymnasium
WRAPPERS = {
    "RecordEpisodeStatistics": lambda env: vector.RecordEpisodeStatistics(env),
    "DictInfoToList": lambda env: vector.DictInfoToList(env),
    "FlattenObservation": lambda env: vector.FlattenObservation(env),
    "NormalizeObservation": lambda env: vector.NormalizeObservation(env),
    "NormalizeReward": lambda env: vector.NormalizeReward(env),
    "DtypeObservation": lambda env: vector.DtypeObservation(env, np.float64),
    "RescaleAction": lambda env: vector.RescaleAction(env, np.float32(0.0), np.float32(1.0)),
    "ClipAction": lambda env: vector.ClipAction(env),
    "ClipReward": lambda env: vector.ClipReward(env, 0.0, 1.0),
    "TransformObservation": lambda env: vector.TransformObservation(
        env, lambda seen: 2.0 * seen, env.observation_space
    ),
}


@pytest.mark.filterwarnings("ignore:.*observation space:UserWarning", "ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_wrappers_for_vectors_fit(wrapper, mode):
    env = gymnasium.make_vec("litmotif/ExoskeletonLeg-v0", 3, max_episode_steps=3, autoreset_mode=mode)
    if mode == "SameStep" and "Observation" in wrapper:  # these want NEXT_STEP of any environment
        with pytest.raises(ValueError, match="autoreset_mode"):
            WRAPPERS[wrapper](env)
        return
    env = WRAPPERS[wrapper](env)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(8):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert all(isinstance(part, np.ndarray) for part in (observation, reward, terminated, truncated))
        if wrapper == "RecordEpisodeStatistics" and truncated.any():
            assert info["episode"]["l"].tolist() == [3] * 3
        if wrapper == "DictInfoToList":
            assert [one["cost"] for one in info] == pytest.approx([sum(one["costs"]) for one in info])


def test_tensors_are_answered_in_tensors():
    env = tabular()
    env.reset(seed=0)
    assert all(isinstance(part, torch.Tensor) for part in env.step(still(env))[:4])
    told = env.step(np.zeros(8, dtype=np.int64))
    assert all(isinstance(part, np.ndarray) for part in told[:4])
    assert isinstance(told[4]["costs"], np.ndarray)


@pytest.mark.parametrize("name", IDS)
def test_a_registered_simulator_tells_its_limit_of_steps_and_what_it_can_draw(name):
    assert gymnasium.spec(name).max_episode_steps == 400
    env = gymnasium.make(name, disable_env_checker=True)
    assert env.metadata["render_fps"] > 0
    assert ("rgb_array" in env.metadata["render_modes"]) == ("Tabular" not in name)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample() * 0)[3] for _ in range(5)]
    assert not any(ends)


def test_a_picture_of_every_simulator_that_can_draw_passes_gymnasiums_checker():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*A Box observation space")
        check_env(gymnasium.make(IDS[3], render_mode="rgb_array", disable_env_checker=True).unwrapped)
        check_env(gymnasium.make(IDS[0], disable_env_checker=True).unwrapped)


# ---------------------------------------------------------------------- Stable-Baselines3
def test_stable_baselines_learns_in_a_batch():
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecMonitor

    from datamodules.envs.sb3 import SB3VecEnv

    env = SB3VecEnv("litmotif/ExoskeletonLeg-v0", 4, seed=3, max_episode_steps=6)
    twin = gymnasium.make_vec("litmotif/ExoskeletonLeg-v0", 4, max_episode_steps=6)
    assert np.array_equal(env.reset(), twin.reset(seed=3)[0])
    for step in range(1, 8):
        action = np.full((4, 3), 0.1, dtype=np.float32)
        observation, reward, done, infos = env.step(action)
        expected, earned, terminated, truncated, told = twin.step(action)
        assert np.array_equal(observation, expected)
        assert np.array_equal(reward, earned)
        assert done.tolist() == (terminated | truncated).tolist() == [step == 6] * 4
        assert [info["cost"] for info in infos] == pytest.approx(told["cost"].tolist())
        if step == 6:
            assert np.array_equal(infos[1]["terminal_observation"], told["final_obs"][1])
            assert infos[1]["TimeLimit.truncated"]
    learner = PPO("MlpPolicy", VecMonitor(env), n_steps=8, batch_size=16, n_epochs=1, device="cpu").learn(64)
    assert learner.num_timesteps == 64
    assert learner.ep_info_buffer[0]["l"] == 6
    with pytest.raises(ValueError, match="no batched simulator"):
        SB3VecEnv(gymnasium.make_vec("CartPole-v1", 2))


def test_without_stable_baselines_the_extra_is_named(monkeypatch):
    import sys

    from litmotif.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "stable_baselines3.common.vec_env", None)
    monkeypatch.delitem(sys.modules, "datamodules.envs.sb3", raising=False)
    with pytest.raises(MissingExtraError, match=r"litmotif\[sb3\]"):
        import datamodules.envs.sb3  # noqa: F401
