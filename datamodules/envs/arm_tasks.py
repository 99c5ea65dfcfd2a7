"""Reaching and tracking tasks of the hand: a point (reach, adl) or a figure eight, and the joint-space plan towards it.

Human and device plan in joint space; all goals are grips of postures inside the range of motion, so each is in reach.
Lengths are those of an arm of scale 1; an arm of scale s has its goals s times as far from the shoulder.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from .. import noise
from .arm_body import ArmBody

REST = (0.3, 0.15, 0.0, 1.1, 0.0, 0.0, 0.0)  # rad: hand in front of the body, elbow bent
START_SPREAD = 0.12  # rad
GOAL_MIDDLE = (0.85, 0.35, 0.0, 1.2, 0.0, 0.0, 0.0)  # rad, of the postures that targets are drawn from
GOAL_SPREAD = (0.85, 0.65, 0.7, 0.8, 0.6, 0.6, 0.5)
MARGIN = 0.25  # rad that each posture of a task stays within the range of motion
FRONT, APART = 0.15, 0.15  # m: a target's least distance ahead of the shoulder, and from the hand's start
CANDIDATES = 4
DURATION = (1.0, 1.6)  # s, of a planned movement
MOUTH = (0.12, 0.18, 0.20)  # m from the right shoulder: ahead, towards the middle, up
EIGHT_CENTRE, EIGHT_SIZE = (0.42, 0.05, -0.12), (0.16, 0.09)  # m: half width and half height, in a frontal plane
RAMP = 0.3  # s, in which a figure eight comes up to its speed
_POINTS, _HARMONICS = 64, 8


class Plan(NamedTuple):
    """A moment of a joint-space plan, (7, n) each.

    Attributes:
        angle: rad.
        rate: rad/s.
        acceleration: rad/s^2.
    """

    angle: Tensor
    rate: Tensor
    acceleration: Tensor


class Task(ABC):
    """What all tasks have. A plan is a tensor (P, n), its time (n,) counts in s from the start of the episode.

    Args:
        body: the arm.
    """

    ends: ClassVar[bool]
    """Whether the task is over when the hand has stayed at the target."""

    def __init__(self, body: ArmBody) -> None:
        self.body = body
        self.rest = torch.tensor(REST, dtype=body.low.dtype, device=body.low.device).unsqueeze(1)

    @abstractmethod
    def begin(self, key: Tensor, difficulty: Tensor, stream: int) -> Tensor:
        """Draw plans (P, n).

        Args:
            key: (n,) int64, of the episodes.
            difficulty: (n,) in [0, 1]: how far goals spread, how fast they move.
            stream: of the random numbers; the next one is used as well.
        """

    @abstractmethod
    def plan(self, plan: Tensor, time: Tensor) -> Plan:
        """The movement at a time."""

    @abstractmethod
    def aim(self, plan: Tensor, time: Tensor) -> Tensor:
        """(7, n) rad: the posture to steer for."""

    @abstractmethod
    def target(self, plan: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Where the grip shall be and how fast, (3, n) m and m/s."""

    def path(self) -> Tensor:
        """(3, Q) m: the curve along which targets move, for a picture; none here."""
        return self.rest.new_zeros(3, 0)

    def _start(self, key: Tensor, stream: int) -> Tensor:
        u = noise.uniform(key, torch.full_like(key, stream), len(REST))
        return self.rest + START_SPREAD * (2.0 * u - 1.0)


