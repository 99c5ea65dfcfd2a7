"""The robot at the leg: joints beside the human's, held to the limb by cuffs, driven by motors that lag."""

import math

import torch
from torch import Tensor

from .leg_dynamics import LIMITS, Body, acceleration, end_stops
from .shared_control import project

PEAK_TORQUE = 60.0  # Nm, of each motor
TORQUE_RATE = 600.0  # Nm/s
CUFF_STIFFNESS, CUFF_DAMPING = 800.0, 10.0  # Nm/rad, Nm s/rad
INERTIA = (0.25, 0.12)  # kg m^2, of the robot's hip and knee with the reflected rotors
LEVER = 0.30  # m, from a joint to its cuff: force = torque / lever
POWER_BUDGET = 10.0  # W, per leg, of the projection
COSTS = ("joint_margin", "torque", "torque_rate", "joint_speed", "interaction_force", "resistive_power")


class LegRobot:
    """The robot of L legs, with J = 2 L joints: first the hips, then the knees.

    Args:
        legs: L.
        dt: seconds of a control step.
        substeps: semi-implicit Euler steps in it.
        device: where the tensors live.
    """

    def __init__(self, legs: int, dt: float, substeps: int, device: torch.device | None = None) -> None:
        self.dt, self.substeps = dt, substeps
        per_joint = torch.tensor([*zip(*LIMITS, strict=True), INERTIA, (4.0, 8.0)], device=device)
        low, high, self.inertia, self.speed_limit = per_joint.repeat_interleave(legs, 1).unsqueeze(2)  # (J, 1) each
        self.middle, self.width = (low + high) / 2.0, (high - low) / 2.0
        self.offset = torch.tensor([1.0, -1.0, -1.0, -2.0, -0.6], device=device).unsqueeze(1)  # of the costs

    def motor_change(self, asked: Tensor, motor: Tensor, lag: Tensor) -> Tensor:
        """Change of the motors' torque in a control step: a first-order lag, no faster than ``TORQUE_RATE``.

        Args:
            asked: (J, n) Nm.
            motor: (J, n) Nm, now.
            lag: (n,) s.
        """
        reach = TORQUE_RATE * self.dt
        return ((asked - motor) * -torch.expm1(-self.dt / lag)).clamp_(-reach, reach)

    def simulate(
        self, leg: Body, joints: Tensor, change: Tensor, drive: Tensor, stiffness: float, damping: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One control step of leg and robot together.

        Semi-implicit Euler, where the forces that depend on the leg's rate see it half a substep ahead: without that
        the energy of a free leg grows by some per cent in 10 s, with it by less than one.

        Args:
            leg: of the human.
            joints: (6, J, n): the leg's angle, rate and last acceleration, the robot's angle and rate, motor torque.
            change: (J, n) Nm, of the motor's torque, spread evenly over the step.
            drive: (J, n) Nm, what acts on the leg's joints besides cuffs and end stops.
            stiffness: Nm/rad towards angle 0.
            damping: (n,) Nm s/rad, of the leg's joints.

        Returns:
            The joints (6, J, n) after it, and the last torque of the cuffs on the leg (J, n).
        """
        angle, rate, last, robot_angle, robot_rate, motor = joints.unbind(0)
        h = self.dt / self.substeps
        for i in range(self.substeps):
            pull = torch.add(motor, change, alpha=(i + 0.5) / self.substeps)
            cuff = torch.add((robot_angle - angle).mul_(CUFF_STIFFNESS), robot_rate - rate, alpha=CUFF_DAMPING)
            torque = end_stops(angle, self.middle, self.width).add_(drive).add_(cuff).sub_(angle, alpha=stiffness)
            ahead = torch.add(rate, last, alpha=h / 2.0)
            last = acceleration(leg, angle, ahead, torque.addcmul_(damping, ahead, value=-1.0))
            rate = torch.add(rate, last, alpha=h)
            angle = torch.add(angle, rate, alpha=h)
            robot_rate = torch.addcdiv(robot_rate, pull.sub_(cuff), self.inertia, value=h)
            robot_angle = torch.add(robot_angle, robot_rate, alpha=h)
        return torch.stack((angle, rate, last, robot_angle, robot_rate, motor + change)), cuff

    def within_power(self, asked: Tensor, rate: Tensor) -> Tensor:
        """The nearest torques (J, n) that take at most ``POWER_BUDGET`` from each leg and keep to the peak.

        Args:
            asked: (J, n) Nm.
            rate: (J, n) rad/s, of the leg: -torque . rate is what the motors take from it.
        """
        torque, speed = asked.reshape(2, -1), rate.reshape(2, -1)  # (2, L n): one column a leg
        box = torch.eye(2, device=asked.device).unsqueeze(2).expand(-1, -1, torque.shape[1])
        normals = torch.cat((-speed.unsqueeze(0), box, -box))
        offsets = torch.full_like(normals[:, 0], PEAK_TORQUE)
        offsets[0] = POWER_BUDGET
        return project(torque, normals, offsets).reshape_as(asked)

    def costs(self, angle: Tensor, rate: Tensor, motor: Tensor, change: Tensor, cuff: Tensor) -> Tensor:
        """``COSTS`` (6, n) in [0, 1], of the leg's angle and rate, motor, its change, and cuff, (J, n) each."""
        used = torch.stack(
            (
                angle - self.middle,
                motor * (2.0 / PEAK_TORQUE),
                change * (2.0 / (TORQUE_RATE * self.dt)),
                rate * (2.0 / self.speed_limit),
                cuff * (1.0 / (100.0 * LEVER)),
            )
        ).abs_()
        used[0].sub_(self.width).mul_(1.0 / math.radians(5.0))
        worst = used.amax(1) + self.offset
        power = (cuff * rate).clamp_(max=0.0).sum(0, keepdim=True)
        return torch.cat((worst, power * (-1.0 / 40.0) - 0.25)).clamp_(0.0, 1.0)
