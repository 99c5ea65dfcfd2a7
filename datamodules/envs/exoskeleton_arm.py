"""A 7-joint exoskeleton on an impaired human arm: rigid-body dynamics, drives, cuffs, human, costs.

A control step of 10 ms is one ``advance`` of the arm in its device (``arm_body.py``) under the human's and the motors'
torques; the plans of both come from the task (``arm_tasks.py``).

The device carries its own model's gravity: the motors are asked for ``SUPPORT`` times the load of arm, shells and
payload, give or take the error of the level, besides what is commanded. Torques of the motors lag, and change only so
fast; all of it stays within ``arm_body.TORQUE_LIMIT``.

Randomness: counter = 16 * elapsed + stream; streams 0 the body, 1 and 2 the task, 3 dropout, 14 and 15 the human.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .. import noise
from .arm_body import JOINTS, ArmBody
from .arm_tasks import TASKS
from .base import BatchedEnv, Outcome, State
from .human import Human
from .shared_control import blend

DT = 0.01  # s
SUPPORT = 0.8  # share of the load that the device carries
AMPLIFY = 0.3  # of a drive's limit, at a human's full command, where the robot has no authority
TORQUE_RATE = 8.0  # limits per s
LEAD = 0.15  # s: a healthy human's delay, by which a plan is sent ahead
HUMAN_STIFFNESS = (6.0, 6.0, 2.0, 4.0, 0.4, 0.4, 0.4)  # Nm/rad, towards the own plan, through the human's filters
HUMAN_DAMPING = (1.0, 1.0, 0.3, 0.5, 0.04, 0.04, 0.04)  # Nm s/rad
HUMAN_LEARNING = (6.0, 6.0, 2.0, 4.0, 0.4, 0.4, 0.4)  # Nm/(rad s): slow correction of what the plan did not foresee
HUMAN_INERTIA = (0.7, 0.65, 0.12, 0.2, 0.017, 0.012, 0.012)  # kg m^2, what a plan reckons with; rotors included
TOLERANCE, DWELL = 0.04, 20  # m; steps that the hand stays there for success
TRACKING_TOLERANCE = 0.05  # m, mean distance along a figure eight that is a success
MARGIN = 0.1  # rad, from the end of the range of motion

# by level 0..4: difficulty of the task, payload at most in kg, factor on damping, motor lag in s, dropout, error of
# the gravity model at most
LEVELS = (
    (0.00, 0.00, 1.0, 0.020, 0.00, 0.00),
    (0.25, 0.15, 0.9, 0.030, 0.02, 0.05),
    (0.50, 0.30, 0.8, 0.040, 0.05, 0.10),
    (0.75, 0.45, 0.7, 0.050, 0.10, 0.15),
    (1.00, 0.60, 0.6, 0.060, 0.15, 0.20),
)


class ExoskeletonArm(BatchedEnv):
    """The robot helps an arm to reach, to follow, or to bring the hand to the mouth.

    Action, each in [-1, 1]: a torque for each of the seven joints as a share of the drive's limit, then the authority
    a, from -1 (a = 0) to 1 (a = 1). The drives are asked for a * robot + (1 - a) * ``AMPLIFY`` * human's command, each
    as a share of the limit, and for the support of gravity.

    Reward per step of ``reach`` and ``adl``: 8 * progress towards the target as a share of the way (of 0.3 m at least)
    - 0.02 - 0.04 * min(distance / 0.3 m, 1), and 5 when the hand has stayed within ``TOLERANCE`` for ``DWELL`` steps,
    which ends the episode. Of ``tracking``: 0.1 * exp(-(distance / 0.06 m)^2) - 0.04 * min(distance / 0.3 m, 1); the
    episode ends with its last step, and with 5 where the mean distance is below ``TRACKING_TOLERANCE``.

    Costs per step, each in [0, 1], of the worst joint unless said otherwise:

    - ``joint_margin``: from 0 at 0.1 rad off the end of the range to 1 at the end
    - ``torque``: from 0 at half of the drive's limit to 1 at the limit
    - ``torque_rate``: from 0 at half of the drive's rate to 1 at the rate
    - ``joint_speed``: from 0 at 2 rad/s to 1 at 4 rad/s
    - ``interaction_force``: of a cuff on the limb, from 0 at 60 N to 1 at 160 N
    - ``resistive_power``: power that the cuffs take from the arm, all joints together and the support of gravity apart,
      from 0 at 2 W to 1 at 20 W

    Args:
        num_envs: N.
        impairment: of the human, see ``Human``.
        severity: of the impairment, a number or [low, high].
        task: ``reach``, ``tracking`` or ``adl``.
        **options: ``seed``, ``level``, ``max_episode_steps``, ``device``, ``render_mode``: see ``BatchedEnv``.

    Raises:
        ValueError: an unknown task, or a level outside 0 to 4.
    """

    metadata: dict[str, Any] = BatchedEnv.metadata | {"render_fps": round(1.0 / DT)}
    view = "datamodules.envs.arm_view:ArmView"
    cost_names: ClassVar[tuple[str, ...]] = (
        "joint_margin",
        "torque",
        "torque_rate",
        "joint_speed",
        "interaction_force",
        "resistive_power",
    )

    def __init__(
        self,
        num_envs: int = 1,
        impairment: str = "weakness",
        severity: float | Sequence[float] = 0.6,
        task: str = "reach",
        **options: Any,
    ) -> None:
        if task not in TASKS:
            raise ArgumentError(f"task: '{task}' is not known; use one of {', '.join(TASKS)}.")
        self.action_names = (*JOINTS, "authority")
        per_joint = ("angle", "rate", "aim", "motor", "cuff", "human")
        self.observation_names = (
            *(f"{joint}_{name}" for name in per_joint for joint in JOINTS),
            *(f"{name}_{axis}" for name in ("target", "target_rate") for axis in "xyz"),
            *("distance", "authority", "time"),
        )
        super().__init__(num_envs, **options)
        self.human = Human(len(JOINTS), DT, impairment, severity, sides=[0] * len(JOINTS))
        self.body = ArmBody(self.device)
        self.task = TASKS[task](self.body)
        self.table = torch.tensor(LEVELS, device=self.device)
        gains = (HUMAN_STIFFNESS, HUMAN_DAMPING, HUMAN_LEARNING, HUMAN_INERTIA)
        table = torch.tensor(gains, device=self.device).unsqueeze(2)
        self.stiffness, self.damping, self.learning, self.inertia = table.unbind()

    # ------------------------------------------------------------------ the simulator
    def begin(self, key: Tensor, rows: Tensor) -> State:
        """A body, a task, and an arm at rest that the human holds with the device."""
        difficulty, payload, friction, lag, dropout, error = self.table[self.levels[rows]].T
        u = noise.uniform(key, torch.zeros_like(key), 4)
        scale = 0.94 + 0.12 * u[0]
        body_mass = (75.0 + 30.0 * (u[1] - 0.5)) * scale.square()
        inertia = self.body.inertia(scale, body_mass, payload * u[2])
        plan = self.task.begin(key, difficulty, 1)
        zero = torch.zeros_like(scale)
        angle = self.task.plan(plan, zero).angle
        pose = self.body.chain.pose(links := self.body.links(inertia), angle)
        load = self.body.chain.load(links, pose)
        support = SUPPORT * (1.0 + error * (2.0 * u[3] - 1.0))
        motor = (support * load).clamp(-self.body.torque_limit, self.body.torque_limit)
        still = torch.zeros_like(angle)
        target, _ = self.task.target(plan, zero)
        distance = (target * scale - pose.tip).square().sum(0).sqrt()
        state: State = self.human.begin(key)
        state["links"] = inertia
        state["traits"] = torch.stack((scale, friction, lag, dropout, support))
        state["plan"] = plan
        state["motion"] = torch.cat((angle, still, angle + motor / self.body.cuff_stiffness, still))
        state["joints"] = torch.stack((motor, motor, still, still, load))  # motor, cuff, command, correction, load
        state["measured"] = torch.stack((angle, still))
        state["hand"] = pose.tip
        state["score"] = torch.stack((distance, distance, zero, zero, zero))  # now, at first, sum, dwell, authority
        # What the human has under way at first: from holding still, at the end of the delay, to the plan's beginning.
        age = torch.linspace(0.0, 1.0, self.human.stages + 1, device=self.device)[1:].view(-1, 1, 1)
        state["human_chain"] = torch.lerp(self._intent(state, zero), self._intent(state, zero, 0.0), age)
        return state

    def _intent(self, state: State, time: Tensor, lead: float = LEAD) -> Tensor:
        """(7, n) in [-1, 1]: the torque that a perfect human would give, as a share of the muscles'."""
        angle, rate = state["motion"][:14].chunk(2)
        now, soon = self.task.plan(state["plan"], time), self.task.plan(state["plan"], time + lead)
        *_, correction, load = state["joints"].unbind()
        torque = torch.addcmul(correction, load, 1.0 - state["traits"][4])
        torque.addcmul_(self.stiffness, now.angle - angle).addcmul_(self.damping, now.rate - rate)
        torque.addcmul_(self.inertia, soon.acceleration).addcmul_(self.body.damping * state["traits"][1], soon.rate)
        return torque.div_(self.body.strength).clamp_(-1.0, 1.0)

    def advance(self, state: State, action: Tensor) -> tuple[State, Outcome]:
        """One step of 10 ms."""
        scale, friction, lag, dropout, support = state["traits"].unbind()
        motor, _, _, correction, load = state["joints"].unbind()
        angle = state["motion"][:7]
        limit = self.body.torque_limit
        time = state["elapsed"] * DT

        # human and robot
        authority = action[-1].add(1.0).mul_(0.5)
        intent = self._intent(state, time)
        command, human = self.human.act(state, intent, authority, (angle - self.body.middle) / self.body.half)
        error = self.task.plan(state["plan"], time).angle - angle
        correction = torch.addcmul(correction, self.learning * DT, error)
        correction = torch.maximum(torch.minimum(correction, 0.2 * self.body.strength), -0.2 * self.body.strength)
        asked = blend(AMPLIFY * command, action[:-1], authority).mul_(limit).addcmul_(support, load)
        asked = torch.maximum(torch.minimum(asked, limit), -limit)
        reach = (TORQUE_RATE * DT) * limit
        change = (asked - motor).mul_(-torch.expm1(-DT / lag))
        change = torch.maximum(torch.minimum(change, reach), -reach)
        motor = motor + change

        # mechanics
        inertia = state["links"]
        motion = self.body.advance(state["motion"], inertia, friction, command * self.body.strength, motor, DT)
        angle, rate, _, _ = motion.chunk(4)
        links = self.body.links(inertia)
        pose = self.body.chain.pose(links, angle)
        cuff = self.body.cuff(motion)

        # what comes of it
        now = time + DT
        target, _ = self.task.target(state["plan"], now)
        distance = (target * scale - pose.tip).square().sum(0).sqrt()
        before, first, total, dwell, _ = state["score"].unbind()
        dwell, total = torch.where(distance <= TOLERANCE, dwell + 1.0, 0.0), total + distance
        far = (distance * (1.0 / 0.3)).clamp(max=1.0)
        last = state["elapsed"] + 1 >= self.max_episode_steps
        if self.task.ends:
            success = terminated = dwell >= DWELL
            reward = 8.0 * (before - distance) / first.clamp(min=0.3) - 0.04 * far - 0.02 + 5.0 * success
        else:
            terminated = last
            success = last & (total < TRACKING_TOLERANCE * (state["elapsed"] + 1))
            reward = 0.1 * torch.exp((distance * (1.0 / 0.06)).square().neg()) - 0.04 * far + 5.0 * success
        seen = noise.uniform(state["key"], state["elapsed"] * 16 + 3, 1)[0] >= dropout
        new = human | {
            "links": inertia,
            "traits": state["traits"],
            "plan": state["plan"],
            "motion": motion,
            "joints": torch.stack((motor, cuff, command, correction, self.body.chain.load(links, pose))),
            "measured": torch.where(seen, motion[:14].view(2, 7, -1), state["measured"]),
            "hand": pose.tip,
            "score": torch.stack((distance, first, total, dwell, authority)),
        }
        measures = {
            "distance": distance.clone(),  # the state's own is written over where an episode begins
            "user_effort": human["human_effort"].clone(),
            "override": authority * (action[:-1] - command).abs().mean(0) * 0.5,
            "authority": authority.clone(),
            "trust": human["human_trust"].clone(),
            "fatigue": human["human_fatigue"].clone(),
        }
        return new, Outcome(reward, self._costs(angle, rate, motor, change, cuff, support * load), terminated, success,
                            measures)  # fmt: skip

    def _costs(self, angle: Tensor, rate: Tensor, motor: Tensor, change: Tensor, cuff: Tensor, held: Tensor) -> Tensor:
        body = self.body
        worst = torch.stack(
            (
                (angle - body.middle).abs().sub_(body.half - MARGIN).mul_(1.0 / MARGIN),
                motor.abs().mul_(2.0 / body.torque_limit).sub_(1.0),
                change.abs().mul_(2.0 / (TORQUE_RATE * DT * body.torque_limit)).sub_(1.0),
                rate.abs().mul_(0.5).sub_(1.0),
                cuff.abs().mul_(0.01 / body.cuff_lever).sub_(0.6),
            )
        ).amax(1)
        power = (cuff - held).mul_(rate).clamp_(max=0.0).sum(0, keepdim=True)
        return torch.cat((worst, power.add_(2.0).mul_(-1.0 / 18.0))).clamp_(0.0, 1.0)

    def observe(self, state: State) -> Tensor:
        """Angles by half of the range, rates by 3 rad/s, way to the aimed posture by 1 rad, torques by the limit.

        Distances by 0.3 m, speeds by 0.5 m/s, time by the longest episode.
        """
        angle, rate = state["measured"].unbind()
        motor, cuff, command, *_ = state["joints"].unbind()
        time = state["elapsed"] * DT
        target, target_rate = self.task.target(state["plan"], time)
        scale, limit = state["traits"][0], self.body.torque_limit
        rows = (
            *((angle - self.body.middle) / self.body.half, rate / 3.0, self.task.aim(state["plan"], time) - angle),
            *(motor / limit, cuff / limit, command),
            *((target * scale - state["hand"]) / 0.3, target_rate * scale * 2.0),
            torch.stack((state["score"][0] / 0.3, state["score"][4], state["elapsed"] / self.max_episode_steps)),
        )
        return torch.cat(rows).clamp_(-5.0, 5.0).T

    # ------------------------------------------------------------------ around it
    def scripted(self, state: State) -> Tensor:
        """A hand-written assistant: spring and damper along the plan, inertia ahead of it, authority 0.9.

        Returns:
            (A, n) in [-1, 1], from what an observation holds and the plan.
        """
        angle, rate = state["measured"].unbind()
        plan = self.task.plan(state["plan"], state["elapsed"] * DT)
        torque = self.inertia * (plan.acceleration + 150.0 * (plan.angle - angle) + 20.0 * (plan.rate - rate))
        torque = torque + self.body.damping * plan.rate
        share = (torque / (0.9 * self.body.torque_limit)).clamp(-1.0, 1.0)
        return torch.cat((share, torch.full_like(share[:1], 0.8)))
