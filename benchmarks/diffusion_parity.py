"""The diffusion core beside diffusers: largest differences, and what a step of sampling costs beyond the network.

    python benchmarks/diffusion_parity.py

Differences are over all tokens, relative to the largest entry or 1: a step from a level where alpha_bar is 1e-9
multiplies what the network says, and its rounding, by 1e4. Both sides read the same float64 table of alpha_bar; the
column "own table" leaves diffusers the float32 table that it builds from our betas. Needs diffusers 0.42.1.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import diffusers
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lit_models.diffusion.process import PREDICTION_TYPES, Diffusion, level_path, uniform_path
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver, Sampler, gaussian
from lit_models.diffusion.schedules import BETA_SCHEDULES, make_betas, make_diffusion

STEPS = (10, 20, 50, 1000)
SAMPLERS: dict[str, tuple[Sampler, str, dict[str, Any]]] = {
    "DDPM": (DDPM(), "DDPMScheduler", {}),
    "DDPM fixed_large": (DDPM(variance_type="fixed_large"), "DDPMScheduler", {"variance_type": "fixed_large"}),
    "DDIM eta 0": (DDIM(), "DDIMScheduler", {}),
    "DDIM eta 1": (DDIM(eta=1.0), "DDIMScheduler", {}),
    "DPM++ 2M": (DPMSolver(), "DPMSolverMultistepScheduler", {}),
}


def scheduler_of(name: str, diffusion: Diffusion, steps: int, own_table: bool = False, **config: Any) -> Any:
    """A scheduler of diffusers on our betas, ready for ``steps`` steps."""
    config = {"trained_betas": diffusion.betas.tolist(), "prediction_type": diffusion.prediction_type, **config}
    if name != "DPMSolverMultistepScheduler":
        config["clip_sample"] = False
    scheduler = getattr(diffusers, name)(diffusion.num_train_timesteps, timestep_spacing="trailing", **config)
    if not own_table:
        scheduler.alphas_cumprod = diffusion.alpha_bar[1:]
    scheduler.set_timesteps(steps)
    if not own_table and hasattr(scheduler, "sigmas"):  # which set_timesteps casts to float32
        kept = diffusion.alpha_bar[[*(scheduler.timesteps + 1).tolist(), 0]]
        scheduler.sigmas = ((1 - kept) / kept).sqrt()
    return scheduler


def their_steps(scheduler: Any, outputs: list[Tensor], x: Tensor, first: int, eta: float) -> Tensor:
    """Steps ``first``, ``first`` + 1, ... of diffusers, one for each output."""
    generator = torch.Generator().manual_seed(0)
    if not hasattr(scheduler, "dpm_solver_first_order_update"):
        extra = {"eta": eta} if isinstance(scheduler, diffusers.DDIMScheduler) else {}
        for output, t in zip(outputs, scheduler.timesteps[first:], strict=False):
            x = scheduler.step(output, int(t), x, generator=generator, **extra).prev_sample
        return x
    scheduler._step_index = first
    if x.dtype == torch.float32:
        for output, t in zip(outputs, scheduler.timesteps[first:], strict=False):
            x = scheduler.step(output, t, x).prev_sample
        return x
    for output in outputs:  # what step does, without its cast of x to float32
        scheduler.model_outputs = [scheduler.model_outputs[1], scheduler.convert_model_output(output, sample=x)]
        if scheduler.model_outputs[0] is None or scheduler.step_index == len(scheduler.timesteps) - 1:
            x = scheduler.dpm_solver_first_order_update(scheduler.model_outputs[1], sample=x)
        else:
            x = scheduler.multistep_dpm_solver_second_order_update(scheduler.model_outputs, sample=x)
        scheduler._step_index += 1
    return x


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest entry or 1."""
    return float((ours.double() - theirs.double()).abs().max() / theirs.abs().max().clamp(min=1))


