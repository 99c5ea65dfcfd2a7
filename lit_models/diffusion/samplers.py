"""Samplers: from noise to trajectories, each token on a path of noise levels of its own.

A sample is a tuple of streams, x = (states (B, T, S), actions (B, T, A)) or one stream alone. A path (N + 1, ...) gives
the levels of one stream before each of N steps and after the last; path[i] broadcasts to (B, T). A token whose path is
0 throughout is known: it stays as it is, bit for bit, which is inpainting; ``process.make_path`` makes them.

One step of DDPM, DDIM and DPM-Solver++ is the same linear map with other factors,

    x_to = a x_k + b x_0-hat(x_k) + c x_0-hat(before) + d noise,

so a sampler is a rule for (a, b, c, d), worked out in float64 for all tokens and all steps before the first one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .process import Diffusion

Streams = tuple[Tensor, ...]
"""One tensor a stream: values (B, T, D) or levels (B, T)."""
Denoiser = Callable[[Streams, Streams], Streams]
"""(x_k, levels int64) -> predictions, of the type that each stream's ``Diffusion`` names."""
Guide = Callable[[Streams, Streams, Streams], Streams]
"""(x_0-hat, x_k, levels) -> x_0-hat. Called without gradients: open ``torch.enable_grad()`` where they are needed."""
Noise = Callable[[Sequence[int], torch.dtype], Tensor]
"""(shape, dtype) -> standard normal noise, new in each call: all randomness that a sampler has."""


def single(denoise: Callable[[Tensor, Tensor], Tensor]) -> Denoiser:
    """A denoiser of one stream from a network (x (B, T, D), levels (B, T)) -> prediction (B, T, D)."""
    return lambda x, levels: (denoise(x[0], levels[0]),)


def classifier_free(
    denoise: Callable[[Streams, Streams, Tensor], Streams], condition: Tensor, empty: Tensor, scale: float
) -> Denoiser:
    """Classifier-free guidance (Ho and Salimans, arXiv:2207.12598, eq. 6, with scale = 1 + w), as one doubled batch.

    Whether epsilon, x_0 or v is mixed makes no difference: each is an affine map of the others at the same x_k, and the
    factors of the mixture add up to 1.

    Args:
        denoise: (x_k, levels, condition) -> predictions, trained with the condition dropped at times.
        condition: (B, ...).
        empty: what stood for a dropped condition, (B, ...) or (1, ...).
        scale: 1 is the condition alone, 0 none, above 1 more than asked for.

    Returns:
        A denoiser of B samples.
    """
    both = torch.cat([condition, empty.expand_as(condition)])

    def guided(x: Streams, levels: Streams) -> Streams:
        x, levels = (tuple(torch.cat([value, value]) for value in streams) for streams in (x, levels))
        halves = [prediction.chunk(2) for prediction in denoise(x, levels, both)]
        return tuple(torch.lerp(without, told, scale) for told, without in halves)

    return guided


def gaussian(generator: torch.Generator) -> Noise:
    """Standard normal noise on the device of its generator."""
    return lambda shape, dtype: torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)


class Factors(NamedTuple):
    """Factors of all steps of one stream, each (N, ..., 1) or (N, ..., D) float64; None where all are 0."""

    x: Tensor
    x0: Tensor
    noise: Tensor | None = None
    before: Tensor | None = None


@dataclass(frozen=True)
class Sampler(ABC):
    """What all samplers share.

    Attributes:
        clip_sample: clamp x_0-hat, for data that is scaled to a range; standardised data goes beyond 1.
        clip_sample_range: to plus and minus this.
    """

    clip_sample: bool = False
    clip_sample_range: float = 1.0

    @abstractmethod
    def sample(
        self,
        denoise: Denoiser,
        diffusions: tuple[Diffusion, ...],
        x: Streams,
        paths: Streams,
        noise: Noise,
        guide: Guide | None = None,
    ) -> Streams:
        """Take ``x`` along its paths.

        Args:
            denoise: the model; sees known tokens as they are, at level 0.
            diffusions: one a stream.
            x: at the levels paths[...][0], each (B, T, D): noise at level K, known values at level 0.
            paths: one a stream (N + 1, ...) int64, all of the same N.
            noise: source of all randomness, see ``gaussian``.
            guide: may change x_0-hat before each step; known tokens keep their values whatever it does.

        Returns:
            The streams at the levels paths[...][-1].

        Raises:
            ValueError: streams that do not match, or a path that rises or leaves 0..K.
        """

    def change(self, x0: Streams, x: Streams, levels: Streams, guide: Guide | None) -> Streams:
        """x_0-hat as it is used: guided, then clamped, known tokens as they are."""
        if guide is None and not self.clip_sample:
            return x0
        if guide is not None:
            x0 = guide(x0, x, levels)
        if self.clip_sample:
            x0 = tuple(value.clamp(-self.clip_sample_range, self.clip_sample_range) for value in x0)
        return tuple(
            torch.where((level == 0).unsqueeze(-1), known, value)
            for value, known, level in zip(x0, x, levels, strict=True)
        )


