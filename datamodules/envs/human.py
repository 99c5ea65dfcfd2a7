"""The human who shares the control: an intent becomes a command through a chain of filters.

In this order: reaction delay, weakness, range loss, signal-dependent noise, ataxia, tremor, spasticity, hemiplegia,
fatigue, adaptation. ``impairments.py`` says which kind of impairment sets which parameter. Severity 0 and the kind
``none`` leave a delay of 0.15 s, 5 % of signal-dependent noise, very slow fatigue and a little slacking.

Randomness: counter = 16 * elapsed + stream. The human draws from the streams 14 (once, at the start of an episode) and
15 (one call a step); an environment keeps the streams 0-13 for itself.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .. import noise
from .base import State
from .impairments import IMPAIRMENTS, Profile, profile

__all__ = ["IMPAIRMENTS", "STREAM_BEGIN", "STREAM_STEP", "Human"]

STREAM_BEGIN, STREAM_STEP = 14, 15

_STAGES = 6  # of the reaction delay
_TREMOR_BANDWIDTH = 1.0  # Hz, full width at half power
_TREMOR_SPREAD = 1.5  # Hz: how far the mode of a person lies from that of the severity
_WANDER_TIME, _LEAD_TIME, _JERK_TIME = 0.6, 0.3, 0.25  # s: slow drift, what counts as fast, decay of a jerk
_RANGE_MARGIN = 0.2  # over which a command fades at the end of the range of motion
_REST_RATE = 0.02  # 1/s: recovery from fatigue
_TRUST_TIME = 5.0  # s: adaptation to the robot's share


class Human:
    """N humans, each with the same number of channels (axes of a joystick, joints of a leg).

    The state is a dictionary of tensors, the last axis counts the humans:

    - ``human_kind`` (n,) int64 and ``human_severity`` (n,): what was drawn for the episode
    - ``human_profile`` (P + 3, n): ``Profile``, then the tremor's two coefficients and the threshold of a jerk
    - ``human_channel`` (3, C, n): rate of the delay, wrong gain, strength of the side
    - ``human_chain`` (K, C, n): stages of the delay
    - ``human_filter`` (5, C, n): fast part's slow mean, wander, tremor now and before, jerk
    - ``human_fatigue``, ``human_trust``, ``human_effort`` (n,): each in [0, 1]; effort is the mean square command

    Args:
        channels: C.
        dt: seconds between two calls of ``act``.
        impairment: one of ``IMPAIRMENTS``, or ``mixed``: each with equal chance, drawn per episode.
        severity: in [0, 1], or [low, high]: uniform, drawn per episode.
        sides: of each channel: -1 left, 1 right, 0 paretic in every hemiplegia. Default: first half left, rest right.

    Raises:
        ValueError: an unknown impairment, a severity outside [0, 1], or ``sides`` of the wrong length.
    """

    def __init__(
        self,
        channels: int,
        dt: float,
        impairment: str = "none",
        severity: float | Sequence[float] = 0.0,
        sides: Sequence[int] | None = None,
    ) -> None:
        if impairment != "mixed" and impairment not in IMPAIRMENTS:
            raise ArgumentError(
                f"impairment: '{impairment}' is not known; use mixed or one of {', '.join(IMPAIRMENTS)}."
            )
        bounds = (severity, severity) if isinstance(severity, int | float) else tuple(severity)
        if len(bounds) != 2 or not 0.0 <= bounds[0] <= bounds[1] <= 1.0:
            raise ArgumentError(f"severity: {severity!r} must be a number in [0, 1], or [low, high] within it.")
        sides = sides or [-1 if c < channels / 2 else 1 for c in range(channels)]
        if len(sides) != channels:
            raise ArgumentError(f"sides: {list(sides)} must name the side of each of the {channels} channels.")
        self.channels, self.dt, self.impairment, self.severity = channels, dt, impairment, bounds
        self.sides = torch.tensor(sides, dtype=torch.float32).unsqueeze(1)  # (C, 1)
        self.stages = max(1, min(_STAGES, int(0.15 / dt + 1.0)))

    def begin(self, key: Tensor) -> State:
        """Draw the humans of new episodes.

        Args:
            key: (n,) int64, of the episodes.
        """
        n, c, dt = len(key), self.channels, self.dt
        counter = torch.full_like(key, STREAM_BEGIN)
        u = noise.uniform(key, counter, 5 + 4 * c)
        z = _normal(u[5:]).reshape(4, c, n)
        low, high = self.severity
        severity = low + (high - low) * u[0]
        if self.impairment == "mixed":
            kind = (u[1] * len(IMPAIRMENTS)).long()
        else:
            kind = torch.full_like(key, IMPAIRMENTS.index(self.impairment))
        human = profile(kind, severity)
        paretic = (self.sides.to(key.device) * (2.0 * (u[2] < 0.5) - 1.0) >= 0).float()  # (C, n)
        delay = human.delay + human.paretic_delay * paretic
        # A chain of K stages y += a (x - y), each fed by the last step's stage before it, is late by K dt / a - dt.
        rate = (self.stages * dt / (delay + dt)).clamp(max=1.0)
        # AR(2) with poles r exp(+-i w): x'' = a1 x' + a2 x + drive e; its drive for unit variance (Box, Jenkins 3.2.4)
        frequency = (human.frequency + _TREMOR_SPREAD * (2.0 * u[3] - 1.0)).clamp(max=0.4 / dt)
        radius = math.exp(-math.pi * _TREMOR_BANDWIDTH * dt)
        a1, a2 = 2.0 * radius * torch.cos(2.0 * math.pi * frequency * dt), -(radius**2)
        drive = ((1.0 + a2) * ((1.0 - a2) ** 2 - a1.square()) / (1.0 - a2)).sqrt()
        correlation = a1 / (1.0 - a2)
        before = correlation * z[1] + (1.0 - correlation.square()).sqrt() * z[2]
        # A jerk comes when a normal number leaves +-threshold: its sign is the jerk's.
        chance = -torch.expm1(-human.jerk_rate * dt)
        threshold = (math.sqrt(2.0) * torch.erfinv(1.0 - chance)).clamp(max=10.0)
        zeros = torch.zeros_like(z[0])
        return {
            "human_kind": kind,
            "human_severity": severity,
            "human_profile": torch.stack((*human, a1, drive, threshold)),
            "human_channel": torch.stack(
                (rate, 1.0 + human.dysmetria * z[0].clamp(-2.0, 2.0), 1.0 - human.paresis * paretic)
            ),
            "human_chain": zeros.expand(self.stages, -1, -1).clone(),
            "human_filter": torch.stack((zeros, z[3], z[1], before, zeros)),
            "human_fatigue": human.fatigue_start * u[4],
            "human_trust": torch.zeros_like(severity),
            "human_effort": torch.zeros_like(severity),
        }

    def act(
        self, state: State, intent: Tensor, assistance: Tensor, range_position: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """What the human does about an intent.

        Args:
            state: with the ``human_`` tensors and ``key`` and ``elapsed`` (n,) int64; not changed.
            intent: (C, n) in [-1, 1], what a perfect human would command now.
            assistance: (n,) in [0, 1], the robot's share of the control.
            range_position: (C, n) in [-1, 1], where each joint stands in its range of motion; commands outward fade
                beyond ``reach``. Without it the command itself is limited to +-``reach``.

        Returns:
            Command (C, n) in [-1, 1], and all ``human_`` tensors as they are after it.
        """
        dt, c = self.dt, self.channels
        *fields, a1, drive, threshold = state["human_profile"].unbind(0)
        human = Profile(*fields)
        rate, gain, side = state["human_channel"].unbind(0)
        slow, wander, tremor, before, jerk = state["human_filter"].unbind(0)
        z = _normal(noise.uniform(state["key"], state["elapsed"] * 16 + STREAM_STEP, 4 * c)).reshape(4, c, -1)

        # reaction delay
        old = state["human_chain"]
        chain = torch.cat((intent.unsqueeze(0), old[:-1])).sub_(old).mul_(rate).add_(old)
        command = chain[-1] * human.strength  # weakness
        # range loss
        if range_position is None:
            command = torch.maximum(torch.minimum(command, human.reach), -human.reach)
        else:
            room = 1.0 + human.reach / _RANGE_MARGIN
            inverse = 1.0 / _RANGE_MARGIN
            command = torch.minimum(command, torch.sub(room, range_position, alpha=inverse).clamp_(0.0, 1.0))
            command = torch.maximum(command, torch.add(room, range_position, alpha=inverse).clamp_(0.0, 1.0).neg_())
        command = torch.addcmul(command, command * human.noise, z[0])  # signal-dependent noise
        # ataxia: an overshoot of what is fast, a wrong gain, a slow drift (Ornstein and Uhlenbeck, unit variance)
        keep = math.exp(-dt / _WANDER_TIME)
        slow = slow + (1.0 - math.exp(-dt / _LEAD_TIME)) * (command - slow)
        wander = keep * wander + math.sqrt(1.0 - keep**2) * z[1]
        command = torch.addcmul(command, human.overshoot, command - slow)
        command = torch.addcmul(command * gain, human.wander, wander)
        # tremor
        a2 = -math.exp(-2.0 * math.pi * _TREMOR_BANDWIDTH * dt)
        shaken = torch.addcmul(a1 * tremor, drive, z[2]).add_(before, alpha=a2)
        command = torch.addcmul(command, human.tremor / math.sqrt(2.0), shaken)
        # spasticity
        event = (z[3].abs() > threshold).float() * z[3].sign()
        jerk = torch.addcmul(jerk * math.exp(-dt / _JERK_TIME), event, human.jerk_size)
        command = command + jerk
        # hemiplegia, fatigue, adaptation
        fatigue, trust = state["human_fatigue"], state["human_trust"]
        capacity = (1.0 - human.fatigue_loss * fatigue) * (1.0 - human.slack * trust)
        command = (command * (side * capacity)).clamp_(-1.0, 1.0)
        effort = command.square().mean(0)
        fatigue = fatigue + dt * (human.fatigue_rate * effort * (1.0 - fatigue) - _REST_RATE * fatigue)
        trust = trust + (1.0 - math.exp(-dt / _TRUST_TIME)) * (assistance - trust)
        return command, {
            "human_kind": state["human_kind"],
            "human_severity": state["human_severity"],
            "human_profile": state["human_profile"],
            "human_channel": state["human_channel"],
            "human_chain": chain,
            "human_filter": torch.stack((slow, wander, shaken, tremor, jerk)),
            "human_fatigue": fatigue,
            "human_trust": trust,
            "human_effort": effort,
        }


def _normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones, by the inverse of the distribution function; the sign is kept."""
    return torch.erfinv(uniform * 2.0 - (1.0 - 2.0**-24)).mul_(math.sqrt(2.0))  # the middle of each step of 2^-24