def compare(
    quantity: str, schedule: str, kind: str, train: int, steps: int, dtype: torch.dtype, own_table: bool = False
) -> float:
    """The largest difference of one quantity; of samplers over two steps each from several places of the path."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    diffusion = make_diffusion(train, schedule, kind)
    if quantity == "betas":
        scale = 1000 / train
        theirs = diffusers.DDPMScheduler(train, 1e-4 * scale, 0.02 * scale, schedule).betas.clamp(max=0.999)
        return difference(make_betas(schedule, train).float(), theirs)
    if quantity in ("add_noise", "velocity"):
        scheduler = scheduler_of("DDPMScheduler", diffusion, steps, own_table)
        x0, noise, t = draw(train, 3), draw(train, 3), torch.arange(train)
        if quantity == "add_noise":
            return difference(diffusion.add_noise(x0, noise, t + 1), scheduler.add_noise(x0, noise, t))
        v = Diffusion(diffusion.alpha_bar, "v_prediction").target(x0, noise, t + 1)
        return difference(v, scheduler.get_velocity(x0, noise, t))
    sampler, name, config = SAMPLERS[quantity]
    path, found = uniform_path(train, steps), []
    last = steps - 2 if train == steps else steps - 3  # diffusers adds noise to a step of several levels to clean data
    for first in sorted({0, 1, steps // 3, steps // 2, last - 1, last}):
        x, outputs = draw(1, 4, 3), [draw(1, 4, 3), draw(1, 4, 3)]
        ahead = iter(outputs)
        ours = sampler.sample(
            lambda x, levels, ahead=ahead: (next(ahead),),
            (diffusion,),
            (x,),
            (path[first : first + 3],),
            gaussian(torch.Generator().manual_seed(0)),
        )[0]
        scheduler = scheduler_of(name, diffusion, steps, own_table, **config)
        found.append(difference(ours, their_steps(scheduler, outputs, x, first, getattr(sampler, "eta", 0.0))))
    return max(found)


def parity() -> Table:
    """All quantities over all schedules, prediction types and numbers of steps."""
    table = Table("quantity", "float32", "float64", "float32, own table")
    for quantity in ("betas", "add_noise", "velocity", *SAMPLERS):
        cells = []
        for dtype, own in ((torch.float32, False), (torch.float64, False), (torch.float32, True)):
            if quantity == "betas" and (own or dtype == torch.float64):
                cells.append("-")  # diffusers builds them in float32
                continue
            cases = product(BETA_SCHEDULES, PREDICTION_TYPES, [(k, k) for k in STEPS] + [(1000, 20)])
            worst = max(compare(quantity, schedule, kind, *k, dtype, own) for schedule, kind, k in cases)
            cells.append(f"{worst:.1e}")
        table.add_row(quantity, *cells)
    return table


def microseconds(run: Callable[[], object], steps: int, repeats: int) -> float:
    """Median time of a step."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append((time.perf_counter() - start) / steps * 1e6)
    return statistics.median(found)


def overhead(repeats: int) -> Table:
    """Microseconds a step, states (1, 21, 64) and actions (1, 21, 29), with a network that takes no time.

    Ours with the tables of each plan; diffusers without ``set_timesteps``, one scheduler a stream.
    """
    x = torch.randn(1, 21, 64), torch.randn(1, 21, 29)
    outputs = torch.randn(1, 21, 64), torch.randn(1, 21, 29)
    noise, history = gaussian(torch.Generator().manual_seed(0)), torch.arange(21) > 4
    known = level_path(20 * history, torch.zeros(21, dtype=torch.long), 20)
    table = Table("sampler", "prediction", "ours, 5 known tokens", "ours, one level for all", "diffusers")
    for (name, (sampler, theirs, config)), kind in product(SAMPLERS.items(), PREDICTION_TYPES):
        diffusion = make_diffusion(20, prediction_type=kind)
        schedulers = [scheduler_of(theirs, diffusion, 20, own_table=True, **config) for _ in x]
        extra = {"eta": sampler.eta} if isinstance(sampler, DDIM) else {}

        def their_plan(schedulers: list[Any] = schedulers, extra: dict[str, float] = extra) -> None:
            values = x
            for scheduler in schedulers:
                scheduler._step_index = None
            for t in schedulers[0].timesteps:
                steps = zip(schedulers, outputs, values, strict=True)
                values = tuple(s.step(output, t, value, **extra).prev_sample for s, output, value in steps)

        ours = [
            microseconds(
                lambda path=path, sampler=sampler, diffusion=diffusion: sampler.sample(
                    lambda x, levels: outputs, (diffusion, diffusion), x, (path, path), noise
                ),
                20,
                repeats,
            )
            for path in (known, uniform_path(20, 20))
        ]
        table.add_row(name, kind, *(f"{value:.0f}" for value in (*ours, microseconds(their_plan, 20, repeats))))
    return table


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=50, help="plans behind each median")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    console = Console()
    console.print(f"diffusers {diffusers.__version__}, torch {torch.__version__}: largest difference")
    console.print(parity())
    console.print("microseconds a step beyond the network, two streams, one thread")
    console.print(overhead(arguments.repeats))


if __name__ == "__main__":
    main()
