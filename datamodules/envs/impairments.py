"""Motor impairments: each kind as the parameters of the same chain of filters.

A parameter is ``HEALTHY + severity * slope of the kind``; so severity 0 of every kind is the healthy human. The delay
alone grows as (s + s^2) / 2, which gives the levels 0.15, 0.21, 0.30, 0.41, 0.55 s at s = 0, 1/4, 1/2, 3/4, 1.
The ranges follow the literature on effective delays of the crossover model, on tremor (rest 4-6 Hz, essential 4-12 Hz,
+-1.5 Hz around the mode) and on signal-dependent noise (Harris and Wolpert 1998); they are ranges of a model, not
measurements of patients.
"""

from typing import NamedTuple

import torch
from torch import Tensor

IMPAIRMENTS = ("none", "tremor", "spasticity", "weakness", "ataxia", "hemiplegia", "fatigue")


class Profile(NamedTuple):
    """The parameters of a human, one tensor (n,) float32 each (a float each in the tables of this file).

    Attributes:
        delay: mean reaction delay in s.
        strength: gain on all channels, 0-1.
        reach: share of the range of motion that can be used, 0-1.
        noise: standard deviation of the signal-dependent noise, as a share of the command.
        dysmetria: standard deviation of the wrong gain of a channel, drawn once an episode.
        overshoot: gain on the fast part of the command.
        wander: standard deviation of the slow drift, in full commands.
        tremor: amplitude of the tremor in full commands (its standard deviation times sqrt 2).
        frequency: the middle of the tremor's band in Hz.
        jerk_rate: spastic jerks per s and channel.
        jerk_size: their size, in full commands.
        paresis: share of strength that the paretic side lacks, 0-1.
        paretic_delay: what the paretic side is later by, in s.
        fatigue_rate: growth of fatigue per s of full effort.
        fatigue_start: the largest fatigue that an episode may start with, 0-1.
        fatigue_loss: share of strength that full fatigue takes, 0-1.
        slack: share of effort that full trust in the robot takes, 0-1.
    """

    delay: Tensor
    strength: Tensor
    reach: Tensor
    noise: Tensor
    dysmetria: Tensor
    overshoot: Tensor
    wander: Tensor
    tremor: Tensor
    frequency: Tensor
    jerk_rate: Tensor
    jerk_size: Tensor
    paresis: Tensor
    paretic_delay: Tensor
    fatigue_rate: Tensor
    fatigue_start: Tensor
    fatigue_loss: Tensor
    slack: Tensor


HEALTHY: dict[str, float] = {
    "delay": 0.15,
    "strength": 1.0,
    "reach": 1.0,
    "noise": 0.05,
    "frequency": 8.0,
    "fatigue_rate": 0.005,
    "fatigue_loss": 0.6,
    "slack": 0.1,
}
"""What is not named is 0."""

SLOPES: dict[str, dict[str, float]] = {
    "none": {},
    "tremor": {"delay": 0.10, "noise": 0.05, "tremor": 0.4, "frequency": -3.0},
    "spasticity": {"delay": 0.20, "reach": -0.3, "noise": 0.05, "strength": -0.2, "jerk_rate": 1.5, "jerk_size": 0.8},
    "weakness": {"delay": 0.20, "strength": -0.7, "reach": -0.2, "noise": 0.05, "fatigue_rate": 0.02, "slack": 0.2},
    "ataxia": {"delay": 0.40, "noise": 0.15, "dysmetria": 0.3, "overshoot": 0.8, "wander": 0.25},
    "hemiplegia": {"delay": 0.15, "reach": -0.3, "noise": 0.05, "paresis": 0.8, "paretic_delay": 0.25, "slack": 0.2},
    "fatigue": {"delay": 0.20, "noise": 0.05, "fatigue_rate": 0.25, "fatigue_start": 0.6, "slack": 0.2},
}
"""Change from severity 0 to severity 1."""

_DEFAULT = torch.tensor([HEALTHY.get(name, 0.0) for name in Profile._fields]).unsqueeze(1)  # (P, 1)
_CHANGE = torch.tensor([[SLOPES[kind].get(name, 0.0) for name in Profile._fields] for kind in IMPAIRMENTS]).T  # (P, 7)


def profile(kind: Tensor, severity: Tensor) -> Profile:
    """The parameters of these humans.

    Args:
        kind: (n,) int64, index into ``IMPAIRMENTS``.
        severity: (n,) float32 in [0, 1].
    """
    device = severity.device
    dose = severity.repeat(len(Profile._fields), 1)  # (P, n)
    dose[0] = (severity + severity.square()) / 2  # the delay grows faster than in proportion
    table = torch.addcmul(_DEFAULT.to(device), _CHANGE.to(device)[:, kind], dose)
    return Profile(*table.unbind(0))
