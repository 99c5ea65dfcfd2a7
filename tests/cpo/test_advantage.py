"""Advantages against their definition, summed by hand."""

import torch

from lit_models.cpo.advantage import gae


def by_definition(x, v, v_next, terminated, ended, gamma, lam):
    steps, envs, signals = x.shape
    out = torch.zeros_like(x)
    for n in range(envs):
        for k in range(signals):
            for t in range(steps):
                weight, total = 1.0, 0.0
                for u in range(t, steps):
                    future = 0.0 if terminated[u, n] else float(v_next[u, n, k])
                    total += weight * float(x[u, n, k] + gamma[k] * future - v[u, n, k])
                    if ended[u, n]:
                        break
                    weight *= float(gamma[k] * lam[k])
                out[t, n, k] = total
    return out


def draw(seed=0, steps=7, envs=3, signals=2):
    g = torch.Generator().manual_seed(seed)
    x, v, v_next = torch.randn(3, steps, envs, signals, generator=g)
    terminated = torch.rand(steps, envs, generator=g) < 0.15
    ended = terminated | (torch.rand(steps, envs, generator=g) < 0.15)
    return x, v, v_next, terminated, ended


def test_equals_the_definition_with_a_discount_and_a_decay_of_its_own_for_each_signal():
    for seed in range(5):
        data = draw(seed)
        gamma, lam = torch.tensor([0.9, 0.5]), torch.tensor([0.8, 1.0])
        torch.testing.assert_close(gae(*data, gamma, lam), by_definition(*data, gamma, lam))


def test_a_time_limit_bootstraps_and_a_terminal_state_does_not():
    one = torch.ones(1, 1, 1)
    flag = torch.ones(1, 1, dtype=torch.bool)
    gamma = lam = torch.tensor([0.9])
    cut = gae(one, 0 * one, 5 * one, ~flag, flag, gamma, lam)
    died = gae(one, 0 * one, 5 * one, flag, flag, gamma, lam)
    assert float(cut) == 1.0 + 0.9 * 5.0
    assert float(died) == 1.0


def test_with_lambda_one_and_no_end_it_is_the_discounted_return_less_the_value():
    x, v, _, _, _ = draw(steps=4, envs=1, signals=1)
    never = torch.zeros(4, 1, dtype=torch.bool)
    v_next = torch.cat((v[1:], torch.full((1, 1, 1), 2.0)))
    advantage = gae(x, v, v_next, never, never, torch.tensor([0.9]), torch.tensor([1.0]))
    returns = sum(0.9**t * x[t] for t in range(4)) + 0.9**4 * 2.0
    torch.testing.assert_close(advantage[0], returns - v[0])
