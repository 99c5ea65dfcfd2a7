"""The gait that a leg shall follow: hip and knee angle as smooth periodic functions of phase, by walking speed.

Like Koopman et al. (2014), key events of the cycle regressed on speed and joined by splines. The events here are round
numbers chosen within the ranges that gait laboratories agree on (hip about -10 to +30 degrees, knee 0 to 65 degrees,
flatter at lower speed), not that paper's coefficients. The spline is cut to its first harmonics, so every derivative is
continuous. Phase 0 is heel strike, about 0.62 toe-off; flexion is positive.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

HARMONICS = 6
SPEED_RANGE = (0.3, 1.5)  # m/s, where the regressions hold

# phase, value at speed 0, change per m/s
HIP_EVENTS = ((0.0, 20.0, 6.0), (0.25, 6.0, 2.0), (0.52, -3.0, -5.0), (0.68, 8.0, 0.0), (0.86, 23.0, 5.5))  # degrees
KNEE_EVENTS = (  # degrees
    *((0.0, 4.0, 1.0), (0.14, 6.0, 8.0), (0.4, 4.0, 1.0), (0.5, 9.0, 2.0)),
    *((0.62, 34.0, 4.0), (0.73, 51.0, 7.0), (0.86, 30.0, 1.0), (0.95, 6.0, 0.0)),
)
# Moment of the ground reaction about the joint, Nm per kg of body mass; about none in swing. It flexes the hip and then
# extends it; it flexes the knee, extends it in midstance, flexes it before toe-off.
HIP_LOADS = ((0.0, 0.1, 0.1), (0.1, 0.3, 0.3), (0.3, 0.0, 0.05), (0.48, -0.2, -0.25), (0.64, 0.0, 0.0), (0.9, 0.0, 0.0))
KNEE_LOADS = (
    (0.0, 0.0, -0.1),
    (0.14, 0.15, 0.25),
    (0.4, -0.1, -0.1),
    (0.54, 0.1, 0.05),
    (0.68, 0.0, 0.0),
    (0.92, 0.0, 0.0),
)


def stride_frequency(speed: Tensor) -> Tensor:
    """Strides per second, 1.02 Hz at 1.45 m/s; a constant ratio of stride length to stride rate (Sekiya 1996).

    Args:
        speed: (n,) m/s.
    """
    return 1.02 * (speed / 1.45).sqrt()


class Moment(NamedTuple):
    """The gait at some phases; hip and knee are the two rows.

    Attributes:
        angle: (2, ...) rad.
        rate: (2, ...) rad/s.
        acceleration: (2, ...) rad/s^2.
        load: (2, ...) Nm per kg of body mass, what the ground does to the joint.
    """

    angle: Tensor
    rate: Tensor
    acceleration: Tensor
    load: Tensor


class Gait:
    """The reference of hip and knee."""

    def __init__(self, device: torch.device | None = None) -> None:
        order = torch.arange(HARMONICS + 1, dtype=torch.float64)
        angle = math.pi / 180.0 * torch.stack([_fourier(HIP_EVENTS), _fourier(KNEE_EVENTS)], 1)  # (2, J, 2, H + 1)
        load = torch.stack([_fourier(HIP_LOADS), _fourier(KNEE_LOADS)], 1)
        turn = 2.0 * math.pi * order
        cosine, sine = angle.unbind(2)
        rate = torch.stack((turn * sine, -turn * cosine), 2)
        rows = torch.cat((angle, rate, -turn.square() * angle, load), 1)  # (2: at 0, per m/s; 4 J; 2: cos, sin; H + 1)
        self.coefficients = rows.flatten(2).flatten(0, 1).to(device, torch.float32)  # (2 * 8, 2 (H + 1))
        self.turn = turn.to(device, torch.float32).unsqueeze(1)

    def __call__(self, phase: Tensor, speed: Tensor, frequency: Tensor) -> Moment:
        """The gait at a phase.

        Args:
            phase: (..., n), in cycles; any real number.
            speed: (n,) m/s.
            frequency: (n,) strides per second.
        """
        angle = self.turn * phase.reshape(1, -1)  # (H + 1, m)
        basis = torch.cat((angle.cos(), angle.sin()))
        still, by_speed = (self.coefficients @ basis).reshape(2, 8, *phase.shape)
        rows = torch.addcmul(still, by_speed, speed)
        return Moment(rows[:2], rows[2:4] * frequency, rows[4:6] * frequency.square(), rows[6:])


def _fourier(events: tuple[tuple[float, float, float], ...]) -> Tensor:
    """(2, 2, H + 1) float64: of the value at speed 0 and of its change, the cosine and sine coefficients."""
    table = np.array(events)
    knots = np.append(table[:, 0], table[0, 0] + 1.0)
    spline = CubicSpline(knots, np.vstack((table[:, 1:], table[:1, 1:])), bc_type="periodic")
    samples = np.asarray(spline(np.arange(512) / 512)).T  # (2, 512)
    spectrum = torch.fft.rfft(torch.from_numpy(samples))[:, : HARMONICS + 1] / 256
    spectrum[:, 0] /= 2
    return torch.stack((spectrum.real, -spectrum.imag), 1)
