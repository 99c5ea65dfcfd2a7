"""Policies, critics and running moments."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

_LOG_TWO_PI = math.log(2.0 * math.pi)


class Distribution(NamedTuple):
    """Parameters of the action distribution of each state.

    Attributes:
        location: (..., A) mean, or log-probabilities of the A choices.
        log_std: (A,) log of the standard deviation; empty for choices.
    """

    location: Tensor
    log_std: Tensor


@dataclass(frozen=True)
class Network:
    """Sizes of the policy, and of each critic.

    Attributes:
        hidden_size: width.
        num_layers: hidden layers.
        log_std: initial log standard deviation of a continuous policy.
    """

    hidden_size: int = 64
    num_layers: int = 2
    log_std: float = -0.5


class Policy(nn.Module):
    """A stochastic policy over a tanh network; all that an update needs is in closed form."""

    action_shape: tuple[int, ...]
    """Of one action."""

    def __init__(self, observation_size: int, outputs: int, network: Network) -> None:
        super().__init__()
        sizes = [observation_size] + [network.hidden_size] * network.num_layers
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [_orthogonal(nn.Linear(before, after), math.sqrt(2.0)), nn.Tanh()]
        self.network = nn.Sequential(*layers, _orthogonal(nn.Linear(sizes[-1], outputs), 0.01))

    @abstractmethod
    def forward(self, observation: Tensor) -> Distribution:
        """The distribution at each observation (..., D)."""

    @abstractmethod
    def act(self, distribution: Distribution, noise: Tensor) -> Tensor:
        """An action from noise (..., A): standard normal, or uniform in (0, 1) for choices."""

    @abstractmethod
    def noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """(rows, A) noise that ``act`` takes."""

    @abstractmethod
    def mode(self, distribution: Distribution) -> Tensor:
        """The likeliest action."""

    @abstractmethod
    def log_prob(self, distribution: Distribution, action: Tensor) -> Tensor:
        """(...) log-density or log-probability."""

    @abstractmethod
    def kl(self, old: Distribution, new: Distribution) -> Tensor:
        """(...) KL(old || new)."""

    @abstractmethod
    def entropy(self, distribution: Distribution) -> Tensor:
        """(...) differential or discrete entropy, in nats."""


class GaussianPolicy(Policy):
    """A diagonal Gaussian with a standard deviation that does not depend on the state.

    Args:
        observation_size: D.
        action_size: A.
        network: its sizes.
    """

    def __init__(self, observation_size: int, action_size: int, network: Network) -> None:
        super().__init__(observation_size, action_size, network)
        self.log_std = nn.Parameter(torch.full((action_size,), network.log_std))
        self.action_shape = (action_size,)

    @override
    def forward(self, observation: Tensor) -> Distribution:
        return Distribution(self.network(observation), self.log_std)  # (..., A), (A,)

    @override
    def act(self, distribution: Distribution, noise: Tensor) -> Tensor:
        return distribution.location + distribution.log_std.exp() * noise

    @override
    def noise(self, rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn(rows, *self.action_shape, generator=generator)

    @override
    def mode(self, distribution: Distribution) -> Tensor:
        return distribution.location

    @override
    def log_prob(self, distribution: Distribution, action: Tensor) -> Tensor:
        score = (action - distribution.location) * (-distribution.log_std).exp()  # (..., A)
        return (-0.5 * (score * score + _LOG_TWO_PI) - distribution.log_std).sum(-1)

    @override
    def kl(self, old: Distribution, new: Distribution) -> Tensor:
        gap = (old.location - new.location) * (-new.log_std).exp()  # (..., A)
        ratio = old.log_std - new.log_std  # (A,)
        return (0.5 * (gap * gap + (2.0 * ratio).exp() - 1.0) - ratio).sum(-1)

    @override
    def entropy(self, distribution: Distribution) -> Tensor:
        whole = (distribution.log_std + 0.5 * (_LOG_TWO_PI + 1.0)).sum()
        return whole.expand(distribution.location.shape[:-1])


class CategoricalPolicy(Policy):
    """A choice among A, or several independent ones at once.

    Args:
        observation_size: D.
        choices: A; a list holds that of each choice, whose log-probabilities stand one after the other.
        network: sizes.
    """

    def __init__(self, observation_size: int, choices: int | list[int], network: Network) -> None:
        self.sizes = [choices] if isinstance(choices, int) else list(choices)
        super().__init__(observation_size, sum(self.sizes), network)
        self.action_shape = () if isinstance(choices, int) else (len(choices),)

    @override
    def forward(self, observation: Tensor) -> Distribution:
        logits = torch.split(self.network(observation), self.sizes, -1)  # (..., A) each
        return Distribution(torch.cat([one.log_softmax(-1) for one in logits], -1), observation.new_zeros(0))

    @override
    def act(self, distribution: Distribution, noise: Tensor) -> Tensor:
        parts = zip(torch.split(distribution.location, self.sizes, -1), noise.unbind(-1), strict=True)
        return self._shaped([_drawn(log_probs, one) for log_probs, one in parts])

    @override
    def noise(self, rows: int, generator: torch.Generator) -> Tensor:
        return torch.rand(rows, len(self.sizes), generator=generator)

    @override
    def mode(self, distribution: Distribution) -> Tensor:
        return self._shaped([one.argmax(-1) for one in torch.split(distribution.location, self.sizes, -1)])

    @override
    def log_prob(self, distribution: Distribution, action: Tensor) -> Tensor:
        chosen = action.long().reshape(*distribution.location.shape[:-1], len(self.sizes))  # (..., C)
        parts = zip(torch.split(distribution.location, self.sizes, -1), torch.split(chosen, 1, -1), strict=True)
        return torch.cat([log_probs.gather(-1, one) for log_probs, one in parts], -1).sum(-1)

    @override
    def kl(self, old: Distribution, new: Distribution) -> Tensor:
        return (old.location.exp() * (old.location - new.location)).sum(-1)

    @override
    def entropy(self, distribution: Distribution) -> Tensor:
        return -(distribution.location.exp() * distribution.location).sum(-1)

    def _shaped(self, choices: list[Tensor]) -> Tensor:
        """(...) a single choice, or (..., C) several."""
        return torch.stack(choices, -1) if self.action_shape else choices[0]


def _drawn(log_probs: Tensor, noise: Tensor) -> Tensor:
    """(...) a choice of (..., A) by noise (...), through the inverse of the cumulative distribution."""
    below = log_probs.exp().cumsum(-1) < noise.unsqueeze(-1)
    return below.sum(-1).clamp(max=log_probs.shape[-1] - 1)


class Critics(nn.Module):
    """K value networks of one shape, evaluated together: the reward's and one for each cost.

    Args:
        observation_size: D.
        critics: K.
        network: sizes of each.
    """

    def __init__(self, observation_size: int, critics: int, network: Network) -> None:
        super().__init__()
        sizes = [observation_size] + [network.hidden_size] * network.num_layers + [1]
        gains = [math.sqrt(2.0)] * network.num_layers + [1.0]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after, gain in zip(sizes, sizes[1:], gains, strict=False):
            weight = torch.empty(critics, after, before)
            for one in weight:
                nn.init.orthogonal_(one, gain)
            self.weights.append(weight.transpose(1, 2).contiguous())  # (K, before, after)
            self.biases.append(torch.zeros(critics, 1, after))

    def forward(self, observation: Tensor) -> Tensor:
        """(B, D) to (B, K)."""
        hidden = observation.unsqueeze(0).expand(len(self.weights[0]), -1, -1)  # (K, B, D)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden.tanh() if number else hidden, weight)  # (K, B, after)
        return hidden.squeeze(-1).T  # (B, K)


def _orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
