"""Noise schedules: the variance that each step adds, and the process that comes of it."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .process import PREDICTION_TYPES, TERMINAL_SIGNAL, Diffusion, PredictionType, check_choice

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")


@dataclass(frozen=True)
class Process:
    """Noising process that a network learns to undo.

    Attributes:
        num_train_timesteps: noise levels K.
        beta_schedule: of the noise, see ``make_betas``.
        prediction_type: what the network predicts.
    """

    num_train_timesteps: int = 20
    beta_schedule: BetaSchedule = "squaredcos_cap_v2"
    prediction_type: PredictionType = "sample"


MAX_BETA = 0.999
"""No step destroys everything: alpha_bar stays positive (Nichol and Dhariwal, arXiv:2102.09672, section 3.2)."""


def make_betas(
    beta_schedule: BetaSchedule,
    num_train_timesteps: int,
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    rescale: bool = True,
) -> Tensor:
    """The variance that each step adds.

    Args:
        beta_schedule: ``linear`` in beta (Ho et al., arXiv:2006.11239), ``scaled_linear`` in sqrt(beta) (Rombach et
            al., arXiv:2112.10752), ``squaredcos_cap_v2`` (Nichol and Dhariwal, arXiv:2102.09672, eq. 17) or
            ``sigmoid`` (Xu et al., arXiv:2203.02923).
        num_train_timesteps: levels K >= 1.
        beta_start: first beta of a schedule of 1000 steps, in (0, 1); the cosine has none.
        beta_end: last beta of a schedule of 1000 steps, in (0, 1).
        rescale: multiply the betas by 1000 / K, so that few steps end at noise as a thousand do; False gives the betas
            of diffusers, with which 20 linear steps keep 82 % of the signal.

    Returns:
        Betas (K,) float64 in (0, 0.999].

    Raises:
        ValueError: an unknown schedule, or a number out of its range.
    """
    check_choice("beta_schedule", beta_schedule, BETA_SCHEDULES)
    steps = num_train_timesteps
    if steps < 1:
        raise ArgumentError(f"num_train_timesteps={steps}: at least 1 level of noise is needed.")
    if not 0 < beta_start <= beta_end < 1:
        raise ArgumentError(
            f"beta_start={beta_start}, beta_end={beta_end}: both lie in (0, 1), the start below the end."
        )
    if beta_schedule == "squaredcos_cap_v2":
        angle = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2
        kept = torch.cos(angle) ** 2
        return (1 - kept[1:] / kept[:-1]).clamp(max=MAX_BETA)
    if beta_schedule == "linear":
        betas = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
    elif beta_schedule == "scaled_linear":
        betas = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64) ** 2
    else:
        rise = torch.sigmoid(torch.linspace(-6, 6, steps, dtype=torch.float64))
        betas = beta_start + (beta_end - beta_start) * rise
    return (betas * (1000 / steps)).clamp(max=MAX_BETA) if rescale else betas


def make_diffusion(
    num_train_timesteps: int = 1000,
    beta_schedule: BetaSchedule = "squaredcos_cap_v2",
    prediction_type: PredictionType = "sample",
    beta_start: float = 1e-4,
    beta_end: float = 0.02,
    rescale_betas: bool = True,
) -> Diffusion:
    """Build a process from what YAML can write; the arguments are those of ``make_betas`` and ``Diffusion``.

    Returns:
        The process, its table on the CPU.

    Raises:
        ValueError: an unknown name, or a number out of its range.

    Warns:
        UserWarning: if alpha_bar_K > 1e-3, for sampling starts from noise that training never reached.
    """
    check_choice("prediction_type", prediction_type, PREDICTION_TYPES)
    betas = make_betas(beta_schedule, num_train_timesteps, beta_start, beta_end, rescale_betas)
    alpha_bar = torch.cat([torch.ones(1, dtype=torch.float64), (1 - betas).cumprod(dim=0)])
    if (left := alpha_bar[-1].item()) > TERMINAL_SIGNAL:
        warnings.warn(
            f"beta_schedule={beta_schedule!r} with num_train_timesteps={num_train_timesteps} keeps "
            f"alpha_bar={left:.3g} at its last level (more than {TERMINAL_SIGNAL}): training never sees the noise that "
            "sampling starts from. Set rescale_betas=true, raise beta_end, or use squaredcos_cap_v2.",
            stacklevel=2,
        )
    return Diffusion(alpha_bar, prediction_type)


def scaled(diffusion: Diffusion, signal_scale: float) -> Diffusion:
    """The same process with signal over noise, the root of its SNR, multiplied at each level.

    Raises:
        ValueError: a scale that is not positive.
    """
    if not signal_scale > 0:
        raise ArgumentError(f"signal_scale={signal_scale}: above 0, and below 1 for more noise.")
    kept = diffusion.alpha_bar
    return replace(diffusion, alpha_bar=kept / (kept + (1 - kept) / signal_scale**2))
