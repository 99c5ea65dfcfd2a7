"""A differential drive: a powered wheelchair of the indoor class, from commanded speeds to motion.

The equations of a rigid body on two driven wheels, its centre of mass a distance d ahead of their axle (Siegwart and
Nourbakhsh 2004, chapter 3; the coupling terms keep the kinetic energy):

    m (dv/dt - d w^2)      = F_left + F_right - resistance - m g_x
    (I + m d^2) dw/dt      = track / 2 (F_right - F_left) - m d v w - scrub - m d g_y

with (g_x, g_y) the floor's slope in the chair's frame. Each wheel's motor torque follows its demand with a first-order
lag and saturates; the tyre passes on no more than the friction circle leaves.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.geometry.rotations import wrapped

GRAVITY = 9.81
SPEED_MAX, REVERSE_MAX, YAW_MAX = 1.67, 0.6, 1.5  # m/s (6 km/h, indoor class), m/s, rad/s
WHEEL_SPEED_MAX = 1.9  # m/s, at the rim
TRACK, WHEEL_RADIUS = 0.56, 0.17  # m
RIM_YAW_MAX = 0.5 * TRACK * YAW_MAX  # m/s, at the rim in the fastest turn on the spot
MASS = 140.0  # kg, chair and occupant
GYRATION, AHEAD, HEIGHT = 0.38, 0.06, 0.5  # m: radius of gyration in yaw, centre of mass ahead of axle and above floor
DRIVEN_SHARE = 0.65  # of the weight rests on the driven wheels
TORQUE_MAX = 45.0  # Nm per wheel
ROLLING, SCRUB = 0.015, 0.01  # rolling resistance coefficient; m, moment of the castors per weight
GAIN, YAW_GAIN = 4.4 * MASS, 0.7 * MASS  # N s/m and Nm s, of the speed controller, whatever the chair carries
RISE, FALL, YAW_RISE = 1.0, 1.8, 4.0  # m/s^2 and rad/s^2, how fast the controller's reference moves
SUBSTEPS = 4
_STILL = 0.05  # m/s, below which dry friction is smoothed


class Chair(NamedTuple):
    """What differs from chair to chair and from floor to floor; one number an episode.

    Attributes:
        mass: (n,) kg.
        friction: (n,) of tyre on floor.
        lag: (n,) s, time constant of the motors.
        slope: (2, n) m/s^2: gravity times the sine of the floor's slope, uphill along x and y.
    """

    mass: Tensor
    friction: Tensor
    lag: Tensor
    slope: Tensor


class Motion(NamedTuple):
    """Where the chair is and how it moves.

    Attributes:
        pose: (3, n): x and y of the middle of the axle in m, heading in rad.
        speed: (2, n): v in m/s, w in rad/s.
        torque: (2, n) Nm, of the left and the right motor.
        reference: (2, n): v and w that the controller asks for.
    """

    pose: Tensor
    speed: Tensor
    torque: Tensor
    reference: Tensor


def to_speeds(command: Tensor) -> Tensor:
    """A command (2, n) in [-1, 1] as v in m/s and w in rad/s; full reverse is slower than full ahead."""
    forward = command[0]
    return torch.stack((torch.where(forward > 0.0, SPEED_MAX, REVERSE_MAX) * forward, YAW_MAX * command[1]))


def advance(chair: Chair, motion: Motion, target: Tensor, dt: float) -> tuple[Motion, Tensor]:
    """One control step, in ``SUBSTEPS`` of semi-implicit Euler.

    Args:
        chair: its parameters.
        motion: as it is now.
        target: (2, n), v and w wanted.
        dt: s.

    Returns:
        Motion afterwards, and (n,) the share of the demanded force that the tyres did not pass on.
    """
    h = dt / SUBSTEPS
    (x, y, heading), (v, w), torque, reference = motion.pose.unbind(0), motion.speed, motion.torque, motion.reference
    weight = chair.mass * GRAVITY
    target = _within_wheels(target)
    limit = _traction(chair, v, w, weight)
    rise, fall = _ramp(reference, h)
    respond = 1.0 - torch.exp(-h / chair.lag)
    inertia = chair.mass * (GYRATION**2 + AHEAD**2)
    lost = torch.zeros_like(v)
    for _ in range(SUBSTEPS):
        reference = reference + torch.maximum(torch.minimum(target - reference, rise), fall)
        resistance, scrub = ROLLING * weight * torch.tanh(v / _STILL), SCRUB * weight * torch.tanh(w / _STILL)
        both = (GAIN * (reference[0] - v) + resistance) * (0.5 * WHEEL_RADIUS)  # the resistances are fed forward
        apart = (YAW_GAIN * (reference[1] - w) + scrub) * (WHEEL_RADIUS / TRACK)
        demand = torch.stack((both - apart, both + apart)).clamp_(-TORQUE_MAX, TORQUE_MAX)
        torque = torch.addcmul(torque, respond, demand - torque)
        force = torque / WHEEL_RADIUS
        held = torch.maximum(torch.minimum(force, limit), -limit)
        lost = lost + (force - held).abs().sum(0)
        middle = heading + 0.5 * h * w
        cosine, sine = middle.cos(), middle.sin()
        uphill = cosine * chair.slope[0] + sine * chair.slope[1]
        sidehill = cosine * chair.slope[1] - sine * chair.slope[0]
        push = held[0] + held[1] - resistance
        turn = 0.5 * TRACK * (held[1] - held[0]) - scrub - chair.mass * AHEAD * (v * w + sidehill)
        v, w = v + h * (push / chair.mass - uphill + AHEAD * w.square()), w + h * turn / inertia
        heading = heading + h * w
        x, y = x + h * v * cosine, y + h * v * sine
    heading = wrapped(heading)
    lost = lost / (SUBSTEPS * torch.clamp(limit.sum(0), min=1.0))
    return Motion(
        torch.stack((x, y, heading)), torch.stack((v, w)), torch.stack((torque[0], torque[1])), reference
    ), lost


def _within_wheels(target: Tensor) -> Tensor:
    """Slow the whole command down where a wheel would have to turn faster than it can: the curve stays the same."""
    fastest = target[0].abs() + (0.5 * TRACK) * target[1].abs()
    return target * (WHEEL_SPEED_MAX / fastest.clamp(min=WHEEL_SPEED_MAX))


def _traction(chair: Chair, v: Tensor, w: Tensor, weight: Tensor) -> Tensor:
    """(2, n) N: what each tyre can pass on lengthwise, after the curve's share of the friction circle."""
    sideways = v * w / (chair.friction * GRAVITY)
    shift = chair.mass * v * w * (HEIGHT / TRACK)  # a left curve loads the right wheel
    half = 0.5 * DRIVEN_SHARE * weight
    load = torch.stack((half - shift, half + shift)).clamp_(min=0.0)
    return chair.friction * load * (1.0 - sideways.square()).clamp_(min=0.0).sqrt_()


def _ramp(reference: Tensor, h: float) -> tuple[Tensor, Tensor]:
    """(2, n) each: the largest rise and fall of the reference within one substep; away from zero it moves slower."""
    forward, turning = reference[0], torch.full_like(reference[1], YAW_RISE * h)
    rise = torch.where(forward < 0.0, FALL * h, RISE * h)
    fall = torch.where(forward > 0.0, -FALL * h, -RISE * h)
    return torch.stack((rise, turning)), torch.stack((fall, -turning))
