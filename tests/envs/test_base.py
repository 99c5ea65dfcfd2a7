"""The laws of a batched simulator, on the smallest one: noise, episodes, saved states, the scalar face."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from scipy import stats

from datamodules import noise
from datamodules.envs.tabular import TabularCMDP


def keys(n):
    return noise.combine(torch.arange(n), 7), torch.full((n,), 3)


def test_uniform_and_normal_numbers_have_their_distributions():
    key, counter = keys(20_000)
    for row in noise.uniform(key, counter, 3):
        assert stats.kstest(row.numpy(), "uniform").pvalue > 1e-3
    for row in noise.normal(key, counter, 3):
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-3
    along_time = noise.normal(key[:1].expand(20_000), torch.arange(20_000), 2)
    assert stats.kstest(along_time[0].numpy(), "norm").pvalue > 1e-3


def test_numbers_of_neighbours_in_key_time_and_lane_are_independent():
    key, counter = keys(20_000)
    now, later = noise.normal(key, counter, 4), noise.normal(key, counter + 1, 4)
    correlations = torch.corrcoef(torch.cat((now, later, now.roll(1, dims=1)))) - torch.eye(12)
    assert correlations.abs().max() < 0.03


def test_a_number_depends_on_its_key_and_counter_only():
    key, counter = keys(50)
    whole = noise.uniform(key, counter, 4)
    assert torch.equal(noise.uniform(key[7:8], counter[7:8], 4), whole[:, 7:8])
    assert not torch.equal(noise.uniform(key + 1, counter, 4), whole)
    assert not torch.equal(noise.uniform(key, counter + 1, 4), whole)
    assert (whole >= 0).all()
    assert (whole < 1).all()


def play(env, steps, observation=None, seed=0):
    if observation is None:
        observation, _ = env.reset(seed=seed)
    told = [observation]
    for _ in range(steps):
        action = observation.argmax(-1) % env.choices
        observation, reward, terminated, truncated, info = env.step(action)
        told += [observation, reward, terminated, truncated, info["costs"]]
    return told, observation


def test_rows_of_a_batch_live_as_batches_of_one_do():
    together, _ = play(TabularCMDP(num_envs=4), 60, seed=10)
    for row in range(4):
        alone, _ = play(TabularCMDP(num_envs=1), 60, seed=10 + row)
        assert all(torch.equal(a[row], b[0]) for a, b in zip(together, alone, strict=True))


def test_a_saved_state_goes_on_as_if_nothing_had_happened():
    env = TabularCMDP(num_envs=4)
    _, observation = play(env, 25)
    state = env.state_dict()
    expected, _ = play(env, 40, observation)
    other = TabularCMDP(num_envs=4, seed=99)
    again = other.load_state_dict(state)
    assert torch.equal(again, observation)
    resumed, _ = play(other, 40, again)
    assert all(torch.equal(a, b) for a, b in zip(expected, resumed, strict=True))


def test_an_episode_that_ends_is_followed_by_another_one_within_the_step():
    env = TabularCMDP(num_envs=64, survival=0.5, max_episode_steps=3)
    env.reset(seed=0)
    seen = {"terminated": 0, "truncated": 0}
    for _ in range(20):
        _, _, terminated, truncated, info = env.step(torch.zeros(64, dtype=torch.int64))
        assert not (terminated & truncated).any()
        if "final_obs" in info:
            assert torch.equal(info["_final_obs"], terminated | truncated)
            assert info["final_obs"].shape == (64, 6)
        assert (env.state["elapsed"][terminated | truncated] == 0).all()
        seen["terminated"] += int(terminated.sum())
        seen["truncated"] += int(truncated.sum())
    assert min(seen.values()) > 0


def test_reset_without_a_seed_begins_the_next_episodes():
    env = TabularCMDP(num_envs=64)
    first, _ = env.reset(seed=3)
    second, _ = env.reset()
    again, _ = env.reset(seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


SIMULATORS = ("Wheelchair", "ExoskeletonLeg", "ExoskeletonArm")


@pytest.mark.filterwarnings("ignore:.*A Box observation space")
@pytest.mark.parametrize("name", ["TabularCMDP", *SIMULATORS])
def test_every_scalar_environment_passes_gymnasiums_checker(name):
    env = gymnasium.make(f"litmotif/{name}-v0", disable_env_checker=True).unwrapped
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    _, _, _, _, info = env.step(env.action_space.sample())
    assert info["cost"] == pytest.approx(sum(info[cost] for cost in env.batch.cost_names))


@pytest.mark.parametrize("name", SIMULATORS)
def test_every_simulator_gives_a_row_of_a_batch_what_it_gives_alone(name):
    settings = {"level": 3, "impairment": "mixed", "severity": [0.2, 0.9], "max_episode_steps": 30}
    together = gymnasium.make_vec(f"litmotif/{name}-v0", 5, "vector_entry_point", **settings).unwrapped
    alone = gymnasium.spec(f"litmotif/{name}-v0").entry_point(**settings)  # gymnasium.make keeps the limit to itself
    observation, _ = together.reset(seed=10)
    scalar, _ = alone.reset(seed=13)
    np.testing.assert_allclose(observation[3].numpy(), scalar, atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):  # over the ends of episodes
        action = 2.0 * torch.rand(5, len(together.action_names), generator=generator) - 1.0
        observation, reward, terminated, truncated, _ = together.step(action)
        scalar, earned, ended, cut, _ = alone.step(action[3].numpy())
        if ended or cut:
            scalar, _ = alone.reset()
        assert (bool(terminated[3]), bool(truncated[3])) == (ended, cut)
        assert float(reward[3]) == pytest.approx(earned, abs=1e-5)
        np.testing.assert_allclose(observation[3].numpy(), scalar, atol=1e-4)


@pytest.mark.parametrize("name", SIMULATORS)
def test_every_simulator_goes_on_from_its_saved_state(name):
    settings = {"level": 3, "impairment": "mixed", "severity": [0.2, 0.9], "max_episode_steps": 20}
    env = gymnasium.make_vec(f"litmotif/{name}-v0", 4, "vector_entry_point", **settings).unwrapped
    other = gymnasium.make_vec(f"litmotif/{name}-v0", 4, "vector_entry_point", **settings).unwrapped
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    actions = [2.0 * torch.rand(4, len(env.action_names), generator=generator) - 1.0 for _ in range(60)]
    for action in actions[:25]:
        observation, *_ = env.step(action)
    assert torch.equal(other.load_state_dict(env.state_dict()), observation)
    for action in actions[25:]:
        one, two = env.step(action), other.step(action)
        assert all(torch.equal(a, b) for a, b in zip(one[:4], two[:4], strict=True))


def test_make_vec_gives_the_batch_itself():
    env = gymnasium.make_vec("litmotif/TabularCMDP-v0", 5, states=4)
    assert isinstance(env.unwrapped, TabularCMDP)
    assert env.reset(seed=0)[0].shape == (5, 4)


def test_the_linear_program_is_never_beaten_and_its_policy_attains_it():
    env = TabularCMDP(task=0)
    limit = {"cost0": 8.7}
    best, policy = env.optimum(limit)
    value, costs = env.evaluate(policy)
    assert value == pytest.approx(best, rel=1e-6)
    assert costs[0] <= 8.7 + 1e-6
    rng = np.random.default_rng(0)
    for _ in range(300):
        value, costs = env.evaluate(rng.dirichlet(np.ones(3), size=6))
        assert value <= best or costs[0] > 8.7
    with pytest.raises(ValueError, match="No policy keeps"):
        env.optimum({"cost0": 0.1})


def test_the_exact_value_of_a_policy_is_the_mean_of_played_episodes():
    env = TabularCMDP(num_envs=4000, task=1)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=6)
    generator = torch.Generator().manual_seed(0)
    observation, _ = env.reset(seed=0)
    running = torch.ones(4000, dtype=torch.bool)
    returns, costs = torch.zeros(4000), torch.zeros(4000)
    while running.any():
        weights = torch.as_tensor(policy, dtype=torch.float32)[observation.argmax(-1)]
        action = torch.multinomial(weights, 1, generator=generator)[:, 0]
        observation, reward, terminated, truncated, info = env.step(action)
        returns += reward * running
        costs += info["cost"] * running
        running &= ~(terminated | truncated)
    value, cost = env.evaluate(policy)
    assert abs(float(returns.mean()) - value) < 3.0 * float(returns.std()) / 4000**0.5
    assert abs(float(costs.mean()) - cost[0]) < 3.0 * float(costs.std()) / 4000**0.5
