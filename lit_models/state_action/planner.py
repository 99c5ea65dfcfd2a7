"""From what has happened to what shall happen: a sampler completes the window."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..diffusion.guidance import Guidance
from ..diffusion.process import Diffusion, TimestepSpacing, make_path
from ..diffusion.rolling import Rest, Rolling, make_rolling
from ..diffusion.sampler_names import Sampling, make_sampler
from ..diffusion.samplers import Denoiser, Guide, Noise, Sampler, Streams
from .frames import moved_on
from .normalizer import Normalizer


@dataclass(frozen=True)
class PlanSampling(Sampling):
    """Sampling of plans.

    Attributes:
        timestep_spacing: of the levels of a plan with fewer steps, see ``process.make_path``.
        within_limits: clamp joint angles of x_0-hat, in states and in actions that are joint positions, to their limits
            at each step, where the layout tells them.
    """

    timestep_spacing: TimestepSpacing = "trailing"
    within_limits: bool = True


class Plan(NamedTuple):
    """Windows in physical units, in the character frame of the current step.

    Attributes:
        states: (B, W, S); the first N + 1 are what was given.
        actions: (B, W, A); the first N are what was given, index N is for now.
    """

    states: Tensor
    actions: Tensor


class Tick(NamedTuple):
    """A plan, and how much of it is noise still.

    Attributes:
        plan: x_0-hat where tokens are not clean yet.
        noise: what lies over it in the streams, scaled as it is there; None where all tokens are clean.
    """

    plan: Plan
    noise: Streams | None = None


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
        sampling: how plans are drawn.
    """

    denoise: Denoiser
    normalizer: Normalizer
    diffusions: tuple[Diffusion, Diffusion]
    known: Tensor
    sampling: PlanSampling = PlanSampling()

    def __post_init__(self) -> None:
        self.paths(), self.sampler  # so that wrong settings are known before anything is planned

    @cached_property
    def sampler(self) -> Sampler:
        """The sampler of that name."""
        return make_sampler(self.sampling.sampler, self.sampling.options)

    def rolling(self, rest: Rest, shift_by: int) -> Rolling:
        """How plans move on by ``shift_by`` steps a tick; see ``make_rolling``.

        Raises:
            ValueError: also where the past does not reach back to the step of the last plan.
        """
        past = int(self.known[1].sum())
        if shift_by > past:
            raise ArgumentError(
                f"rolling by {shift_by} steps a tick needs as many steps of the past; there are {past}."
            )
        steps = self.sampling.steps or self.diffusions[0].num_train_timesteps
        return make_rolling(rest, self.diffusions, self.known, steps, shift_by)

    def paths(self, rolling: Rolling | None = None, last: Tick | None = None) -> Streams:
        """The levels of a plan (steps + 1, W) for states and actions: known tokens stay at 0."""
        steps = self.sampling.steps or self.diffusions[0].num_train_timesteps
        if rolling is not None:
            return rolling.first_paths(steps) if last is None else rolling.paths()
        paths = (make_path(diffusion, steps, self.sampling.timestep_spacing) for diffusion in self.diffusions)
        return tuple(torch.where(known, 0, path[:, None]) for known, path in zip(self.known, paths, strict=True))

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
        return self.tick(states, actions, noise, guidance).plan

    @torch.no_grad()
    def tick(
        self,
        states: Tensor,
        actions: Tensor,
        noise: Noise,
        guidance: Guidance | None = None,
        rolling: Rolling | None = None,
        last: Tick | None = None,
    ) -> Tick:
        """The same, from tick to tick.

        Args:
            states: see ``plan``.
            actions: see ``plan``.
            noise: see ``plan``.
            guidance: see ``plan``.
            rolling: how plans move on; None makes each of pure noise.
            last: what the last tick gave, ``rolling.shift_by`` steps ago; None: pure noise.

        Raises:
            ValueError: too few steps of the past.
        """
        paths = self.paths(rolling, last)
        past = self._past(states, actions)
        if rolling is None or last is None:
            shapes = [(len(part), self.known.shape[1], part.shape[-1]) for part in past]
            x = tuple(noise(shape, part.dtype).to(part.device) for shape, part in zip(shapes, past, strict=True))
        else:
            x = rolling.shift(self._seen_from(states, rolling, last), noise)
        for stream, part in zip(x, past, strict=True):
            stream[:, : part.shape[1]] = part
        denoise, guide = self.denoise, None
        if guidance is not None:
            denoise, guide = guidance.attach(denoise, self.diffusions, self.normalizer.physical)
        guesses: list[Streams] = []
        unfinished = any(path[-1].any() for path in paths)
        if unfinished or (self.sampling.within_limits and self.normalizer.layout.joint_limits):
            guide = self._watched(guide, guesses if unfinished else None)
        done = self.sampler.sample(denoise, self.diffusions, x, paths, noise, guide)
        found = guesses[-1] if unfinished else done
        parts = []
        for given, part, planned in zip((states, actions), past, self.normalizer.physical(found), strict=True):
            steps = part.shape[1]
            parts.append(torch.cat([given[:, :steps], planned[:, steps:]], dim=1))  # what is known comes back exactly
        return Tick(Plan(*parts), self._over(found, done, paths) if unfinished else None)

    def _past(self, states: Tensor, actions: Tensor) -> Streams:
        """What is known, as the denoiser sees it."""
        steps, acted = self.known.sum(dim=1).tolist()
        if states.shape[1] < steps or actions.shape[1] < acted:
            raise ArgumentError(
                f"a past of {states.shape[1]} states and {actions.shape[1]} actions; this model reads {steps} states, "
                f"the last one current, and {acted} actions."
            )
        padded = torch.cat([actions[:, :acted], actions.new_zeros(len(actions), 1, actions.shape[-1])], dim=1)
        known, done = self.normalizer.normalise(states[:, :steps], padded)
        return known, done[:, :acted]

    def _watched(self, guide: Guide | None, guesses: list[Streams] | None) -> Guide:
        """A guide that ends within the limits of the joints, and tells ``guesses``, if there are, what it ended at."""

        def watch(x0: Streams, x: Streams, levels: Streams) -> Streams:
            moved = x0 if guide is None else guide(x0, x, levels)
            if self.sampling.within_limits:
                moved = self.normalizer.within_limits(moved)
            if guesses is not None:
                clean = ((level == 0).unsqueeze(-1) for level in levels)
                guesses[:] = [tuple(torch.where(*parts) for parts in zip(clean, x, moved, strict=True))]
            return moved

        return watch

    def _over(self, found: Streams, done: Streams, paths: Streams) -> Streams:
        """The noise in the streams that lies over x_0-hat."""
        scales = (
            diffusion.to(value.device).scales(path[-1].to(value.device), value.dtype)[0]
            for diffusion, value, path in zip(self.diffusions, done, paths, strict=True)
        )
        return tuple(value - scale * x0 for value, scale, x0 in zip(done, scales, found, strict=True))

    def _seen_from(self, states: Tensor, rolling: Rolling, last: Tick) -> Streams:
        """What the last tick left, in the character frame of now: noise knows of no frame."""
        now = moved_on(last.plan.states, self.normalizer.layout, states[:, : self.known.sum(1)[0]], rolling.shift_by)
        clean = self.normalizer.normalise(now, last.plan.actions)
        if last.noise is None:
            return clean
        scales = (
            diffusion.to(value.device).scales(stop.to(value.device), value.dtype)[0]
            for diffusion, value, stop in zip(self.diffusions, clean, rolling.stop, strict=True)
        )
        return tuple(scale * value + over for scale, value, over in zip(scales, clean, last.noise, strict=True))
