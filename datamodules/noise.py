"""Random numbers that are a function of (key, counter): no state, so none to save, to share or to get out of step.

Row i of a batch draws what the same episode draws when it is simulated alone, whatever the others do.
"""

import math

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15: 2^64 over the golden ratio
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685  # the two odd factors of splitmix64


def scramble(bits: Tensor) -> Tensor:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64 bits that hides their order."""
    bits = (bits ^ ((bits >> 30) & 0x3FFFFFFFF)) * _FIRST
    bits = (bits ^ ((bits >> 27) & 0x1FFFFFFFFF)) * _SECOND
    return bits ^ ((bits >> 31) & 0x1FFFFFFFF)


def combine(*numbers: Tensor | int) -> Tensor:
    """One int64 key from several; each number changes all of its bits."""
    key = torch.zeros((), dtype=torch.int64)
    for number in numbers:
        key = scramble(key + torch.as_tensor(number, dtype=torch.int64) * _GOLDEN + 1)
    return key


def uniform(key: Tensor, counter: Tensor, draws: int) -> Tensor:
    """Uniform in [0, 1).

    Args:
        key: (n,) int64, one an episode.
        counter: (n,) int64, a moment of the episode; equal counters draw equal numbers.
        draws: how many.

    Returns:
        (draws, n) float32.
    """
    pairs = (draws + 1) // 2
    lanes = torch.arange(pairs, device=key.device).unsqueeze(1)  # (pairs, 1)
    bits = scramble(scramble(key + counter * _GOLDEN) + lanes * _GOLDEN)  # (pairs, n)
    halves = torch.cat(((bits >> 40) & 0xFFFFFF, (bits >> 8) & 0xFFFFFF))  # 24 bits each
    return halves[:draws].float() * 2.0**-24


def normal(key: Tensor, counter: Tensor, draws: int) -> Tensor:
    """Standard normal by Box and Muller (1958); arguments and shape as for ``uniform``."""
    pairs = (draws + 1) // 2
    first, second = uniform(key, counter, 2 * pairs).view(2, pairs, -1)  # (pairs, n) each
    radius = (-2.0 * torch.log1p(-first)).sqrt_()
    angle = (2.0 * math.pi) * second
    return torch.cat((radius * angle.cos(), radius * angle.sin()))[:draws]
