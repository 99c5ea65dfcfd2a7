"""Samplers on Gaussians whose law is known: errors of mean and covariance, beside the exact denoiser, in 20 steps.

    python benchmarks/diffusion_gaussian.py

Columns have unit variance and correlations rho^|i - j|. In the directions of its eigenvectors the exact denoiser is a
number, so that a sampler's law comes out of a recursion, without a draw. Errors are the largest of all entries.
"""

import argparse
import warnings
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lit_models.diffusion.process import Diffusion, make_path
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver, LinearSampler
from lit_models.diffusion.schedules import make_diffusion

RHOS = (0.2, 0.5, 0.9)
PROCESSES = (
    *((20, schedule, "trailing") for schedule in ("squaredcos_cap_v2", "scaled_linear", "linear", "sigmoid")),
    *((levels, "squaredcos_cap_v2", spacing) for levels in (100, 1000) for spacing in ("trailing", "log_snr")),
    *((1000, "linear", spacing) for spacing in ("trailing", "log_snr")),
)
SAMPLERS: dict[str, LinearSampler] = {
    "DDPM fixed_small": DDPM(),
    "DDPM analytic": DDPM(variance_type="analytic"),
    "DDIM": DDIM(),
    "DPM-Solver++ 2M": DPMSolver(),
}


def law(sampler: LinearSampler, diffusion: Diffusion, path: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, where the truth's is 1, and variance (n,) in each direction, where the truth's is ``spread`` (n,)."""
    kept = diffusion.alpha_bar[:, None]
    left = (spread * (1 - kept) / (kept * spread + 1 - kept).clamp(min=1e-300)).mean(dim=1, keepdim=True)
    factors = sampler.factors(replace(diffusion, x0_variance=left), path[:, None])
    mean, guess = torch.zeros(2, len(spread), dtype=torch.float64)  # of x, of the last x_0-hat
    pull, last_pull = torch.ones_like(mean), torch.zeros_like(mean)  # what both take from the start
    noise = torch.zeros_like(mean)
    for i, level in enumerate(path[:-1]):
        signal = kept[level].sqrt()
        gain = signal * spread / (signal**2 * spread + 1 - signal**2)
        of_x, of_x0, of_noise, of_last = (0.0 if part is None else part[i].squeeze() for part in factors)
        last, guess = guess, 1 + gain * (mean - signal)
        mean = of_x * mean + of_x0 * guess + of_last * last
        noise = (of_x + of_x0 * gain) ** 2 * noise + of_noise**2  # no sampler has both noise and memory
        pull, last_pull = (of_x + of_x0 * gain) * pull + of_last * last_pull, gain * pull
    return mean, pull**2 + noise


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of schedules that keep some signal: that is measured here
    number = torch.arange(args.columns)
    table = Table(title=f"error of covariance / of the mean, %, the worst of {args.columns} columns, rho={RHOS}")
    for heading in ("levels", "schedule", "spacing", *SAMPLERS):
        table.add_column(heading, justify="left" if heading in ("schedule", "spacing") else "right")
    for levels, schedule, spacing in PROCESSES:
        diffusion = make_diffusion(levels, schedule)
        path, cells = make_path(diffusion, args.steps, spacing), []
        for sampler in SAMPLERS.values():
            errors, means = [], []
            for rho in RHOS:
                truth = (rho ** (number[:, None] - number).abs()).double()
                spread, directions = torch.linalg.eigh(truth)
                mean, variance = law(sampler, diffusion, path, spread)
                errors.append((directions @ variance.diag() @ directions.T - truth).abs().max())
                means.append((mean - 1).abs().max())
            cells.append(f"{' '.join(f'{100 * e:.1f}' for e in errors)} / {100 * max(means):.2f}")
        table.add_row(str(levels), schedule, spacing, *cells)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
