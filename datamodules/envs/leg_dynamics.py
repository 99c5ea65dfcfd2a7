"""The body of a leg that hangs from the hip: two links in the sagittal plane, and the robot's joints beside it.

Joint angles: hip q1 > 0 is flexion (thigh forward), knee q2 > 0 is flexion (shank backward). In the links' angles from
the vertical, a = q1 and b = q1 - q2, the Lagrangian of thigh (1) and shank with foot (2) is

    T = A a'^2 / 2 + B b'^2 / 2 + k cos(a - b) a' b',    V = -G1 cos a - G2 cos b
    A = I1 + m1 c1^2 + m2 l1^2,  B = I2 + m2 c2^2,  k = m2 l1 c2,  G1 = (m1 c1 + m2 l1) g,  G2 = m2 c2 g

and a torque (t1, t2) on hip and knee does the work t1 da + t2 (da - db): Q_a = t1 + t2, Q_b = -t2. Hence

    A a'' + k cos(a - b) b'' + k sin(a - b) b'^2 + G1 sin a = t1 + t2
    B b'' + k cos(a - b) a'' - k sin(a - b) a'^2 + G2 sin b = -t2

Lengths of a leg are stacked joint by joint: rows 0..L-1 of (2 L, n) are the hips, L..2L-1 the knees.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GRAVITY = 9.81
STOP_TORQUE, STOP_STIFFNESS = 2.0, 20.0  # Nm at the end of the range, 1/rad: passive torque grows exponentially
LIMITS = ((-0.35, 0.87), (-0.09, 1.40))  # rad: the range of hip and knee in the device, -20..50 and -5..80 degrees


class Body(NamedTuple):
    """The numbers of the equations above, (n,) each: inertias in kg m^2, moments of weight in Nm.

    Attributes:
        thigh: A.
        shank: B.
        coupling: k.
        weight_thigh: G1.
        weight_shank: G2.
    """

    thigh: Tensor
    shank: Tensor
    coupling: Tensor
    weight_thigh: Tensor
    weight_shank: Tensor


def body(mass: Tensor, height: Tensor) -> Body:
    """A leg by the fractions of Winter (2009), table 4.1: masses of body mass, lengths of height.

    Args:
        mass: (n,) kg, of the whole body.
        height: (n,) m, of the whole body.
    """
    l1, l2 = 0.245 * height, 0.246 * height
    m1, m2 = 0.100 * mass, 0.061 * mass  # thigh; shank and foot, 0.0465 + 0.0145
    c1, c2 = 0.433 * l1, 0.606 * l2  # centres of mass from the upper joint
    i1, i2 = m1 * (0.323 * l1).square(), m2 * (0.416 * l2).square()
    return Body(
        i1 + m1 * c1.square() + m2 * l1.square(),
        i2 + m2 * c2.square(),
        m2 * l1 * c2,
        (m1 * c1 + m2 * l1) * GRAVITY,
        m2 * c2 * GRAVITY,
    )


def energy(leg: Body, angle: Tensor, rate: Tensor) -> Tensor:
    """T + V in J, (L, n), of joint angles and rates (2 L, n)."""
    (hip, knee), (hip_rate, knee_rate) = angle.chunk(2), rate.chunk(2)
    shank_rate = hip_rate - knee_rate
    kinetic = 0.5 * (leg.thigh * hip_rate.square() + leg.shank * shank_rate.square())
    kinetic = kinetic + leg.coupling * knee.cos() * hip_rate * shank_rate
    return kinetic - leg.weight_thigh * hip.cos() - leg.weight_shank * (hip - knee).cos()


def mass_matrix(leg: Body, knee: Tensor) -> Tensor:
    """M(q) of the joint angles, (2, 2, n), from the knee's angle (n,)."""
    mixed = leg.coupling * knee.cos()
    diagonal = leg.thigh + leg.shank + 2.0 * mixed
    cross = -(leg.shank + mixed)
    return torch.stack((torch.stack((diagonal, cross)), torch.stack((cross, leg.shank.expand_as(cross)))))


def inverse_dynamics(leg: Body, angle: Tensor, rate: Tensor, acceleration: Tensor) -> Tensor:
    """The joint torques of a movement in Nm; arguments and result (2 L, n)."""
    hip, knee = angle.chunk(2)
    (a1, b1), (a2, b2) = _links(rate), _links(acceleration)
    cosine, sine = leg.coupling * knee.cos(), leg.coupling * knee.sin()
    on_thigh = leg.thigh * a2 + cosine * b2 + sine * b1.square() + leg.weight_thigh * hip.sin()
    on_shank = leg.shank * b2 + cosine * a2 - sine * a1.square() + leg.weight_shank * (hip - knee).sin()
    return torch.cat((on_thigh + on_shank, -on_shank))


def acceleration(leg: Body, angle: Tensor, rate: Tensor, torque: Tensor) -> Tensor:
    """Joint accelerations in rad/s^2 under joint torques in Nm; arguments and result (2 L, n)."""
    legs = len(angle) // 2
    knee, knee_torque = angle[legs:], torque[legs:]
    a, a1 = angle[:legs], rate[:legs]
    b, b1 = a - knee, a1 - rate[legs:]
    cosine, sine = knee.cos().mul_(leg.coupling), knee.sin().mul_(leg.coupling)
    on_thigh = (torque[:legs] + knee_torque).sub_(b1.square_().mul_(sine)).sub_(a.sin().mul_(leg.weight_thigh))
    on_shank = sine.mul_(a1.square()).sub_(knee_torque).sub_(b.sin_().mul_(leg.weight_shank))
    determinant = torch.addcmul(leg.thigh * leg.shank, cosine, cosine, value=-1.0)
    a2 = torch.addcmul(leg.shank * on_thigh, cosine, on_shank, value=-1.0)
    b2 = torch.addcmul(leg.thigh * on_shank, cosine, on_thigh, value=-1.0)
    return torch.cat((a2, a2 - b2)).view(2, legs, -1).div_(determinant).view_as(angle)


def end_stops(angle: Tensor, middle: Tensor, width: Tensor) -> Tensor:
    """Passive torque at the ends of the range, exponential (as Riener and Edrich 1999 fit for legs), in Nm.

    T exp(s (|q - middle| - width)) towards the middle; it grows no more beyond 0.3 rad outside.

    Args:
        angle: (2 L, n) rad.
        middle: (2 L, 1) rad, of the range.
        width: (2 L, 1) rad, half of it.
    """
    inward = middle - angle
    beyond = inward.abs().sub_(width).mul_(STOP_STIFFNESS).clamp_(max=0.3 * STOP_STIFFNESS)
    return beyond.exp_().mul_(STOP_TORQUE).copysign_(inward)


def _links(joints: Tensor) -> tuple[Tensor, Tensor]:
    hip, knee = joints.chunk(2)
    return hip, hip - knee
