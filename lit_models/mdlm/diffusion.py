"""Masked diffusion: the forward process, its loss weights and the negative evidence lower bound.

A token stays with probability alpha(t) and is masked otherwise; alpha falls from 1 at t = 0 to 0 at t = 1.
NELBO = E_t E_q [ w(t) * sum over masked slots of -log p(x0 | z_t) ], with w = -alpha' / (1 - alpha)
(Sahoo et al., arXiv:2406.07524, eq. 10; Shi et al., arXiv:2406.04329, eq. 7). In nats a plan.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

ScheduleName = Literal["linear", "polynomial", "mdlm_cosine", "cosine_squared", "maskgit_cosine", "geometric"]


@dataclass(frozen=True)
class Objective:
    """Training objective of masked diffusion.

    Attributes:
        noise_schedule: alpha(t), by its unambiguous name.
        corruption: masked slots are the MASK embedding (``mask``), or Gaussian noise on top of it (``noise``).
        loss_weight: ``nelbo`` weights by w(t); ``uniform`` is the mean over masked slots (MaskGIT's).
        weight_clip: largest w(t).
        draws_per_plan: corrupted copies of each plan a step; they share one encoding of the observation.
        validation_levels: numbers of masked slots at which the NELBO is evaluated; None takes all L, exactly.
    """

    noise_schedule: ScheduleName = "linear"
    corruption: Literal["mask", "noise"] = "mask"
    loss_weight: Literal["nelbo", "uniform"] = "nelbo"
    weight_clip: float = 1000.0
    draws_per_plan: int = 1
    validation_levels: int | None = None


HALF_PI = math.pi / 2
POWER = 2.0
"""Exponent N of the polynomial schedule."""
SIGMA = (1e-3, 20.0)
"""Total noise of the geometric schedule at t = 0 and t = 1."""


@dataclass(frozen=True)
class NoiseSchedule:
    """A masking schedule.

    Attributes:
        alpha: probability that a token is kept at time t in [0, 1].
        weight: loss weight w(t) = -alpha'(t) / (1 - alpha(t)).
        time: the t at which a given fraction in [0, 1] is masked.
        full_range: whether alpha runs from 1 to 0; where it does not, the NELBO misses the mass outside.
    """

    alpha: Callable[[Tensor], Tensor]
    weight: Callable[[Tensor], Tensor]
    time: Callable[[Tensor], Tensor]
    full_range: bool = True

    def __reduce__(self) -> tuple[Any, ...]:
        """By its name, for pickles: its functions have none."""
        return _schedule_called, (next(name for name, known in SCHEDULES.items() if known is self),)


def _schedule_called(name: str) -> NoiseSchedule:
    return SCHEDULES[name]


def _geometric_sigma(t: Tensor) -> Tensor:
    return SIGMA[0] ** (1 - t) * SIGMA[1] ** t


SCHEDULES: dict[str, NoiseSchedule] = {
    # alpha = 1 - t ("log-linear" in sigma)
    "linear": NoiseSchedule(lambda t: 1 - t, lambda t: 1 / t, lambda u: u),
    # alpha = 1 - t^N
    "polynomial": NoiseSchedule(lambda t: 1 - t**POWER, lambda t: POWER / t, lambda u: u ** (1 / POWER)),
    # alpha = cos(pi t / 2), the cosine of MDLM
    "mdlm_cosine": NoiseSchedule(
        lambda t: torch.cos(HALF_PI * t),
        lambda t: HALF_PI / torch.tan(HALF_PI * t / 2),
        lambda u: torch.acos(1 - u) / HALF_PI,
    ),
    # alpha = cos^2(pi t / 2)
    "cosine_squared": NoiseSchedule(
        lambda t: torch.cos(HALF_PI * t) ** 2,
        lambda t: 2 * HALF_PI / torch.tan(HALF_PI * t),
        lambda u: torch.asin(u.sqrt()) / HALF_PI,
    ),
    # alpha = 1 - sin(pi t / 2), the cosine of MaskGIT and MD4
    "maskgit_cosine": NoiseSchedule(
        lambda t: 1 - torch.sin(HALF_PI * t),
        lambda t: HALF_PI / torch.tan(HALF_PI * t),
        lambda u: torch.asin(u) / HALF_PI,
    ),
    # alpha = exp(-sigma), sigma = s0^(1 - t) s1^t
    "geometric": NoiseSchedule(
        lambda t: torch.exp(-_geometric_sigma(t)),
        lambda t: _geometric_sigma(t) * math.log(SIGMA[1] / SIGMA[0]) / torch.expm1(_geometric_sigma(t)),
        lambda u: (torch.log(-torch.log1p(-u) / SIGMA[0]) / math.log(SIGMA[1] / SIGMA[0])).clamp(0, 1),
        full_range=False,
    ),
}


def low_discrepancy_times(count: int, generator: torch.Generator) -> Tensor:
    """Systematic times: ``t_i = (U + i / count) mod 1`` in (0, 1], one U for all (Kingma et al., arXiv:2107.00630).

    Returns:
        Times (count,) float32; the mean of any smooth function over them has far less variance than over free draws.
    """
    start = torch.rand((), generator=generator, device=generator.device)
    return 1 - (start + torch.arange(count, device=generator.device) / count) % 1


def corrupt(x: Tensor, masked: Tensor, mask_id: int) -> Tensor:
    """Replace the slots where ``masked`` (B, L) bool by ``mask_id``."""
    return torch.where(masked, mask_id, x)


def exactly_masked(counts: Tensor, noise: Tensor) -> Tensor:
    """Mask the ``counts[i]`` slots of row i with the smallest ``noise``.

    Args:
        counts: masked slots a row (B,), 1 to L.
        noise: uniform numbers (B, L).

    Returns:
        (B, L) bool; each subset of that size is equally likely.
    """
    return noise.argsort(dim=-1).argsort(dim=-1) < counts[:, None]


def cross_entropy(logits: Tensor, x: Tensor, masked: Tensor) -> Tensor:
    """-log p(x) at masked slots, 0 at the others: logits (B, L, V), x and masked (B, L), result (B, L) in nats."""
    nll = F.cross_entropy(logits.float().flatten(0, 1), x.flatten(), reduction="none").view_as(x)
    return nll * masked


def level_counts(length: int, levels: int, offset: Tensor) -> Tensor:
    """Which numbers of masked slots stand for all of 1..length: every number when ``levels`` reaches ``length``.

    Args:
        length: slots L.
        levels: how many numbers K <= L.
        offset: a uniform number a row (B,), which makes the choice unbiased where K < L.

    Returns:
        Counts (B, K) int64 in 1..L; each count is chosen with probability K / L.
    """
    grid = (torch.arange(levels, device=offset.device) + offset[:, None]) / levels  # (B, K), stratified in [0, 1)
    return (grid * length).floor().long().clamp(max=length - 1) + 1


def nelbo_from_levels(nll: Tensor, counts: Tensor, length: int) -> Tensor:
    """NELBO from losses at fixed numbers of masked slots.

    The integral over t of a masked-diffusion bound is the sum over n = 1..L of the loss with n random slots masked,
    divided by n; it depends on no schedule (Ou et al., arXiv:2406.03736, eq. 3.5).

    Args:
        nll: summed -log p over masked slots (B, K).
        counts: numbers of masked slots (B, K), from ``level_counts``.
        length: slots L.

    Returns:
        NELBO (B,) in nats a plan.
    """
    return (nll / counts).mean(dim=-1) * length
