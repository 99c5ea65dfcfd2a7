"""Policies against torch.distributions, critics against separate networks, moments against NumPy."""

import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from lit_models.cpo.network import CategoricalPolicy, Critics, Distribution, GaussianPolicy, Network


def gaussians(seed):
    g = torch.Generator().manual_seed(seed)
    return [Distribution(torch.randn(5, 3, generator=g), torch.randn(3, generator=g)) for _ in range(2)]


def test_the_gaussian_policy_is_torchs_normal():
    policy = GaussianPolicy(4, 3, Network(8, 1))
    old, new = gaussians(0)
    theirs = [Independent(Normal(d.location, d.log_std.exp().expand(5, 3)), 1) for d in (old, new)]
    action = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(policy.log_prob(old, action), theirs[0].log_prob(action))
    torch.testing.assert_close(policy.kl(old, new), kl_divergence(*theirs))
    torch.testing.assert_close(policy.entropy(old), theirs[0].entropy())
    assert torch.equal(policy.mode(old), old.location)
    torch.testing.assert_close(policy.act(old, torch.ones(5, 3)), old.location + old.log_std.exp())


def test_the_choice_policy_is_torchs_categorical_and_draws_with_its_frequencies():
    policy = CategoricalPolicy(4, 3, Network(8, 1))
    g = torch.Generator().manual_seed(0)
    old, new = (Distribution(torch.randn(5, 3, generator=g).log_softmax(-1), torch.zeros(0)) for _ in range(2))
    theirs = [Categorical(logits=d.location) for d in (old, new)]
    action = torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(policy.log_prob(old, action), theirs[0].log_prob(action))
    torch.testing.assert_close(policy.kl(old, new), kl_divergence(*theirs))
    torch.testing.assert_close(policy.entropy(old), theirs[0].entropy())
    many = Distribution(old.location[:1].expand(40_000, 3), old.log_std)
    drawn = policy.act(many, policy.noise(40_000, g)).bincount(minlength=3) / 40_000
    torch.testing.assert_close(drawn, old.location[0].exp(), atol=0.01, rtol=0.0)


def test_the_first_policy_hardly_depends_on_the_state():
    policy = GaussianPolicy(4, 3, Network(64, 2))
    distribution = policy(torch.randn(100, 4))
    assert distribution.location.abs().max() < 0.2
    assert torch.equal(distribution.log_std, torch.full((3,), -0.5))


def test_critics_are_separate_networks_evaluated_together():
    torch.manual_seed(0)
    critics = Critics(observation_size=4, critics=3, network=Network(8, 2))
    x = torch.randn(6, 4)
    together = critics(x)
    for k in range(3):
        hidden = x
        for number, (weight, bias) in enumerate(zip(critics.weights, critics.biases, strict=True)):
            hidden = (hidden.tanh() if number else hidden) @ weight[k] + bias[k]
        torch.testing.assert_close(together[:, k], hidden[:, 0])
    together[:, 1].sum().backward()
    assert all((p.grad[[0, 2]] == 0).all() and (p.grad[1] != 0).any() for p in critics.parameters())
