"""The arm in its exoskeleton: joints, limits, masses, and the springs between them.

A right arm. Base frame at the shoulder: x forward, y to the left (towards the body), z up; with all angles zero the arm
hangs straight down. Lengths and masses are those of segments of a human arm (Winter 2009, table 4.1: mass as a fraction
of body mass, centre of mass and radius of gyration as fractions of the segment's length) plus the shells of a device.

The arm with the shells is one chain of links (``rigid_body.py``). Each drive is a rotor that pulls on its joint through
a spring and a damper, cuff, soft tissue and transmission together (the flexible joint of Spong 1987):

    M(q) q'' + c(q, q') + g(q) = human + cuff - damping q' + end stops
    J theta''                  = motor - cuff - damping theta',     cuff = k (theta - q) + d (theta' - q')
"""

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .rigid_body import Links, SerialChain, cross

JOINTS = (
    *("shoulder_flexion", "shoulder_abduction", "shoulder_rotation", "elbow_flexion"),
    *("forearm_pronation", "wrist_flexion", "wrist_deviation"),
)
AXES = ("-y", "-x", "z", "-y", "z", "x", "-y")
LOW = (-2.8, -1.5, -2.5, 0.0, -1.0, -1.5, -1.0)  # rad
HIGH = (2.8, 1.5, 2.5, 2.5, 1.0, 1.5, 1.0)  # rad
TORQUE_LIMIT = (25.0, 20.0, 15.0, 12.0, 8.0, 5.0, 3.0)  # Nm, of the drives
STRENGTH = (18.0, 16.0, 8.0, 14.0, 2.5, 3.0, 3.0)  # Nm, what a healthy arm sustains: its full command
UPPER_ARM, FOREARM, HAND = 0.30, 0.27, 0.08  # m: shoulder to elbow to wrist to the grip

ROTOR = (0.12, 0.12, 0.06, 0.06, 0.015, 0.008, 0.008)  # kg m^2, inertia of a drive as its joint feels it
CUFF_STIFFNESS = (400.0, 400.0, 200.0, 200.0, 40.0, 25.0, 25.0)  # Nm/rad, of cuff, tissue and transmission together
CUFF_DAMPING = (3.0, 3.0, 0.8, 1.5, 0.2, 0.15, 0.15)  # Nm s/rad
CUFF_LEVER = (0.22, 0.22, 0.20, 0.20, 0.06, 0.07, 0.07)  # m, at which a cuff turns a torque into a force
DAMPING = (2.0, 2.0, 0.5, 1.0, 0.12, 0.08, 0.08)  # Nm s/rad: muscles and joints of the arm
DRIVE_DAMPING = (0.3, 0.3, 0.15, 0.15, 0.03, 0.02, 0.02)  # Nm s/rad
SUBSTEPS = 2  # of a control step
STOP_TORQUE = (15.0, 12.0, 8.0, 8.0, 2.5, 1.5, 1.0)  # Nm, at the end of the range of motion
STOP_WIDTH, STOP_REACH = 0.06, 2.5  # rad; exponent where the line begins

