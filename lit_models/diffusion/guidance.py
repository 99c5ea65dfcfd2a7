"""Guidance: differentiable costs steer a model that never saw them in training.

Plans of density p(x_0) exp(-strength G(x_0)) have the score of p plus a term that moves x_0-hat, the posterior mean of
x_0 given x_k. At each step x_0-hat goes to the minimiser of

    1/2 (x_0' - x_0-hat)^T V^-1 (x_0' - x_0-hat) + strength G(x_0'),    V = Cov(x_0 | x_k),

which is the posterior mean under the cost where p(x_0 | x_k) is Gaussian and G quadratic. A plain gradient step x_0-hat
- strength V grad G is classifier guidance (Dhariwal and Nichol, arXiv:2105.05233, eq. 14) as BeyondMimic
(arXiv:2508.08241) and Diffuse-CLoC (arXiv:2503.11801) use it; minimising keeps stiff costs from overshooting, as the
covariance in the likelihood of Pseudoinverse-Guided Diffusion does (Song et al., ICLR 2023).

V comes in two ways. ``gradient="x0"``: the diagonal that was measured (``Diffusion.x0_variance``), else that of unit
normal data, 1 - alpha_bar; nothing goes back through the network. ``gradient="model"``: by Tweedie's formula V =
(1 - alpha_bar) / sqrt(alpha_bar) J with J the Jacobian of x_0-hat by x_k, so V r is one product of J^T with a vector:
Diffusion Posterior Sampling (Chung et al., arXiv:2209.14687), and plans stay where the model puts them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .process import Diffusion
from .samplers import Denoiser, Guide, Streams

CostFunction = Callable[[Tensor, Tensor], Tensor]
"""(physical states (B, W, S), physical actions (B, W, A)) -> cost of each sample (B,), which mixes no samples."""
Physical = Callable[[Streams], Streams]
"""Streams as the model sees them -> (states, actions) in physical units, differentiable."""
GRADIENTS = ("x0", "model")
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class GuidanceSettings:
    """How a cost acts, as YAML writes it.

    Attributes:
        strength: factor of the cost, >= 0; 1 samples from p(x_0) exp(-G), 0 is no guidance.
        gradient: ``x0`` or ``model``, see above; ``model`` adds one backward pass through the network an inner step.
        inner_steps: of conjugate gradients, >= 1; as many as independent directions that a quadratic cost measures
            are exact.
        schedule: factor of V over the share k / K of noise: ``constant``, ``linear`` (k / K) or ``cosine``
            (sin^2 of pi k / 2K).
        start: share of noise from which on guidance acts, in (0, 1]; below 1 it leaves out pure noise, where ``model``
            multiplies the errors of J by 1 / sqrt(alpha_bar_K).
        stop: share below which it ceases, in [0, start).
        max_move: largest change of an entry of x_0-hat in a step, in units of the normalised streams, > 0; the whole
            move shrinks to it. None for no limit.

    Raises:
        ValueError: an unknown name, or a number out of its range.
    """

    strength: float = 1.0
    gradient: Literal["x0", "model"] = "x0"
    inner_steps: int = 2
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    start: float = 1.0
    stop: float = 0.0
    max_move: float | None = None

    def __post_init__(self) -> None:
        if self.gradient not in GRADIENTS:
            raise ArgumentError(f"gradient={self.gradient!r}: choose one of {', '.join(GRADIENTS)}.")
        if self.schedule not in SCHEDULES:
            raise ArgumentError(f"schedule={self.schedule!r}: choose one of {', '.join(SCHEDULES)}.")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ArgumentError(f"strength={self.strength}: 0 (no guidance) or more.")
        if self.inner_steps < 1:
            raise ArgumentError(f"inner_steps={self.inner_steps}: at least 1.")
        if not 0 <= self.stop < self.start <= 1:
            raise ArgumentError(f"start={self.start}, stop={self.stop}: shares of noise, 1 >= start > stop >= 0.")
        if self.max_move is not None and self.max_move <= 0:
            raise ArgumentError(f"max_move={self.max_move}: above 0, or null for no limit.")

    def weights(self, num_train_timesteps: int) -> Tensor:
        """Factor of V at each level (K + 1,) float64: strength, schedule and window; 0 at level 0."""
        share = torch.arange(num_train_timesteps + 1, dtype=torch.float64) / num_train_timesteps
        shape = {
            "constant": torch.ones_like(share),
            "linear": share,
            "cosine": (share * math.pi / 2).sin() ** 2,
        }[self.schedule]
        acts = (share > 0) & (share >= self.stop) & (share <= self.start)
        return torch.where(acts, self.strength * shape, 0.0)


@dataclass(frozen=True, eq=False)
class Guidance:
    """A cost and how it acts.

    Attributes:
        cost: what plans shall keep low.
        settings: see ``GuidanceSettings``.
    """

    cost: CostFunction
    settings: GuidanceSettings = field(default_factory=GuidanceSettings)

    def attach(
        self, denoise: Denoiser, diffusions: tuple[Diffusion, ...], physical: Physical
    ) -> tuple[Denoiser, Guide]:
        """What ``Sampler.sample`` takes: a denoiser and a guide that belong together.

        Args:
            denoise: the model.
            diffusions: one a stream.
            physical: from streams to what the cost reads.
        """
        engine = _Engine(self, denoise, diffusions, physical)
        return engine.denoise, engine.guide


class _Engine:
    """The denoiser, whose graph one step keeps for the guide of the same step, and that guide."""

    def __init__(
        self, guidance: Guidance, denoise: Denoiser, diffusions: tuple[Diffusion, ...], physical: Physical
    ) -> None:
        self.cost, self.settings = guidance.cost, guidance.settings
        self.model, self.diffusions, self.physical = denoise, diffusions, physical
        self.through_model = self.settings.gradient == "model"
        self.tables = [self._table(diffusion) for diffusion in diffusions]
        self.graph: tuple[Streams, Streams] | None = None

    def _table(self, diffusion: Diffusion) -> Tensor:
        """Diagonal of V at each level, weighted: (K + 1, 1 or D); that of the factor before J in ``model``."""
        alpha_bar = diffusion.alpha_bar[:, None]
        weights = self.settings.weights(diffusion.num_train_timesteps)[:, None].to(alpha_bar)
        if self.through_model:
            return weights * (1 - alpha_bar) / alpha_bar.sqrt()
        return weights * (1 - alpha_bar if diffusion.x0_variance is None else diffusion.x0_variance)

    def denoise(self, x: Streams, levels: Streams) -> Streams:
        """Predictions, and how they depend on x_k where the guide needs it."""
        if not self.through_model or not self.settings.strength:
            return self.model(x, levels)
        with torch.inference_mode(False), torch.enable_grad():
            leaves = tuple(value.clone().requires_grad_() for value in x)
            levels = tuple(level.clone() for level in levels)
            predictions = self.model(leaves, levels)
            x0 = tuple(d.to_x0(*parts) for d, *parts in zip(self.diffusions, predictions, leaves, levels, strict=True))
        self.graph = leaves, x0
        return tuple(prediction.detach() for prediction in predictions)

    def guide(self, x0: Streams, x: Streams, levels: Streams) -> Streams:
        """x_0-hat, moved; see ``samplers.Guide``."""
        scales = tuple(
            table.to(value.device)[level].to(value.dtype)
            for table, value, level in zip(self.tables, x0, levels, strict=True)
        )
        if not any(scale.any() for scale in scales):
            self.graph = None
            return x0
        with torch.inference_mode(False), torch.no_grad():
            move = self._limit(self._solve(tuple(value.clone() for value in x0), scales))
        self.graph = None
        if not all(part.isfinite().all() for part in move):
            raise ArgumentError(self._blame(x0))
        return tuple(value + part for value, part in zip(x0, move, strict=True))

    def _solve(self, x0: Streams, scales: Streams) -> Streams:
        """The minimiser's distance from x_0-hat, by conjugate gradients preconditioned with V.

        Vectors come in pairs (V u, u), so that V^-1 is never needed. Each step goes to the minimum of the local
        quadratic model along its direction, taken as flat where the cost curves downwards.
        """
        move = dual = tuple(torch.zeros_like(value) for value in x0)
        direction = dual_direction = previous = move
        last = None
        for _ in range(self.settings.inner_steps):
            point = tuple(value + part for value, part in zip(x0, move, strict=True))
            leaves, gradient = self._gradient(point)
            residual = tuple(-(u + g.detach()) for u, g in zip(dual, gradient, strict=True))
            scaled = self._covariance(residual, scales)
            now = _dot(residual, scaled)
            keep = torch.zeros_like(now) if last is None else _ratio(now - _dot(previous, scaled), last)
            direction = _combine(scaled, keep.clamp(min=0), direction)
            dual_direction = _combine(residual, keep.clamp(min=0), dual_direction)
            curvature = _dot(dual_direction, direction) + self._curvature(leaves, gradient, direction).clamp(min=0)
            length = _ratio(_dot(residual, direction), curvature).clamp(min=0)
            move, dual = _combine(move, length, direction), _combine(dual, length, dual_direction)
            previous, last = residual, now
        return move

    def _gradient(self, point: Streams) -> tuple[Streams, Streams]:
        """(leaves, gradient of the cost by them), with a graph for the curvature."""
        with torch.enable_grad():
            leaves = tuple(value.detach().requires_grad_() for value in point)
            cost = self.cost(*self.physical(leaves))
            if cost.shape != (len(leaves[0]),) or not cost.requires_grad:
                raise ArgumentError(
                    f"the cost {_name(self.cost)} gave {tuple(cost.shape)}{'' if cost.requires_grad else ' detached'}: "
                    f"one number a sample ({len(leaves[0])},) is needed, differentiable by states or actions."
                )
            return leaves, torch.autograd.grad(cost.sum(), leaves, create_graph=True, materialize_grads=True)

    @staticmethod
    def _curvature(leaves: Streams, gradient: Streams, direction: Streams) -> Tensor:
        """d^T H d of the cost (B,)."""
        curved = [(g, d) for g, d in zip(gradient, direction, strict=True) if g.requires_grad]
        if not curved:  # a linear cost
            return leaves[0].new_zeros(len(leaves[0]))
        outputs, along = zip(*curved, strict=True)
        product = torch.autograd.grad(outputs, leaves, along, materialize_grads=True)
        return _dot(product, direction)

    def _covariance(self, vector: Streams, scales: Streams) -> Streams:
        """V times a vector; 0 at known tokens."""
        if not self.through_model:
            return tuple(scale * value for scale, value in zip(scales, vector, strict=True))
        if self.graph is None:
            raise RuntimeError("gradient='model': sample with the denoiser that attach returned beside this guide.")
        leaves, x0 = self.graph
        masked = tuple(torch.where(scale > 0, value, 0.0) for scale, value in zip(scales, vector, strict=True))
        pulled = torch.autograd.grad(x0, leaves, masked, retain_graph=True, materialize_grads=True)
        return tuple(scale * value for scale, value in zip(scales, pulled, strict=True))

    def _limit(self, move: Streams) -> Streams:
        if self.settings.max_move is None:
            return move
        largest = torch.stack([part.abs().flatten(1).amax(dim=1) for part in move]).amax(dim=0)
        factor = _ratio(torch.full_like(largest, self.settings.max_move), largest).clamp(max=1)
        return tuple(factor[:, None, None] * part for part in move)

    def _blame(self, x0: Streams) -> str:
        """What made a move that is not finite."""
        if not all(value.isfinite().all() for value in x0):
            return "the model's x_0-hat is not finite, before any guidance: look at its training."
        for part in getattr(self.cost, "costs", (self.cost,)):
            alone = _Engine(Guidance(part, self.settings), self.model, self.diffusions, self.physical)
            _, gradient = alone._gradient(x0)
            rows = ~torch.stack([g.isfinite().flatten(1).all(dim=1) for g in gradient]).all(dim=0)
            if rows.any():
                return (
                    f"the cost {_name(part)} has a gradient that is not finite, first in sample "
                    f"{int(rows.nonzero()[0])}: keep its roots, logarithms and quotients away from 0."
                )
        return f"the cost {_name(self.cost)} moves x_0-hat beyond all bounds: lower strength or set max_move."


def _name(cost: CostFunction) -> str:
    return getattr(cost, "__name__", type(cost).__name__)


def _dot(a: Streams, b: Streams) -> Tensor:
    """Inner product of each sample over all streams (B,)."""
    return torch.stack([(u * v).flatten(1).sum(dim=1) for u, v in zip(a, b, strict=True)]).sum(dim=0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Quotient a / b, and 0 where b is not positive."""
    return torch.where(b > 0, a / b, 0.0)


def _combine(a: Streams, factor: Tensor, b: Streams) -> Streams:
    return tuple(u + factor[:, None, None] * v for u, v in zip(a, b, strict=True))