def check_streams(diffusions: tuple[Diffusion, ...], x: Streams, paths: Streams) -> int:
    """The number of steps N, if each stream has one process and one path, and all paths have N.

    Raises:
        ValueError: otherwise.
    """
    if len({len(diffusions), len(x), len(paths)}) != 1 or len({len(path) for path in paths}) != 1:
        raise ArgumentError(
            f"{len(diffusions)} processes, {len(x)} streams, paths of {[len(path) - 1 for path in paths]} steps: "
            "each stream needs one process and one path, and all paths the same number of steps."
        )
    return len(paths[0]) - 1


class _Plan(NamedTuple):
    """What one stream needs in each step, cast and split once: lists of N, None where a step has no use for it."""

    levels: tuple[Tensor, ...]
    known: list[Tensor | None]
    x0_of: list[tuple[Tensor, Tensor]] | None
    of_x: tuple[Tensor, ...]
    of_x0: tuple[Tensor, ...]
    of_before: list[Tensor | None]
    of_noise: list[Tensor | None]


def _split(values: Tensor | None, x: Tensor, steps: int) -> list[Tensor | None]:
    """``values`` (N, ...) as x needs them, one a step; None where they are 0 for all tokens."""
    if values is None:
        return [None] * steps
    used = values.flatten(1).any(dim=1).tolist()
    dtype = values.dtype if values.dtype == torch.bool else x.dtype
    return [value if some else None for value, some in zip(values.to(x.device, dtype).unbind(), used, strict=True)]


def _plan(rule: Callable[[Diffusion, Tensor], Factors], diffusion: Diffusion, x: Tensor, path: Tensor) -> _Plan:
    diffusion, path = diffusion.to("cpu"), path.cpu()  # float64, and no waiting for a device
    steps = len(path) - 1
    path = path.reshape(steps + 1, *[1] * (x.dim() - path.dim()), *path.shape[1:])
    if (path[1:] > path[:-1]).any():
        raise ArgumentError("a path of levels rises: sampling only lowers noise; Diffusion.renoise raises it.")
    if path[-1].min() < 0 or path[0].max() > diffusion.num_train_timesteps:
        raise ArgumentError(
            f"a path of levels from {int(path[0].max())} to {int(path[-1].min())}: the levels of this process run from "
            f"num_train_timesteps={diffusion.num_train_timesteps} to 0."
        )
    factors = rule(diffusion, path)
    known, x0_of = None, None
    if diffusion.prediction_type == "sample":
        known = (path[:-1] == 0).unsqueeze(-1)
    else:  # x_0-hat is x itself at level 0
        parts = diffusion.conversion(path[:-1], diffusion.prediction_type, "sample")
        x0_of = list(zip(*(part.to(x).unbind() for part in parts), strict=True))
    return _Plan(
        path.to(x.device).expand(steps + 1, *x.shape[:-1]).unbind(),
        _split(known, x, steps),
        x0_of,
        factors.x.to(x).unbind(),
        factors.x0.to(x).unbind(),
        _split(factors.before, x, steps),
        _split(factors.noise, x, steps),
    )


def _x0(prediction: Tensor, x: Tensor, plan: _Plan, i: int) -> Tensor:
    x0 = prediction.to(x.dtype)
    if plan.x0_of is not None:
        of_x, of_prediction = plan.x0_of[i]
        return (of_x * x).addcmul_(of_prediction, x0)
    known = plan.known[i]
    return x0 if known is None else torch.where(known, x, x0)


def _step(x: Tensor, x0: Tensor, before: Tensor, plan: _Plan, i: int, noise: Noise) -> Tensor:
    moved = (plan.of_x[i] * x).addcmul_(plan.of_x0[i], x0)
    if (of_before := plan.of_before[i]) is not None:
        moved.addcmul_(of_before, before)
    if (of_noise := plan.of_noise[i]) is not None:
        moved.addcmul_(of_noise, noise(x.shape, x.dtype).to(x.device))
    return moved


