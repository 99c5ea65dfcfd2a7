"""A hip-knee exoskeleton on a walking, impaired human: leg, cuffs, motors, gait reference, costs.

Each control step of 10 ms is 4 semi-implicit Euler steps of: the leg's equations (``leg_dynamics.py``), driven by the
human's torque, the ground's load, the cuffs and the passive end stops; and of the robot's joints, driven by motors
that lag and whose torque can change only so fast. The trunk is upright and goes with constant speed, so the hip's frame
is inertial; the ground acts as a moment on the joints by phase (``gait.py``). Cadence is given, as on a treadmill.

Randomness: counter = 16 * elapsed + stream; 0 the episode's draws, 1 dropout and pushes, 14 and 15 the human.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from torch import Tensor

from .. import noise
from .base import BatchedEnv, Outcome, State
from .gait import Gait, stride_frequency
from .human import Human
from .leg_dynamics import Body, body, inverse_dynamics
from .leg_robot import COSTS, PEAK_TORQUE, LegRobot

DT, SUBSTEPS = 0.01, 4
MUSCLE = (1.2, 0.9)  # Nm per kg: what hip and knee can give
STIFFNESS, DAMPING = 20.0, 2.0  # Nm/rad and Nm s/rad: the human's voluntary correction, through the filters
TONE, TONE_DAMPING = 30.0, 3.0  # the same by the muscles' own stiffness, which needs no reaction
LEAD = 0.15  # s: a walker anticipates the own rhythm by the delay of a healthy one
TRACKING_SCALE = 0.15  # rad
FALL = 0.8  # rad: so far from the gait nobody walks on

# by level 0..4: speed low, high in m/s; spread of body mass; motor lag in s; friction in Nm s/rad; dropout; pushes at
# the hip in Nm (standard deviation)
LEVELS = (
    (0.7, 0.9, 0.05, 0.020, 0.5, 0.00, 0.0),
    (0.6, 1.0, 0.10, 0.025, 0.8, 0.00, 2.0),
    (0.5, 1.1, 0.15, 0.030, 1.2, 0.02, 4.0),
    (0.4, 1.2, 0.20, 0.040, 1.6, 0.05, 6.0),
    (0.4, 1.4, 0.25, 0.050, 2.0, 0.10, 8.0),
)
_PUSH_TIME = 0.2  # s, of the random pushes


class ExoskeletonLeg(BatchedEnv):
    """The robot helps a leg to follow its gait.

    Action, each in [-1, 1]: a torque for every joint as a share of ``PEAK_TORQUE``, then the authority, from -1 (none)
    to 1 (full). The motors are asked for authority * torque, so authority -1 or torque 0 leaves the human alone; the
    human feels the authority and, with trust, slacks. Flexion is positive.

    Reward per step: exp(-mean square error / ``TRACKING_SCALE``^2) in (0, 1], minus 0.05 * mean square torque share of
    the robot and 0.05 * mean square effort of the human; a fall ends the episode with -5.
    An episode that reaches ``max_episode_steps`` with an error below ``TRACKING_SCALE``, as a mean over about the last
    second, is a success.

    Costs per step, each in [0, 1], of the worst joint unless said otherwise:

    - ``joint_margin``: from 0 at 5 degrees off the end of the range to 1 at the end; a fall is charged with 1 for each
      step that it cuts off, since otherwise the cheapest way to keep a limit were to fall
    - ``torque``: from 0 at half of the peak torque to 1 at the peak
    - ``torque_rate``: from 0 at half of the motors' rate to 1 at the rate
    - ``joint_speed``: from 0 at 4 (hip) and 8 (knee) rad/s to 1 at 1.5 times as much
    - ``interaction_force``: of a cuff on the limb, from 0 at 60 N to 1 at 160 N
    - ``resistive_power``: power that the cuffs take from the legs, all joints together, from 0 at 10 W to 1 at 50 W

    Args:
        num_envs: N.
        impairment: of the human, see ``Human``.
        severity: of the impairment, a number or [low, high].
        bilateral: two legs half a cycle apart, which share the ground's load: a leg that is far from its gait bears
            less of it and the other more.
        projection: replace the asked torques of each leg by the nearest ones that take no more than ``POWER_BUDGET``
            from it and keep within the peak torque.
        **options: ``seed``, ``level``, ``max_episode_steps``, ``device``, ``render_mode``: see ``BatchedEnv``.

    Raises:
        ValueError: a level outside 0 to 4.
    """

    metadata: dict[str, Any] = BatchedEnv.metadata | {"render_fps": round(1.0 / DT)}
    view = "datamodules.envs.leg_view:LegView"
    cost_names: ClassVar[tuple[str, ...]] = COSTS

    def __init__(
        self,
        num_envs: int = 1,
        impairment: str = "weakness",
        severity: float | Sequence[float] = 0.6,
        bilateral: bool = False,
        projection: bool = False,
        **options: Any,
    ) -> None:
        self.legs, self.projection = 1 + bilateral, projection
        sides = ("left_", "right_") if bilateral else ("",)
        joints = [side + joint for joint in ("hip", "knee") for side in sides]
        per_joint = ("angle", "rate", "error", "rate_error", "ahead", "motor", "cuff", "human")
        self.action_names = (*joints, "authority")
        self.observation_names = (
            *(f"{joint}_{name}" for name in per_joint for joint in joints),
            *("phase_sin", "phase_cos", "speed", "authority"),
        )
        super().__init__(num_envs, **options)
        self.single_observation_space = spaces.Box(-5.0, 5.0, (len(self.observation_names),), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.human = Human(2 * self.legs, DT, impairment, severity, sides=[-1, 1, -1, 1] if bilateral else [0, 0])
        self.gait = Gait(self.device)

        self.robot = LegRobot(self.legs, DT, SUBSTEPS, self.device)
        self.muscle = torch.tensor(MUSCLE, device=self.device).repeat_interleave(self.legs).unsqueeze(1)  # (J, 1)
        self.table = torch.tensor(LEVELS, device=self.device)
        self.offset = torch.arange(self.legs, device=self.device).unsqueeze(1) / 2.0  # (L, 1): half a cycle apart

    # ------------------------------------------------------------------ the simulator
    def begin(self, key: Tensor, rows: Tensor) -> State:
        """A body, a speed, and a leg that is where its gait is."""
        low, high, spread, lag, friction, dropout, push = self.table[self.levels[rows]].T
        u = noise.uniform(key, torch.zeros_like(key), 4)
        mass = 72.4 * (1.0 + spread * (2.0 * u[0] - 1.0))
        height = 1.73 * (mass / 72.4).pow(1.0 / 3.0) * (0.97 + 0.06 * u[1])
        speed = low + (high - low) * u[2]
        phase = u[3]
        state: State = self.human.begin(key)
        state["body"] = torch.stack((*body(mass, height), mass))  # (6, n)
        state["walk"] = torch.stack((phase, speed, stride_frequency(speed), lag, friction, dropout, push))  # (7, n)
        state["reference"], state["intended"] = self._reference(state["body"], state["walk"])
        angle, rate, *_ = state["reference"].unbind(0)
        still = torch.zeros_like(angle)
        # the leg's angle, rate, acceleration; the robot's angle, rate; motor torque
        state["joints"] = torch.stack((angle, rate, still, angle, rate, still))
        state["measured"] = torch.stack((angle, rate))
        state["seen"] = torch.stack((still, still))  # the cuff's torque, the human's command
        state["push"] = torch.zeros_like(still[: self.legs])
        state["authority"] = torch.zeros_like(speed)
        state["error"] = torch.zeros_like(speed)
        state["human_chain"] = self._intent(state).expand_as(state["human_chain"]).clone()
        return state

    def _reference(self, frame: Tensor, walk: Tensor) -> tuple[Tensor, Tensor]:
        """(5, J, n): angle, rate, angle ahead, rate ahead, load; and (J, n): the torque that the gait needs ahead."""
        *fields, mass = frame.unbind(0)
        leg = Body(*fields)
        phase, speed, frequency, _, friction, *_ = walk.unbind(0)
        now = phase + self.offset  # (L, n)
        moment = self.gait(torch.stack((now, now + LEAD * frequency)), speed, frequency)  # (2, 2, L, n) each
        angle, rate, second, load = (x.unbind(1) for x in moment)  # now and ahead, (2, L, n) each
        ahead = [x[1].flatten(0, 1) for x in (angle, rate, second, load)]  # (J, n) each
        torque = torch.addcmul(inverse_dynamics(leg, *ahead[:3]), self.robot.inertia, ahead[2])
        intended = torch.addcmul(torch.addcmul(torque, friction, ahead[1]), ahead[3], mass, value=-1.0)
        return torch.stack((angle[0], rate[0], angle[1], rate[1], load[0] * mass)).flatten(1, 2), intended

    def _intent(self, state: State) -> Tensor:
        """(J, n) in [-1, 1]: the torque that a perfect walker would give, as a share of the muscles'."""
        angle, rate, *_ = state["joints"].unbind(0)
        target, target_rate, *_ = state["reference"].unbind(0)
        torque = state["intended"] + STIFFNESS * (target - angle)
        torque = torch.add(torque, target_rate - rate, alpha=DAMPING)
        return (torque / (self.muscle * state["body"][5])).clamp_(-1.0, 1.0)

    def advance(self, state: State, action: Tensor) -> tuple[State, Outcome]:
        """One step of 10 ms."""
        *fields, mass = state["body"].unbind(0)
        leg = Body(*fields)
        phase, _, frequency, lag, friction, dropout, push_size = state["walk"].unbind(0)
        angle, rate, _, _, _, motor = state["joints"].unbind(0)
        u = noise.uniform(state["key"], state["elapsed"] * 16 + 1, 1 + self.legs)

        # what is asked of the robot
        authority = action[-1].add(1.0).mul_(0.5)
        asked = action[:-1] * (authority * PEAK_TORQUE)
        if self.projection:
            asked = self.robot.within_power(asked, rate)

        # what the human does
        place = (angle - self.robot.middle) / self.robot.width
        command, human = self.human.act(state, self._intent(state), authority, place)
        muscle = command * (self.muscle * mass)

        walk = torch.cat(((phase + frequency * DT).remainder(1.0).unsqueeze(0), state["walk"][1:]))
        reference, intended = self._reference(state["body"], walk)
        target, target_rate, _, _, load = reference.unbind(0)
        keep = math.exp(-DT / _PUSH_TIME)
        push = keep * state["push"] + (push_size * math.sqrt(12.0 * (1.0 - keep**2))) * (u[1:] - 0.5)
        drive = muscle + self._shared(load, (angle - target).square())
        drive[: self.legs] += push
        drive = torch.add(drive, target, alpha=TONE).add_(target_rate, alpha=TONE_DAMPING)
        # mechanics
        change = self.robot.motor_change(asked, motor, lag)
        joints, cuff = self.robot.simulate(leg, state["joints"], change, drive, TONE, friction + TONE_DAMPING)
        angle, rate, _, _, _, motor = joints.unbind(0)

        # what comes of it
        error = angle - target
        square = error.square().mean(0)
        fallen = error.abs().amax(0) > FALL
        seen = u[0] >= dropout
        measured = torch.lerp(state["measured"], torch.stack((angle, rate)), seen.float())
        share = motor / PEAK_TORQUE
        reward = torch.exp(square / -(TRACKING_SCALE**2)) - 0.05 * share.square().mean(0) - 0.05 * human["human_effort"]
        distance = square.sqrt()
        average = torch.lerp(state["error"], distance, DT / 1.0)
        success = (state["elapsed"] + 1 >= self.max_episode_steps) & (average < TRACKING_SCALE) & ~fallen
        efforts = motor.abs().sum(0), muscle.abs().sum(0)
        new = human | {
            "body": state["body"],
            "walk": walk,
            "reference": reference,
            "intended": intended,
            "joints": joints,
            "measured": measured,
            "seen": torch.stack((cuff, command)),
            "push": push,
            "authority": authority,
            "error": average,
        }
        measures = {
            "tracking_error": distance,
            "user_effort": human["human_effort"].clone(),  # the state's own is written over where an episode begins
            "override": efforts[0] / (efforts[0] + efforts[1] + 1e-6),
            "authority": authority.clone(),
            "trust": human["human_trust"].clone(),
            "fatigue": human["human_fatigue"].clone(),
        }
        costs = self.robot.costs(angle, rate, motor, change, cuff)
        costs[0] += fallen * (self.max_episode_steps - state["elapsed"] - 1)
        return new, Outcome(reward - 5.0 * fallen, costs, fallen, success, measures)

    def _shared(self, load: Tensor, square: Tensor) -> Tensor:
        """The ground's moment (J, n) by how well each leg stands: a leg off its gait leaves its share to the other."""
        if self.legs == 1:
            return load
        hips, knees = square.chunk(2)
        fit = torch.exp(-(hips + knees))  # (2, n)
        return load * (2.0 * fit / fit.sum(0)).repeat(2, 1)

    def observe(self, state: State) -> Tensor:
        """Angles by 0.5 rad, rates by 4 rad/s, errors by 0.2 rad and 2 rad/s, torques by the peak."""
        angle, rate = state["measured"].unbind(0)
        target, target_rate, ahead, *_ = state["reference"].unbind(0)
        phase, speed, *_ = state["walk"].unbind(0)
        turn = 2.0 * math.pi * phase
        motor = state["joints"][5]
        cuff, command = state["seen"].unbind(0)
        scale = 1.0 / PEAK_TORQUE
        rows = (
            *(angle * 2.0, rate * 0.25, (target - angle) * 5.0, (target_rate - rate) * 0.5, (ahead - target) * 5.0),
            *(motor * scale, cuff * scale, command),
            torch.stack((turn.sin(), turn.cos(), speed, state["authority"])),
        )
        return torch.cat(rows).clamp_(-5.0, 5.0).T

    # ------------------------------------------------------------------ around it
    def scripted(self, state: State) -> Tensor:
        """A hand-written assistant: 40 % of the gait's own torques, and a spring and damper towards the gait.

        It looks 30 ms ahead, about the lag of motors and cuffs, and always takes full authority.

        Returns:
            (A, n) in [-1, 1], from what an observation holds and the body's model.
        """
        angle, rate = state["measured"].unbind(0)
        target, target_rate, _, rate_ahead, _ = state["reference"].unbind(0)
        soon = 0.03
        off = target - angle + soon * (target_rate - rate)
        off_rate = torch.lerp(target_rate, rate_ahead, soon / LEAD) - rate
        torque = 0.4 * state["intended"] + 100.0 * off + 8.0 * off_rate
        share = (torque / PEAK_TORQUE).clamp(-1.0, 1.0)
        return torch.cat((share, torch.ones_like(share[:1])))