# Each link as three bodies on its axis: the human's (per kg of body mass), the device's, the payload (per kg).
# Columns: mass (kg), centre (m), radii of gyration across and along the link's axis (m). Half of the forearm turns with
# pronation. The first two links and the sixth are rings of the device around a joint.
_HUMAN = (
    *((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    (0.028, -0.436 * UPPER_ARM, 0.322 * UPPER_ARM, 0.032),
    *((0.008, -0.430 * FOREARM, 0.303 * FOREARM, 0.025), (0.008, -0.430 * FOREARM, 0.303 * FOREARM, 0.025)),
    *((0.0, 0.0, 0.0, 0.0), (0.006, -0.06, 0.04, 0.025)),
)
_DEVICE = (
    *((1.5, 0.0, 0.15, 0.15), (1.2, 0.0, 0.13, 0.13), (1.0, -0.5 * UPPER_ARM, 0.09, 0.08)),
    *((0.5, -0.3 * FOREARM, 0.06, 0.06), (0.4, -0.7 * FOREARM, 0.06, 0.07), (0.15, 0.0, 0.05, 0.05)),
    (0.15, -HAND, 0.04, 0.04),
)
_PAYLOAD = (*((0.0, 0.0, 0.0, 0.0),) * 6, (1.0, -HAND, 0.03, 0.03))
_OFFSETS = (0.0, 0.0, -UPPER_ARM, 0.0, -FOREARM, 0.0, -HAND)


class ArmBody:
    """The constants of the arm as tensors, and what follows from them.

    The numbers in capitals above are tensors (7, 1) here, under the same names in lower case.

    Args:
        device: where the tensors live.
        dtype: of the tensors.
    """

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        def column(values: tuple[float, ...]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device).unsqueeze(1)

        self.low, self.high, self.torque_limit, self.strength = map(column, (LOW, HIGH, TORQUE_LIMIT, STRENGTH))
        self.middle, self.half = (self.high + self.low) / 2, (self.high - self.low) / 2
        self.rotor, self.drive_damping, self.damping = map(column, (ROTOR, DRIVE_DAMPING, DAMPING))
        self.cuff_stiffness, self.cuff_damping = column(CUFF_STIFFNESS), column(CUFF_DAMPING)
        self.cuff_lever, self.stop = column(CUFF_LEVER), column(STOP_TORQUE)
        self.chain = SerialChain(AXES, "z")
        self._armature = torch.zeros(len(AXES), 1, dtype=dtype, device=device)
        self._offset = column(_OFFSETS)
        bodies = torch.tensor((_HUMAN, _DEVICE, _PAYLOAD), dtype=dtype, device=device)
        mass, centre, across, along = bodies.unsqueeze(3).unbind(2)  # (3, 7, 1) each
        self._moments = torch.stack((mass, mass * centre, mass * (across**2 + centre**2), mass * along**2))

    def inertia(self, scale: Tensor, body_mass: Tensor, payload: Tensor) -> Tensor:
        """The numbers that ``links`` takes, (5, 7, n): mass, offset, centre, isotropic and spread inertia.

        Args:
            scale: (n,), factor on all lengths.
            body_mass: (n,), kg, of the human.
            payload: (n,), kg, at the grip.
        """
        human, device, load = self._moments.unbind(1)  # (4, 7, 1) each
        mass, first, across, along = (human * body_mass + device + load * payload).unbind()
        across = (across - first.square() / mass) * scale.square()
        along = along * scale.square()
        return torch.stack((mass, self._offset * scale, first / mass * scale, across, along - across))

    def links(self, inertia: Tensor) -> Links:
        """The links of the chain from (5, 7, n)."""
        mass, offset, centre, isotropic, spread = inertia.unbind()
        return Links(mass, offset.unsqueeze(0), centre.unsqueeze(0), isotropic, spread.unsqueeze(0), self._armature)

    def grip(self, angle: Tensor) -> Tensor:
        """Where the grip is, (3, n) m, of an arm of scale 1 at these angles (7, n)."""
        return self.chain.pose(self._bones(), angle).tip

    def _bones(self) -> Links:
        """Links without mass: kinematics only."""
        offset, zero = self._offset.unsqueeze(0), self._armature
        return Links(zero, offset, zero.unsqueeze(0), zero, zero.unsqueeze(0), zero)

    def stop_torque(self, angle: Tensor) -> Tensor:
        """What the ends of the range of motion do to the joints, (7, n) Nm: exponential (Audu and Davy 1985).

        ``STOP_TORQUE`` at the end of the range, e times as much each ``STOP_WIDTH`` beyond; after ``STOP_REACH`` of
        these it goes on along its tangent.
        """
        away = angle - self.middle
        beyond = away.abs().sub_(self.half).div_(STOP_WIDTH)
        line = (beyond - (STOP_REACH - 1.0)).clamp_(min=1.0)
        return beyond.clamp_(max=STOP_REACH).exp_().mul_(line).mul_(-self.stop).mul_(away.sign_())

    def cuff(self, motion: Tensor) -> Tensor:
        """What the drives do to the arm through the cuffs, (7, n) Nm.

        Args:
            motion: (28, n): angles and rates of the arm, angles and rates of the rotors, rad and rad/s.
        """
        angle, rate, rotor, rotor_rate = motion.chunk(4)
        return (rotor - angle).mul_(self.cuff_stiffness).addcmul_(self.cuff_damping, rotor_rate - rate)

    def advance(
        self, motion: Tensor, inertia: Tensor, friction: Tensor | float, human: Tensor, motor: Tensor, dt: float
    ) -> Tensor:
        """The motion (28, n) a time dt later: ``SUBSTEPS`` steps of the classical Runge-Kutta method of order 4.

        Steps of 5 ms are stable up to 500 rad/s; inside the range of motion nothing is faster than 300. Semi-implicit
        Euler, at the same work, would have steps of 1.25 ms: those do not keep the energy of a free arm.

        Args:
            motion: as for ``cuff``.
            inertia: (5, 7, n), see ``inertia``.
            friction: (n,), factor on all damping.
            human: (7, n) Nm, on the joints of the arm.
            motor: (7, n) Nm, on the rotors.
            dt: s.
        """
        links, chain = self.links(inertia), self.chain
        damping, drive_damping = self.damping * friction, self.drive_damping * friction

        def rates(motion: Tensor) -> Tensor:
            angle, rate, _, rotor_rate = motion.chunk(4)
            cuff = self.cuff(motion)
            torque = (human + cuff).addcmul_(damping, rate, value=-1.0).add_(self.stop_torque(angle))
            acceleration = chain.forward(links, chain.pose(links, angle), rate, torque)
            rotor_acceleration = (motor - cuff).addcmul_(drive_damping, rotor_rate, value=-1.0).div_(self.rotor)
            return torch.cat((rate, acceleration, rotor_rate, rotor_acceleration))

        h = dt / SUBSTEPS
        for _ in range(SUBSTEPS):
            first = rates(motion)
            second = rates(torch.add(motion, first, alpha=h / 2.0))
            third = rates(torch.add(motion, second, alpha=h / 2.0))
            fourth = rates(torch.add(motion, third, alpha=h))
            slope = first.add_(fourth).add_(second.add_(third), alpha=2.0)
            motion = torch.add(motion, slope, alpha=h / 6.0)
        return motion

    def reach(self, target: Tensor, rest: Tensor, steps: int = 100) -> Tensor:
        """Inverse kinematics: angles (7, n) that put the grip of an arm of scale 1 at a target, close to a posture.

        Gauss and Newton's steps towards the solution with the least distance to ``rest``, lightly damped.

        Args:
            target: (3, n), m.
            rest: (7, 1) or (7, n), rad.
            steps: how many.

        Raises:
            ValueError: a target that is not reached within 1 mm inside the range of motion.
        """
        q = rest.expand(-1, target.shape[1])
        eye = 1e-6 * torch.eye(3, dtype=target.dtype, device=target.device)
        for _ in range(steps):
            pose = self.chain.pose(self._bones(), q)
            tip = pose.tip.unsqueeze(1).expand(-1, len(q), -1)
            jacobian = (pose.motion[3:] + cross(pose.motion[:3].contiguous(), tip)).permute(2, 0, 1)  # (n, 3, 7)
            back = torch.einsum("nij,jn->ni", jacobian, q - rest)
            error = (target - pose.tip).T + back
            step = torch.linalg.solve(jacobian @ jacobian.mT + eye, error)
            q = q + 0.5 * (rest + torch.einsum("nij,ni->jn", jacobian, step) - q)
        miss = (self.grip(q) - target).square().sum(0).sqrt()
        outside = ((q - self.middle).abs() > self.half).any(0)
        if bool(((miss > 1e-3) | outside).any()):
            row = int(((miss > 1e-3) | outside).nonzero()[0])
            raise ArgumentError(
                f"target {target[:, row].tolist()} m is out of the arm's reach; move it towards the shoulder."
            )
        return q
