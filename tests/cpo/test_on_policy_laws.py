"""What an update is told of a rollout, number by number: values after an end, episode costs, gaps, patience."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lit_models import CPO
from lit_models.cpo.on_policy import MOST_MARGIN, InfeasibleLimitError, set_gradients

from ..nested import merged
from .test_advantage import by_definition

STEPS, ENVS = 5, 3


def module(**changes):
    torch.manual_seed(0)
    settings = {"cost_names": ["a", "b"], "cost_limits": {"b": 4.0}, "network": {"hidden_size": 4, "num_layers": 1}}
    found = CPO(observation_size=2, action_size=1, **merged(settings, changes))
    found.value_moments.merge(found.value_moments.sums(torch.randn(50, 3) * 3.0 + torch.tensor([1.0, 7.0, -2.0])))
    found.observation_moments.merge(found.observation_moments.sums(torch.randn(50, 2) * 2.0 + 1.0))
    return found


def rollout(seed=0):
    g = torch.Generator().manual_seed(seed)
    terminated = torch.rand(STEPS, ENVS, generator=g) < 0.2
    ended = terminated | (torch.rand(STEPS, ENVS, generator=g) < 0.3)
    return SimpleNamespace(
        observation=torch.randn(STEPS, ENVS, 2, generator=g),
        action=torch.randn(STEPS, ENVS, 1, generator=g),
        reward=torch.randn(STEPS, ENVS, generator=g),
        costs=torch.rand(STEPS, ENVS, 2, generator=g),
        terminated=terminated,
        ended=ended,
        last_observation=torch.randn(ENVS, 2, generator=g),
        final_observation=torch.randn(int(ended.sum()), 2, generator=g),
        age=ages(ended),
    )


def ages(ended, before=0):
    """Steps of the episode so far, this one included; ``before`` of them before the rollout."""
    found, age = [], torch.zeros(ended.shape[1], dtype=torch.int64) + before
    for row in ended:
        age = age + 1
        found.append(age)
        age = torch.where(row, 0, age)
    return torch.stack(found)


def batch(**changes):
    return SimpleNamespace(**{"first": 0, "total": ENVS, "max_episode_steps": None} | changes)


def value(found, observation):
    return found._values(found.observation_moments(observation).flatten(0, 1)).detach().view(STEPS, ENVS, 3)


def advantages(found, played):
    """By definition: the state after a step is the last that its episode saw, however it ended."""
    after = torch.cat((played.observation[1:], played.last_observation[None]))
    finals = iter(played.final_observation)
    for t in range(STEPS):
        for n in range(ENVS):
            if played.ended[t, n]:
                after[t, n] = next(finals)
    signals = torch.cat((played.reward[..., None], played.costs), dim=-1)
    h = found.hparams["discounts"]
    gamma = torch.tensor([h["gamma"], h["cost_gamma"], h["cost_gamma"]])
    lam = torch.tensor([h["gae_lambda"], h["cost_gae_lambda"], h["cost_gae_lambda"]])
    here = value(found, played.observation)
    return by_definition(signals, here, value(found, after), played.terminated, played.ended, gamma, lam), here


@pytest.mark.parametrize("seed", range(3))
def test_the_value_of_what_an_episode_saw_last_counts_where_a_limit_ended_it(seed):
    found = module(discounts={"gamma": 0.9, "gae_lambda": 0.7, "cost_gamma": 0.8, "cost_gae_lambda": 0.6})
    played = rollout(seed)
    assert (played.ended & ~played.terminated).any()
    expected, here = advantages(found, played)
    samples, targets, _ = found._samples(played, batch())
    torch.testing.assert_close(targets, (expected + here).flatten(0, 1), rtol=1e-4, atol=1e-5)
    reward, _, cost = expected.flatten(0, 1).unbind(1)  # the second cost alone has a limit
    torch.testing.assert_close(samples.reward_advantage, (reward - reward.mean()) / reward.std(correction=0))
    torch.testing.assert_close(samples.cost_advantages, (cost - cost.mean())[:, None], rtol=1e-4, atol=1e-5)


def test_the_samples_are_those_of_the_rollout_under_the_policy_that_acted():
    found, played = module(network={"log_std": -0.3}), rollout()
    samples, _, _ = found._samples(played, batch(first=2, total=7))
    seen = found.observation_moments(played.observation).flatten(0, 1)
    torch.testing.assert_close(samples.observation, seen)
    mean = found.policy(seen).location
    drawn = torch.distributions.Normal(mean, math.exp(-0.3)).log_prob(played.action.flatten(0, 1)).sum(-1)
    torch.testing.assert_close(samples.log_prob, drawn)
    assert samples.index.tolist() == [7 * t + 2 + n for t in range(STEPS) for n in range(ENVS)]
    assert samples.count == STEPS * ENVS
    with torch.no_grad():
        found.policy.log_std.add_(1.0)
    assert float(samples.old.log_std.max()) == pytest.approx(-0.3)  # what acted stays what it was


def test_the_cost_of_an_episode_is_that_of_a_step_times_the_length_of_an_episode():
    found, played = module(), rollout()
    samples, _, told = found._samples(played, batch(max_episode_steps=1000))
    length = STEPS * ENVS / int(played.ended.sum())
    assert told["length"] == samples.episode_length == pytest.approx(length)
    assert told["return"] == pytest.approx(float(played.reward.mean()) * length, rel=1e-5)
    means = (played.costs.mean((0, 1)) * length).tolist()
    assert [told["cost_a"], told["cost_b"]] == pytest.approx(means, rel=1e-5)
    assert (told["cost_b/limit"], told["cost_share"]) == (4.0, pytest.approx(means[1] / 4.0))
    assert samples.gaps == pytest.approx([(means[1] - 4.0) / length], rel=1e-4)
    assert told["entropy"] == pytest.approx(0.5 * math.log(2 * math.pi * math.e) - 0.5, rel=1e-5)
    assert "cost_share" not in module(cost_limits={})._samples(played, batch())[2]


def test_the_length_of_an_episode_fades_over_updates_and_is_at_most_the_limit():
    found, played = module(), rollout()
    signals = torch.ones(STEPS, ENVS, 3)
    steps, ends = 0.0, 0.0
    for number in (1, 3, 0, 2):
        played.ended = (torch.arange(STEPS * ENVS) < number).view(STEPS, ENVS)
        steps, ends = 0.9 * steps + STEPS * ENVS, 0.9 * ends + number
        length, means = found._episode_means(played, signals, batch(max_episode_steps=1000))
        assert length == pytest.approx(steps / ends)
        np.testing.assert_allclose(means, 1.0)
    assert found._episode_means(played, signals, batch(max_episode_steps=6))[0] == 6.0
    played.ended = torch.zeros(STEPS, ENVS, dtype=torch.bool)
    assert module()._episode_means(played, signals, batch(max_episode_steps=40))[0] == 40.0


def test_where_no_limit_is_known_whole_episodes_tell_the_length_and_running_ones_that_are_older():
    found, played = module(), rollout()
    signals = torch.ones(STEPS, ENVS, 3)
    played.ended = torch.zeros(STEPS, ENVS, dtype=torch.bool)
    for rollouts in range(4):  # nothing ends: the age of the running episodes, however short a rollout is
        played.age = ages(played.ended, rollouts * STEPS)
        assert found._episode_means(played, signals, batch())[0] == (rollouts + 1) * STEPS
    played.age = ages(played.ended, torch.tensor([15, 15, 2]))
    played.ended[-1, :2] = True  # two of 20 steps, and one runs that is younger
    assert found._episode_means(played, signals, batch())[0] == 20.0
    played.ended, played.age = torch.zeros_like(played.ended), torch.full((STEPS, ENVS), 3)
    assert found._episode_means(played, signals, batch())[0] == pytest.approx(20.0)  # all are younger: still 20
    played.age = torch.tensor([3, 3, 41]).expand(STEPS, ENVS)
    weight = 2 * 0.9**2
    assert found._episode_means(played, signals, batch())[0] == pytest.approx((20 * weight + 41) / (weight + 1))


def test_a_gap_is_the_excess_over_the_tightened_limit_and_what_was_learned_on_top():
    found = module(cost_limits={"b": 4.0, "a": 10.0}, margin={"share": 0.1, "lr": 0.5})
    learned = np.zeros(2)
    for costs in ([9.5, 5.0], [30.0, 3.0], [0.0, 0.0]):
        excess = np.array(costs) - 0.9 * np.array([10.0, 4.0])  # in the order of the costs, not of the limits
        learned = np.clip(learned + 0.5 * excess, 0.0, MOST_MARGIN * np.array([10.0, 4.0]))
        np.testing.assert_allclose(found._gaps(dict(zip("ab", costs, strict=True))), excess + learned)
        np.testing.assert_allclose(found.margins, learned)
    assert learned.tolist() == [0.0, 0.0]


def test_recovery_may_last_as_long_as_the_cost_falls():
    def updates(costs, patience=3):
        found = module(recovery_patience=patience)
        for number, cost in enumerate(costs):
            try:
                found._watch({"a": 99.0, "b": cost})
            except InfeasibleLimitError as error:
                return number, str(error)
        return None

    assert updates([8.0 - 0.1 * n for n in range(40)]) is None
    assert updates([3.9, 4.0] * 20) is None
    number, words = updates([8.0, 6.0, 8.0, 8.0, 5.999, 8.0])
    assert number == 4  # the third update without a new lowest excess; a hundredth less is none
    assert "3 updates" in words
    assert "'b': '6 > 4'" in words
    assert "50% of a limit" in words
    assert updates([8.0, 9.0, 9.0, 3.0, 9.0, 9.0, 9.0]) is None  # within the limit everything begins anew
    assert updates([8.0] * 50, None) is None


@pytest.mark.parametrize("name", ["gamma", "gae_lambda", "cost_gamma", "cost_gae_lambda"])
def test_by_default_the_future_counts_for_long_and_not_for_ever(name):
    assert 0.9 <= module().hparams["discounts"][name] < 1.0


def test_a_packed_gradient_is_spread_in_order_and_its_rest_left():
    parameters = [torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))]
    set_gradients(parameters, torch.arange(9.0))
    assert parameters[0].grad.tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert parameters[1].grad.tolist() == [4.0, 5.0, 6.0]


@pytest.mark.parametrize(("rate", "passes", "size"), [(0.0, 3, 4), (0.1, 1, 100)])
def test_the_critics_descend_the_mean_square_in_the_unit_of_the_targets(rate, passes, size):
    found, played = module(critics={"passes": passes, "batch": size}), rollout()
    samples, targets, _ = found._samples(played, batch())
    params = list(found.critics.parameters())
    found._raw_optimizer = lambda number: torch.optim.SGD(params, lr=rate)
    twin = module()
    twin._rescale_critics(targets)
    unit = ((targets - twin.value_moments.mean) / twin.value_moments.std).float()
    loss = (twin.critics(samples.observation) - unit).square().mean(0)  # (K,) of each signal
    loss.sum().backward()
    told = found._fit_critics(samples, targets, torch.Generator().manual_seed(0))
    assert told == {"critic_loss": pytest.approx(float(loss.detach().mean()), rel=1e-5)}
    for mine, other in zip(params, twin.critics.parameters(), strict=True):
        torch.testing.assert_close(mine, other - rate * other.grad, rtol=1e-5, atol=1e-6)
        assert mine.grad is None
