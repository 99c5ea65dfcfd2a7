"""Any scheduler of diffusers as a sampler, where all tokens share one noise level. Nothing here imports diffusers."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from litmotif.errors import ArgumentError, MissingExtraError

from .process import Diffusion
from .samplers import Denoiser, Guide, Noise, Sampler, Streams, check_streams


@dataclass(frozen=True)
class DiffusersSampler(Sampler):
    """A scheduler by its class path, built from our betas.

    Its own clipping stays off unless ``init_args`` turns it on, its ``timestep_spacing`` is ``trailing`` unless given.

    Attributes:
        class_path: of a scheduler that takes ``trained_betas``.
        init_args: what its constructor takes beside the betas.
        step_args: what its ``step`` takes beside the generator, such as ``eta``.
    """

    class_path: str = "diffusers.DPMSolverMultistepScheduler"
    init_args: Mapping[str, Any] = field(default_factory=dict)
    step_args: Mapping[str, Any] = field(default_factory=dict)

    def scheduler(self, diffusion: Diffusion) -> Any:
        """A fresh scheduler for one stream; schedulers keep state.

        Raises:
            ImportError: diffusers is not installed.
            ValueError: no such class, or one that cannot take our betas.
        """
        module, _, name = self.class_path.rpartition(".")
        try:
            kind = getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"class_path={self.class_path!r}: {error}. Install it with `pip install diffusers`."
            ) from error
        except (AttributeError, ValueError) as error:
            raise ArgumentError(f"class_path={self.class_path!r}: no such class; a full path is needed.") from error
        accepted = inspect.signature(kind.__init__).parameters
        if "trained_betas" not in accepted:
            raise ArgumentError(
                f"class_path={self.class_path!r} takes no trained_betas, so it cannot follow the schedule of "
                "the model; choose a scheduler that does, such as diffusers.DPMSolverMultistepScheduler."
            )
        ours = {
            "num_train_timesteps": diffusion.num_train_timesteps,
            "trained_betas": diffusion.betas.tolist(),
            "prediction_type": diffusion.prediction_type,
            "clip_sample": False,
            "timestep_spacing": "trailing",
        }
        return kind(**{key: value for key, value in ours.items() if key in accepted} | dict(self.init_args))

    @torch.no_grad()
    def sample(
        self,
        denoise: Denoiser,
        diffusions: tuple[Diffusion, ...],
        x: Streams,
        paths: Streams,
        noise: Noise,
        guide: Guide | None = None,
    ) -> Streams:
        """See ``Sampler.sample``; of the paths only the number of steps counts, since the scheduler has its own.

        Schedulers draw from a ``torch.Generator``, so ``noise`` gives the seed of one, see ``seeded``.

        Raises:
            ValueError: levels that differ between tokens, or that do not run from K to 0.
        """
        steps = check_streams(diffusions, x, paths)
        for diffusion, path in zip(diffusions, paths, strict=True):
            _refuse_token_levels(self.class_path, diffusion, path)
        schedulers = [self.scheduler(diffusion) for diffusion in diffusions]
        for scheduler, value in zip(schedulers, x, strict=True):
            scheduler.set_timesteps(steps, device=value.device)
        for scheduler, diffusion in zip(schedulers, diffusions, strict=True):
            _refuse_other_levels(self.class_path, scheduler, diffusion)
        generator = seeded(noise)
        step_args = [self._step_args(scheduler, generator) for scheduler in schedulers]
        x = tuple(value * float(s.init_noise_sigma) for value, s in zip(x, schedulers, strict=True))
        for i in range(len(schedulers[0].timesteps)):  # more than ``steps`` in schedulers of second order
            times = [scheduler.timesteps[i] for scheduler in schedulers]
            levels = tuple(
                torch.full(value.shape[:-1], int(time) + 1, device=value.device)
                for time, value in zip(times, x, strict=True)
            )
            seen = tuple(s.scale_model_input(v, t) for s, v, t in zip(schedulers, x, times, strict=True))
            outputs = self._outputs(denoise(seen, levels), seen, levels, diffusions, schedulers, guide)
            x = tuple(
                scheduler.step(output, time, value, **args).prev_sample
                for scheduler, output, time, value, args in zip(schedulers, outputs, times, x, step_args, strict=True)
            )
        return x

    def _outputs(
        self,
        predictions: Streams,
        x: Streams,
        levels: Streams,
        diffusions: tuple[Diffusion, ...],
        schedulers: list[Any],
        guide: Guide | None,
    ) -> Streams:
        """Predictions as the schedulers want them; by way of x_0-hat where something changes that."""
        kinds = [diffusion.prediction_type for diffusion in diffusions]
        if guide is not None or self.clip_sample:
            x0 = tuple(d.to_x0(*parts) for d, *parts in zip(diffusions, predictions, x, levels, strict=True))
            predictions = self.change(x0, x, levels, guide)
            kinds = ["sample" for _ in kinds]
        wanted = [
            getattr(scheduler.config, "prediction_type", kind)
            for scheduler, kind in zip(schedulers, kinds, strict=True)
        ]
        return tuple(
            diffusion.convert(*parts)
            for diffusion, *parts in zip(diffusions, predictions, x, levels, kinds, wanted, strict=True)
        )

    def _step_args(self, scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
        accepted = inspect.signature(scheduler.step).parameters
        return dict(self.step_args) | ({"generator": generator} if "generator" in accepted else {})


def seeded(noise: Noise) -> torch.Generator:
    """A generator on the CPU whose seed is one draw of ``noise``."""
    drawn = noise((1,), torch.float64).flatten()[:1]  # noise by rows gives one number a row
    return torch.Generator().manual_seed(abs(int(drawn.cpu().view(torch.int64))))


def _refuse_other_levels(class_path: str, scheduler: Any, diffusion: Diffusion) -> None:
    """Timestep t of diffusers is level t + 1: refuse steps between two levels, by their number or by their noise."""
    times = scheduler.timesteps.cpu().double()
    kept = diffusion.alpha_bar.cpu()[times.long() + 1]
    table = ((1 - kept) / kept).sqrt()
    sigmas = scheduler.sigmas[: len(times)].cpu().double() if hasattr(scheduler, "sigmas") else table
    if (times != times.long()).any() or not torch.allclose(sigmas, table, rtol=1e-2):
        raise ArgumentError(
            f"class_path={class_path!r} asks for noise between two levels of the model: set init_args.timestep_spacing "
            "to 'trailing' or 'leading', and no Karras, exponential, beta, Lu or flow sigmas."
        )


def _refuse_token_levels(class_path: str, diffusion: Diffusion, path: Tensor) -> None:
    flat, top = path.reshape(len(path), -1), diffusion.num_train_timesteps
    if (flat != flat[:, :1]).any() or flat[0, 0] != top or flat[-1, 0] != 0:
        raise ArgumentError(
            f"class_path={class_path!r}: a scheduler of diffusers has one noise level for all tokens, from {top} to 0. "
            "Known tokens, rolling plans and warm starts have levels of their own: take DDPM, DDIM or DPMSolver."
        )
