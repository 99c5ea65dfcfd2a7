"""From what has happened to what shall happen: a sampler completes the window."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .diffusers_sampler import DiffusersSampler
from .diffusion import Diffusion
from .guidance import Guidance
from .normalizer import Normalizer
from .samplers import DDIM, DDPM, Denoiser, DPMSolver, Noise, Sampler, Streams, uniform_path

SamplerName = Literal["ddpm", "ddim", "dpm_solver", "diffusers"]
SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "dpm_solver": DPMSolver,
    "diffusers": DiffusersSampler,
}


class Plan(NamedTuple):
    """Windows in physical units, in the character frame of the current step.

    Attributes:
        states: (B, W, S); the first N + 1 are what was given.
        actions: (B, W, A); the first N are what was given, index N is for now.
    """

    states: Tensor
    actions: Tensor


def make_sampler(name: SamplerName, options: Mapping[str, Any] | None) -> Sampler:
    """A sampler by name.

    Args:
        name: ``ddpm``, ``ddim``, ``dpm_solver``, or ``diffusers`` with a ``class_path``.
        options: of its constructor.

    Raises:
        ValueError: an unknown name or option.
    """
    if name not in SAMPLERS:
        raise ValueError(f"sampler={name!r}: choose one of {', '.join(SAMPLERS)}.")
    try:
        return SAMPLERS[name](**dict(options or {}))
    except TypeError as error:
        raise ValueError(f"sampler_options of sampler={name!r}: {error}.") from error


def row_noise(sources: Sequence[torch.Generator]) -> Noise:
    """Noise whose rows have a generator each, so that nothing depends on how rows are dealt to batches or processes."""

    def draw(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        rows = [torch.randn(tuple(shape[1:]), generator=s, device=s.device, dtype=dtype) for s in sources]
        return torch.stack(rows)

    return draw


@dataclass(frozen=True)
class Planner:
    """A denoiser with what it takes to plan.

    Attributes:
        denoise: predictions from noisy streams and their levels.
        normalizer: to the units of the denoiser and back.
        diffusions: of states and of actions.
        known: tokens of states and actions that are given (2, W) bool.
        sampler: which.
        steps: model evaluations a plan; None takes one a level.
    """

    denoise: Denoiser
    normalizer: Normalizer
    diffusions: tuple[Diffusion, Diffusion]
    known: Tensor
    sampler: Sampler
    steps: int | None = None

    def paths(self) -> Streams:
        """The levels of a plan (steps + 1, W) for states and actions: known tokens stay at 0."""
        top = self.diffusions[0].num_train_timesteps
        path = uniform_path(top, self.steps or top)[:, None]  # (steps + 1, 1)
        states, actions = (path * ~known for known in self.known)
        return states, actions

    @torch.no_grad()
    def plan(self, states: Tensor, actions: Tensor, noise: Noise, guidance: Guidance | None = None) -> Plan:
        """Complete windows.

        Args:
            states: physical (B, N + 1, S), or more steps, of which the first N + 1 are read.
            actions: physical (B, N, A), or more.
            noise: source of all randomness.
            guidance: what steers the plan.

        Raises:
            ValueError: fewer steps than that.
        """
        x = self._begin(states, actions, noise)
        denoise, guide = self.denoise, None
        if guidance is not None:
            denoise, guide = guidance.attach(denoise, self.diffusions, self.normalizer.physical)
        done = self.sampler.sample(denoise, self.diffusions, x, self.paths(), noise, guide)
        parts: list[Tensor] = []
        for given, planned in zip((states, actions), self.normalizer.physical(done), strict=True):
            steps = int(self.known[len(parts)].sum())
            parts.append(torch.cat([given[:, :steps], planned[:, steps:]], dim=1))  # what is known comes back exactly
        return Plan(*parts)

    def _begin(self, states: Tensor, actions: Tensor, noise: Noise) -> Streams:
        """Streams (B, W, ...) with what is known in front and noise behind it."""
        steps, acted = self.known.sum(dim=1).tolist()
        if states.shape[1] < steps or actions.shape[1] < acted:
            raise ValueError(
                f"a past of {states.shape[1]} states and {actions.shape[1]} actions; this model reads {steps} states, "
                f"the last one current, and {acted} actions."
            )
        padded = torch.cat([actions[:, :acted], actions.new_zeros(len(actions), 1, actions.shape[-1])], dim=1)
        streams = []
        for part, count in zip(self.normalizer.normalise(states[:, :steps], padded), (steps, acted), strict=True):
            whole = noise((len(part), self.known.shape[1], part.shape[-1]), part.dtype).to(part.device)
            whole[:, :count] = part[:, :count]
            streams.append(whole)
        return tuple(streams)
