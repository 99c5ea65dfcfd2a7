"""Paths of noise levels: where a sampler stops on its way from noise to clean."""

from typing import Literal

import torch
from torch import Tensor

from .process import TERMINAL_SIGNAL, Diffusion

TimestepSpacing = Literal["trailing", "linspace", "leading", "log_snr"]
TRACE = 4e-3
"""Share of noise in the variance at which ``log_snr`` takes its last step."""


def level_path(start: Tensor, stop: Tensor, steps: int) -> Tensor:
    """Levels on equal steps from ``start`` down to ``stop``, each token at its own speed.

    Args:
        start: int64 (...), such as () for all tokens or (T,) for a ramp along the horizon.
        stop: int64 (...), nowhere above ``start``.
        steps: model evaluations N >= 1.

    Returns:
        (N + 1, ...) int64, never rising; ``timestep_spacing="trailing"`` of diffusers for start K and stop 0.

    Raises:
        ValueError: no step, or a level that would rise.
    """
    if steps < 1:
        raise ValueError(f"num_inference_steps={steps}: at least 1 step is needed.")
    if (stop > start).any():
        raise ValueError("a path of levels rises: sampling only lowers noise.")
    share = torch.arange(steps + 1, dtype=torch.float64, device=start.device) / steps
    share = share.reshape(-1, *[1] * max(start.dim(), stop.dim()))
    return (start - (start - stop) * share).round().long()


def uniform_path(
    num_train_timesteps: int, num_inference_steps: int, timestep_spacing: TimestepSpacing = "trailing"
) -> Tensor:
    """One path for all tokens, from noise to clean.

    Args:
        num_train_timesteps: level K of pure noise.
        num_inference_steps: model evaluations N, 1 to K.
        timestep_spacing: as in diffusers; ``leading`` starts below K (Lin et al., arXiv:2305.08891, table 2).

    Returns:
        (N + 1,) int64, falling to 0.

    Raises:
        ValueError: an unknown spacing, or N outside 1..K.
    """
    top, steps = num_train_timesteps, num_inference_steps
    if not 1 <= steps <= top:
        raise ValueError(f"num_inference_steps={steps}: 1 to num_train_timesteps={top}.")
    if timestep_spacing == "trailing":
        return level_path(torch.tensor(top), torch.tensor(0), steps)
    if timestep_spacing == "linspace":
        levels = torch.linspace(0, top - 1, steps, dtype=torch.float64).round().long().flip(0) + 1
    elif timestep_spacing == "leading":
        levels = torch.arange(steps).flip(0) * (top // steps) + 1
    else:
        raise ValueError(f"timestep_spacing={timestep_spacing!r}: 'trailing', 'linspace', 'leading' or 'log_snr'.")
    return torch.cat([levels, torch.zeros(1, dtype=torch.long)])


def make_path(diffusion: Diffusion, num_inference_steps: int, timestep_spacing: TimestepSpacing = "trailing") -> Tensor:
    """One path for all tokens, from noise to clean, by any spacing.

    ``log_snr`` takes equal steps of log SNR, in which the solvers' errors are measured (Lu et al., arXiv:2206.00927,
    section 4), from where signal comes up to where noise is a trace; pure noise and clean data lie one step beyond. Of
    all spacings it alone takes a Gaussian with correlated columns within 1 % in 20 steps of DPM-Solver++, if there are
    more levels to choose from.

    Args:
        diffusion: the process.
        num_inference_steps: model evaluations N, 1 to K.
        timestep_spacing: see ``uniform_path``, or ``log_snr``.

    Returns:
        (N + 1,) int64, falling to 0.

    Raises:
        ValueError: an unknown spacing, or N outside 1..K.
    """
    top, steps = diffusion.num_train_timesteps, num_inference_steps
    if timestep_spacing != "log_snr":
        return uniform_path(top, steps, timestep_spacing)
    path = uniform_path(top, steps)
    log_snr = diffusion.snr(torch.arange(1, top + 1, device=diffusion.alpha_bar.device)).log().cpu()  # falling
    ends = torch.tensor([TERMINAL_SIGNAL, 1 - TRACE], dtype=torch.float64).logit()
    wanted = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, steps, dtype=torch.float64))
    nearest = (log_snr - wanted[:, None]).abs().argmin(dim=1) + 1
    for i in range(1, steps):  # as near as a path allows that falls by a level at least in each step
        path[i] = nearest[i].clamp(steps - i, int(path[i - 1]) - 1)
    return path
