"""From what has happened to what shall happen: a sampler completes the window."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .diffusers_sampler import DiffusersSampler
from .diffusion import Diffusion
from .frames import reframed
from .guidance import Guidance
from .layout import StateLayout
from .normalizer import Normalizer
from .samplers import DDIM, DDPM, Denoiser, DPMSolver, Guide, Noise, Sampler, Streams, level_path

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


class Rolled(NamedTuple):
    """The plan of the last tick, as what the next one begins with (rolling inference, Diffuse-CLoC, section 4.3).

    Attributes:
        plan: moved on by the steps that were executed, in the frame of now; what it does not reach is arbitrary.
        steps: how many steps at its end it does not reach: they begin as pure noise.
        levels: noise levels to which its states and its actions are raised before they are denoised again.
    """

    plan: Plan
    steps: int
    levels: tuple[int, int]


def roll(plan: Plan, states: Tensor, layout: StateLayout, steps: int, levels: tuple[int, int]) -> Rolled:
    """Move a plan on.

    Args:
        plan: (B, W, ...), in the frame of its own current step.
        states: what has happened since (B, N + 1, S), in the frame of now.
        layout: of the columns.
        steps: executed since, 1 to N.
        levels: see ``Rolled``.
    """
    then = states[:, -1 - steps]  # where the plan was made, seen from now
    place, angle = then[:, layout.slice("root_pos")], then[:, layout.slice("root_rot")][:, 0]
    moved = reframed(plan.states, layout, place, angle)
    return Rolled(Plan(moved.roll(-steps, dims=1), plan.actions.roll(-steps, dims=1)), steps, levels)


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


def _clamped(guide: Guide | None, bounds: Sequence[tuple[Tensor, Tensor]]) -> Guide:
    """A guide that ends within bounds (D,) of each stream."""

    def clamp(x0: Streams, x: Streams, levels: Streams) -> Streams:
        moved = x0 if guide is None else guide(x0, x, levels)
        return tuple(part.clamp(*pair) for part, pair in zip(moved, bounds, strict=True))

    return clamp


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
        within_limits: clamp joint angles of x_0-hat, in states and in actions that are joint positions, to their limits
            at each step.
    """

    denoise: Denoiser
    normalizer: Normalizer
    diffusions: tuple[Diffusion, Diffusion]
    known: Tensor
    sampler: Sampler
    steps: int | None = None
    within_limits: bool = True

    def paths(self, rolled: Rolled | None = None) -> Streams:
        """The levels of a plan (steps + 1, W) for states and actions: known tokens stay at 0."""
        top, length = self.diffusions[0].num_train_timesteps, self.known.shape[1]
        rest, steps = ((top, top), self.steps or top) if rolled is None else (rolled.levels, self._short(rolled))
        new = torch.arange(length) >= length - (0 if rolled is None else rolled.steps)
        states, actions = (
            level_path(torch.where(known, 0, torch.where(new, top, level)), torch.tensor(0), steps)
            for known, level in zip(self.known, rest, strict=True)
        )
        return states, actions

    def _short(self, rolled: Rolled) -> int:
        """Model evaluations from the level where the old plan rests."""
        top = self.diffusions[0].num_train_timesteps
        return max(1, round((self.steps or top) * max(rolled.levels) / top))

    @torch.no_grad()
    def plan(
        self,
        states: Tensor,
        actions: Tensor,
        noise: Noise,
        guidance: Guidance | None = None,
        rolled: Rolled | None = None,
    ) -> Plan:
        """Complete windows.

        Args:
            states: physical (B, N + 1, S), or more steps, of which the first N + 1 are read.
            actions: physical (B, N, A), or more.
            noise: source of all randomness.
            guidance: what steers the plan.
            rolled: what to begin with; None: pure noise.

        Raises:
            ValueError: fewer steps than that.
        """
        paths = self.paths(rolled)
        x = self._begin(states, actions, noise)
        if rolled is not None:
            x = self._resume(x, rolled, paths)
        denoise, guide = self.denoise, None
        if guidance is not None:
            denoise, guide = guidance.attach(denoise, self.diffusions, self.normalizer.physical)
        if self.within_limits and self.normalizer.layout.joint_limits:
            guide = _clamped(guide, self.normalizer.bounds())
        done = self.sampler.sample(denoise, self.diffusions, x, paths, noise, guide)
        parts: list[Tensor] = []
        for given, planned in zip((states, actions), self._limited(*self.normalizer.physical(done)), strict=True):
            steps = int(self.known[len(parts)].sum())
            parts.append(torch.cat([given[:, :steps], planned[:, steps:]], dim=1))  # what is known comes back exactly
        return Plan(*parts)

    def _resume(self, x: Streams, rolled: Rolled, paths: Streams) -> Streams:
        """Put the old plan, under the noise in ``x``, where it is neither known nor past its end."""
        length = self.known.shape[1]
        old = torch.arange(length) < length - rolled.steps
        streams = []
        clean = self.normalizer.normalise(*rolled.plan)
        for value, noisy, known, path, diffusion in zip(clean, x, self.known, paths, self.diffusions, strict=True):
            level = path[0].to(value.device)
            raised = diffusion.to(value.device).add_noise(value, noisy, level.expand(value.shape[:2]))
            streams.append(torch.where((old & ~known).to(value.device)[:, None], raised, noisy))
        return tuple(streams)

    def _limited(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Joints within their limits, for good: the emphasis projection's way back mixes columns."""
        layout = self.normalizer.layout
        if not (self.within_limits and layout.joint_limits):
            return states, actions
        lower, upper = torch.tensor(layout.joint_limits).to(states).unbind(-1)
        if "joint_pos" in layout:
            states = states.clone()
            columns = layout.slice("joint_pos")
            states[..., columns] = states[..., columns].clamp(lower, upper)
        return states, actions.clamp(lower, upper) if layout.action_is_joint_position else actions

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