class Reach(Task):
    """To a point that a random posture touches, by a movement of minimum jerk (Flash and Hogan 1985) of the joints.

    A plan holds: start (7), goal (7), target (3), duration.
    """

    ends = True

    def __init__(self, body: ArmBody) -> None:
        super().__init__(body)
        low, high = body.low + MARGIN, body.high - MARGIN
        table = torch.tensor((GOAL_MIDDLE, GOAL_SPREAD), dtype=low.dtype, device=low.device).unsqueeze(2)
        self.middle, self.spread = table[0], table[1]
        self.low, self.high = (
            torch.maximum(self.middle - self.spread, low),
            torch.minimum(self.middle + self.spread, high),
        )
        self.fallback = self.middle + torch.tensor([[0.4], [0.3], *[[0.0]] * 5], dtype=low.dtype, device=low.device)

    def begin(self, key: Tensor, difficulty: Tensor, stream: int) -> Tensor:
        """As the base says."""
        start = self._start(key, stream)
        goal, target = self._goal(key, difficulty, stream + 1, self.body.grip(start))
        u = noise.uniform(key, torch.full_like(key, stream), len(REST) + 1)[-1:]
        low, high = DURATION
        return torch.cat((start, goal, target, low + (high - low) * u))

    def _goal(self, key: Tensor, difficulty: Tensor, stream: int, hand: Tensor) -> tuple[Tensor, Tensor]:
        """The first candidate ahead of the shoulder and away from the hand; a fixed posture if there is none."""
        n, joints = len(key), len(REST)
        u = noise.uniform(key, torch.full_like(key, stream), CANDIDATES * joints).view(CANDIDATES, joints, n)
        share = 0.6 + 0.4 * difficulty
        drawn = self.middle + self.spread * share * (2.0 * u - 1.0)
        drawn = torch.maximum(torch.minimum(drawn, self.high), self.low)
        drawn = torch.cat((drawn, self.fallback.expand(1, -1, n)))  # (C + 1, 7, n)
        grips = self.body.grip(drawn.transpose(0, 1).reshape(joints, -1)).view(3, -1, n)
        far = (grips - hand.unsqueeze(1)).square().sum(0) >= APART**2
        good = far & (grips[0] >= FRONT)  # (C + 1, n)
        good[-1] = True
        first = good.byte().argmax(0)
        pick = first.expand(1, joints, n)
        return drawn.gather(0, pick)[0], grips.gather(1, first.expand(3, 1, n))[:, 0]

    def plan(self, plan: Tensor, time: Tensor) -> Plan:
        """Minimum jerk: q0 + (q1 - q0) (10 s^3 - 15 s^4 + 6 s^5) with s = t / T."""
        start, way, duration = plan[:7], plan[7:14] - plan[:7], plan[17]
        s = (time / duration).clamp(0.0, 1.0)
        rest = 1.0 - s
        angle = torch.addcmul(start, way, s.pow(3) * (10.0 + s * (6.0 * s - 15.0)))
        rate = way * (30.0 * (s * rest).square() / duration)
        return Plan(angle, rate, way * (60.0 * s * rest * (1.0 - 2.0 * s) / duration.square()))

    def aim(self, plan: Tensor, time: Tensor) -> Tensor:
        """The goal."""
        return plan[7:14]

    def target(self, plan: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """The target stands still."""
        return plan[14:17], torch.zeros_like(plan[14:17])


class HandToMouth(Reach):
    """Adl, an activity of daily living: the hand goes to the mouth; it has the same place in every episode.

    The posture is that of the arm's inverse kinematics; an arm of any scale takes the same.
    """

    def __init__(self, body: ArmBody) -> None:
        super().__init__(body)
        exact = ArmBody(body.low.device, torch.float64)
        mouth = torch.tensor(MOUTH, dtype=torch.float64, device=body.low.device).unsqueeze(1)
        self.mouth, self.posture = mouth.to(body.low), exact.reach(mouth, self.rest.double()).to(body.low)

    def _goal(self, key: Tensor, difficulty: Tensor, stream: int, hand: Tensor) -> tuple[Tensor, Tensor]:
        return self.posture.expand(-1, len(key)), self.mouth.expand(-1, len(key))


class FigureEight(Task):
    """Along the lemniscate of Gerono, y = a sin p, z = b sin 2p, in front of the body.

    Postures along it come from inverse kinematics once, then as a Fourier series of the phase p. A plan holds: phase at
    the start, angular rate (the sign is the direction).
    """

    ends = False

    def __init__(self, body: ArmBody) -> None:
        super().__init__(body)
        exact = ArmBody(body.low.device, torch.float64)
        phase = torch.arange(_POINTS, dtype=torch.float64, device=body.low.device) * (2.0 * math.pi / _POINTS)
        self.centre = torch.tensor(EIGHT_CENTRE, dtype=body.low.dtype, device=body.low.device).unsqueeze(1)
        posture = exact.reach(self._point(phase, self.centre.double()), self.rest.double())
        series = torch.fft.rfft(posture)[:, : _HARMONICS + 1] * (2.0 / _POINTS)  # (7, H + 1)
        self.mean = (series[:, :1].real / 2.0).to(body.low)
        self.cosine, self.sine = series[:, 1:].real.to(body.low), (-series[:, 1:].imag).to(body.low)  # (7, H)
        self.order = torch.arange(1, _HARMONICS + 1, dtype=body.low.dtype, device=body.low.device).unsqueeze(1)

    @staticmethod
    def _point(phase: Tensor, centre: Tensor) -> Tensor:
        a, b = EIGHT_SIZE
        return centre + torch.stack((torch.zeros_like(phase), a * phase.sin(), b * (2.0 * phase).sin()))

    def begin(self, key: Tensor, difficulty: Tensor, stream: int) -> Tensor:
        """A lap takes 4.5 s at difficulty 0, 3 s at difficulty 1, give or take a tenth."""
        u = noise.uniform(key, torch.full_like(key, stream), 3)
        lap = (4.5 - 1.5 * difficulty) * (0.9 + 0.2 * u[1])
        return torch.stack((2.0 * math.pi * u[0], torch.where(u[2] < 0.5, -1.0, 1.0) * 2.0 * math.pi / lap))

    def _phase(self, plan: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Phase, its rate and its acceleration: up to speed exponentially."""
        start, speed = plan.unbind()
        rising = torch.exp(time / -RAMP)
        return start + speed * (time - RAMP * (1.0 - rising)), speed * (1.0 - rising), speed * rising / RAMP

    def plan(self, plan: Tensor, time: Tensor) -> Plan:
        """The series and its derivatives."""
        phase, rate, acceleration = self._phase(plan, time)
        turn = self.order * phase  # (H, n)
        cosine, sine = turn.cos(), turn.sin()
        first = self.order * torch.stack((-sine, cosine))
        angle = self.mean + self.cosine @ cosine + self.sine @ sine
        slope = self.cosine @ first[0] + self.sine @ first[1]
        bend = -(self.cosine @ (self.order.square() * cosine) + self.sine @ (self.order.square() * sine))
        return Plan(angle, slope * rate, torch.addcmul(slope * acceleration, bend, rate.square()))

    def aim(self, plan: Tensor, time: Tensor) -> Tensor:
        """The posture a tenth of a second ahead."""
        turn = self.order * self._phase(plan, time + 0.1)[0]
        posture: Tensor = self.mean + self.cosine @ turn.cos() + self.sine @ turn.sin()
        return posture

    def target(self, plan: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """On the curve, and along it."""
        phase, rate, _ = self._phase(plan, time)
        a, b = EIGHT_SIZE
        slope = torch.stack((torch.zeros_like(phase), a * phase.cos(), 2.0 * b * (2.0 * phase).cos()))
        return self._point(phase, self.centre), slope * rate

    def path(self) -> Tensor:
        """The whole eight."""
        return self._point(torch.linspace(0.0, 2.0 * math.pi, 100, device=self.centre.device), self.centre)


TASKS: dict[str, type[Task]] = {"reach": Reach, "tracking": FigureEight, "adl": HandToMouth}
