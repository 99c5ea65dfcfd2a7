"""Generalised advantage estimation (Schulman et al. 2016, eq. 16) for several signals at once."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Discounts:
    """Discounts of rewards and costs.

    Attributes:
        gamma: discount of rewards.
        gae_lambda: decay of their advantages.
        cost_gamma: discount of costs.
        cost_gae_lambda: decay of their advantages.
    """

    gamma: float = 0.99
    gae_lambda: float = 0.95
    cost_gamma: float = 0.99
    cost_gae_lambda: float = 0.95


def gae(
    signals: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    gamma: Tensor,
    lam: Tensor,
) -> Tensor:
    """Advantages of the reward and of each cost.

        delta_t = x_t + gamma V(s_{t+1}) - V(s_t),    A_t = delta_t + gamma lambda A_{t+1}

    V(s_{t+1}) is 0 after a terminal state; where a time limit ended the episode it is the value of the state that the
    episode ended in; the sum ends with the episode or with the batch.

    Args:
        signals: (T, N, K) reward and costs.
        values: (T, N, K) V(s_t).
        next_values: (T, N, K) V of the state that followed within the same episode.
        terminated: (T, N) bool, a terminal state followed.
        ended: (T, N) bool, the episode ended here, by a terminal state or a limit.
        gamma: (K,) discount.
        lam: (K,) decay.

    Returns:
        (T, N, K) advantages; adding ``values`` gives the targets of the critics.
    """
    delta = signals + gamma * next_values * (~terminated).unsqueeze(-1) - values  # (T, N, K)
    carry = gamma * lam * (~ended).unsqueeze(-1)  # (T, N, K)
    advantages = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        running = delta[t] + carry[t] * running
        advantages[t] = running
    return advantages