class LinearSampler(Sampler):
    """A sampler whose step is a linear map: a rule for the factors."""

    @abstractmethod
    def factors(self, diffusion: Diffusion, path: Tensor) -> Factors:
        """The factors of each step along ``path`` (N + 1, ...): 1 of x and nothing else where a level stays."""

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
        """See ``Sampler.sample``."""
        steps = check_streams(diffusions, x, paths)
        plans = [_plan(self.factors, *parts) for parts in zip(diffusions, x, paths, strict=True)]
        before = x  # multiplied by 0 in the first step
        for i in range(steps):
            levels = tuple(plan.levels[i] for plan in plans)
            x0 = tuple(_x0(*parts, i) for parts in zip(denoise(x, levels), x, plans, strict=True))
            x0 = self.change(x0, x, levels, guide)
            x = tuple(_step(*parts, i, noise) for parts in zip(x, x0, before, plans, strict=True))
            before = x0
        return x


@dataclass(frozen=True)
class DDPM(LinearSampler):
    """Ancestral sampling (Ho et al., arXiv:2006.11239, algorithm 2), also over steps of several levels.

    Attributes:
        variance_type: of the noise of a step. ``fixed_small`` is the variance of q(x_to | x_k, x_0), right for data
            that is one point; ``fixed_large`` is right for unit normal data; ``analytic`` adds what x_0-hat leaves
            open, right for any Gaussian in any number of steps (Bao et al., arXiv:2201.06503, section 3).
    """

    variance_type: Literal["fixed_small", "fixed_large", "analytic"] = "fixed_small"

    def factors(self, diffusion: Diffusion, path: Tensor) -> Factors:
        """See ``LinearSampler.factors``.

        Raises:
            ValueError: an unknown variance type, or ``analytic`` where nobody measured ``x0_variance``.
        """
        levels, to = path[:-1], path[1:]
        of_x, of_x0, variance = diffusion.posterior_factors(levels, to)
        if self.variance_type == "fixed_large":
            step = (diffusion.alpha_bar[levels] / diffusion.alpha_bar[to]).unsqueeze(-1)
            variance = torch.where((to > 0).unsqueeze(-1), 1 - step, 0.0)
        elif self.variance_type == "analytic":
            if diffusion.x0_variance is None:
                raise ArgumentError(
                    "variance_type='analytic' needs Diffusion.x0_variance; without it take 'fixed_small'."
                )
            variance = variance + of_x0**2 * diffusion.x0_variance[levels]
        elif self.variance_type != "fixed_small":
            raise ArgumentError(
                f"variance_type={self.variance_type!r}: choose 'fixed_small', 'fixed_large' or 'analytic'."
            )
        return Factors(of_x, of_x0, variance.sqrt())


@dataclass(frozen=True)
class DDIM(LinearSampler):
    """Song et al., arXiv:2010.02502, eq. 12 and 16, with epsilon always the one that fits x_0-hat as it is used.

    Attributes:
        eta: 0 without noise, 1 the variance of ``DDPM``.
    """

    eta: float = 0.0

    def factors(self, diffusion: Diffusion, path: Tensor) -> Factors:
        """See ``LinearSampler.factors``.

        Raises:
            ValueError: eta outside [0, 1].
        """
        if not 0 <= self.eta <= 1:
            raise ArgumentError(f"eta={self.eta}: 0 (no noise) to 1 (as much as DDPM).")
        alpha_bar = diffusion.alpha_bar[path].unsqueeze(-1)
        here, there = alpha_bar[:-1], alpha_bar[1:]
        noisy = here < 1
        lost = torch.where(noisy, 1 - here, 1.0)
        variance = self.eta**2 * (1 - here / there) * (1 - there) / lost
        of_x = torch.where(noisy, ((1 - there - variance).clamp(min=0) / lost).sqrt(), 1.0)
        return Factors(of_x, there.sqrt() - of_x * here.sqrt(), variance.sqrt() if self.eta else None)


@dataclass(frozen=True)
class DPMSolver(LinearSampler):
    """DPM-Solver++ 2M, without noise, of second order (Lu et al., arXiv:2211.01095, algorithm 2).

    A token's first step, the one after it rested and the one to level 0 are of first order, which is DDIM.
    """

    def factors(self, diffusion: Diffusion, path: Tensor) -> Factors:
        """See ``LinearSampler.factors``."""
        first = DDIM().factors(diffusion, path)
        log_snr = diffusion.snr(path).log().unsqueeze(-1) / 2  # lambda, inf at level 0
        step = log_snr[1:] - log_snr[:-1]
        last = torch.cat([torch.zeros_like(step[:1]), step[:-1]])
        second = (last > 0) & (step > 0) & step.isfinite()
        extrapolate = first.x0 * torch.where(second, step / (2 * last), 0.0)
        return Factors(first.x, first.x0 + extrapolate, before=-extrapolate)
