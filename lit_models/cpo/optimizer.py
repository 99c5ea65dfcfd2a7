"""The update of constrained policy optimisation as a ``torch.optim.Optimizer``: gradients, Fisher products, search."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Optimizer

from litmotif.errors import ArgumentError

from .trust_region import Case, Floats, Step, TrustRegionSettings, conjugate_gradient, dots, solve

Solver = Callable[[float, Floats, Floats, Floats, float], Step]
"""Takes q, r, S, c and delta, as ``solve`` does."""


@dataclass(frozen=True)
class Surrogates:
    """What the closure measures on this process's samples, at the parameters as they stand; sums, not means.

    Attributes:
        sums: (2 + m,) reward surrogate, KL from the old policy, cost surrogates; differentiable.
        count: samples behind ``sums``.
        curvature: KL summed over the samples that the Fisher matrix is measured on; differentiable twice.
        curvature_count: samples behind ``curvature``.
    """

    sums: Tensor
    count: int
    curvature: Tensor
    curvature_count: int


@dataclass
class Update:
    """What one update did.

    Attributes:
        case: which step was taken.
        accepted: whether any trial was; the parameters are the old ones otherwise.
        kl: measured from the old policy to the new.
        kl_share: ``kl`` over the target.
        reward_gain: of the reward surrogate.
        cost_changes: (m,) of the cost surrogates.
        trials: policies measured.
        products: Fisher products used: vectors multiplied.
        multipliers: (m,) of the exact solution.
        unusable: (m,) constraints whose gradient vanishes.
    """

    case: Case
    accepted: bool = False
    kl: float = 0.0
    kl_share: float = 0.0
    reward_gain: float = 0.0
    cost_changes: list[float] = field(default_factory=list)
    trials: int = 0
    products: int = 0
    multipliers: list[float] = field(default_factory=list)
    unusable: list[bool] = field(default_factory=list)


class _Problem:
    """The linear-quadratic model of one update; everything is reduced over the processes.

    H^-1 is applied to the reward gradient, and to a cost gradient only once a step would violate that constraint: a
    constraint that the optimum of the others satisfies does not change the optimum.

    Args:
        solver: gives the step.
        invert: applies H^-1 to rows (k, P).
        start: (P,) the old parameters.
        gradients: (1 + m, P) of the reward and the cost surrogates.
        gaps: (m,) cost gaps.
    """

    def __init__(
        self, solver: Solver, invert: Callable[[Tensor], Tensor], start: Tensor, gradients: Tensor, gaps: Floats
    ) -> None:
        self.solver, self.invert, self.start, self.gradients, self.gaps = solver, invert, start, gradients, gaps
        self.known = np.zeros(len(gaps), dtype=bool)
        self.directions = torch.zeros_like(gradients)
        self._learn(np.flatnonzero(gaps > 0.0), reward=True)

    def step(self, delta: float, gaps: Floats) -> tuple[Step, Tensor]:
        """The exact step, and its vector (P,)."""
        while True:
            rows = [0, *(1 + np.flatnonzero(self.known))]
            gram = (self.gradients[rows].double() @ self.directions[rows].double().T).cpu().numpy()
            gram = (gram + gram.T) / 2.0
            step = self.solver(float(gram[0, 0]), gram[0, 1:], gram[1:, 1:], gaps[self.known], delta)
            weights = torch.tensor([step.along_reward, *step.along_costs], dtype=torch.float64)
            move = weights.to(self.start.device) @ self.directions[rows].double()
            after = gaps + (self.gradients[1:].double() @ move).cpu().numpy()
            violated = np.flatnonzero(~self.known & (after > 0.0))
            if not len(violated):
                return self._whole(step), move.to(self.start.dtype)
            self._learn(violated)

    def _learn(self, constraints: "np.ndarray[Any, np.dtype[np.int64]]", reward: bool = False) -> None:
        rows = [0] * reward + [1 + int(i) for i in constraints]
        self.directions[rows] = self.invert(self.gradients[rows])
        self.known[constraints] = True

    def _whole(self, step: Step) -> Step:
        """The step with an entry for every constraint."""
        costs, multipliers, unusable = (np.zeros(len(self.gaps), dtype) for dtype in (float, float, bool))
        for whole, part in ((costs, step.along_costs), (multipliers, step.multipliers), (unusable, step.unusable)):
            whole[self.known] = part
        return Step(step.along_reward, costs, step.case, multipliers, unusable)


@dataclass(frozen=True)
class _Trial:
    """A policy that was measured."""

    move: Tensor
    kl: float
    reward: float
    costs: Floats

    @property
    def finite(self) -> bool:
        return bool(np.isfinite([self.kl, self.reward, *self.costs]).all())


class _Limits:
    """What a trial must keep to be accepted (Achiam et al. 2017, section 6).

    A violated cost must fall, a satisfied one stay within its limit, the reward rise unless the step is a recovery.
    Where no step satisfies all constraints (``infeasible``) those that pull at it are weighed by their multipliers:
    the weighted sum must fall, so that one may give way a little for another that gains more.

    Args:
        step: the exact step.
        gaps: (m,) cost gaps.
        kl: target.
    """

    def __init__(self, step: Step, gaps: Floats, kl: float) -> None:
        self.kl, self.reward = kl, step.case in ("inactive", "boundary")
        self.weights = step.multipliers if step.case == "infeasible" else np.zeros(len(gaps))
        self.costs = np.where(self.weights > 0.0, np.inf, np.maximum(-gaps, 0.0))

    def allow(self, trial: _Trial) -> bool:
        within = trial.finite and trial.kl <= self.kl and bool((trial.costs <= self.costs + 1e-9).all())
        return within and float(self.weights @ trial.costs) <= 0.0 and (trial.reward >= 0.0 or not self.reward)

    def missed(self, trial: _Trial) -> Floats:
        """(m,) how far each cost is beyond what it may be, by a trial whose KL is small enough to tell."""
        tells = trial.finite and trial.kl <= 1.1 * self.kl
        return np.maximum(trial.costs - self.costs, 0.0) if tells else np.zeros(len(self.costs))


class _Radius:
    """Finds the radius of the quadratic model at which the measured KL is just under the target."""

    def __init__(self, target: float) -> None:
        self.target, self.delta = target, target
        self.low, self.high = 0.0, np.inf

    def after(self, kl: float) -> float:
        """The next radius, by proportion within what is known to be too small and too large."""
        if kl > self.target:
            self.high = min(self.high, self.delta)
        else:
            self.low = max(self.low, self.delta)
        guess = self.delta * float(np.clip(0.96 * self.target / max(kl, 1e-12), 0.05, 4.0))
        if np.isfinite(self.high) and not self.low < guess < self.high:
            guess = float(np.sqrt(max(self.low, 0.01 * self.high) * self.high))
        self.delta = guess
        return guess


class TrustRegion(Optimizer):
    """Constrained natural-gradient steps; one call of ``step`` is one update of the policy.

    The closure measures the surrogates anew at each call (as with ``torch.optim.LBFGS``). ``gaps`` must be set before
    each step. All decisions follow from numbers summed over the processes, so that each runs the same collectives.

    Args:
        params: of the policy.
        settings: of the region and the search; its ``target_kl`` is what a learning rate is to other optimisers, and
            has the name ``lr`` in the group, by which schedules and monitors find it.
        reduce: sums a tensor over the processes, in place or not, and returns it.
        solver: gives the step; the exact one, unless a comparison puts another here.
    """

    gaps: Floats
    """(m,) how far each cost is above its limit, in the unit of its surrogate."""
    last: Update
    """What the last step did."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        settings: TrustRegionSettings = TrustRegionSettings(),
        reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        solver: Solver = solve,
    ) -> None:
        super().__init__(params, {"lr": settings.target_kl})
        if len(self.param_groups) != 1:
            raise ArgumentError("TrustRegion takes one group: a trust region has one radius.")
        self.settings, self.reduce, self.solver = settings, reduce, solver
        self.gaps = np.zeros(0)

    def step(self, closure: Callable[[], Surrogates]) -> Surrogates:  # type: ignore[override]
        """Move the parameters to the best policy within the trust region, or leave them as they are.

        Args:
            closure: measures the surrogates at the present parameters.

        Returns:
            The surrogates before the step; ``last`` says what was done.
        """
        group = self.param_groups[0]
        with torch.enable_grad():
            surrogates = closure()
            problem = self._model(surrogates, group)
            before = self._measure(surrogates)
            self.last = self._search(problem, before, closure, group)
        return surrogates

    # ------------------------------------------------------------------ the model
    def _model(self, surrogates: Surrogates, group: dict[str, Any]) -> _Problem:
        params: list[nn.Parameter] = group["params"]
        m = len(self.gaps)
        rows = [surrogates.sums[0], *surrogates.sums[2 : 2 + m]]
        slopes = [torch.autograd.grad(row, params, retain_graph=True, allow_unused=True) for row in rows]
        slope = torch.autograd.grad(surrogates.curvature, params, create_graph=True)
        flat = torch.cat([part.reshape(-1) for part in slope])
        counts = flat.new_tensor([surrogates.count, surrogates.curvature_count])
        packed = torch.cat([_flat(row, params) for row in slopes] + [counts])
        packed = self.reduce(packed)
        samples, curvature_samples = packed[-2], packed[-1]
        gradients = packed[:-2].view(1 + m, -1) / samples

        self._products = 0

        def fisher(vectors: Tensor) -> Tensor:
            self._products += len(vectors)
            rows = [torch.autograd.grad(flat, params, vector, retain_graph=True) for vector in vectors]
            return self.reduce(torch.stack([_flat(row, params) for row in rows])) / curvature_samples

        probes = _signs(gradients)
        diagonal = float(dots(probes, fisher(probes)).mean()) / gradients.shape[1]
        damping = self.settings.damping * diagonal

        def product(vectors: Tensor) -> Tensor:
            image: Tensor = fisher(vectors) + damping * vectors
            return image

        start = parameters_to_vector(params).detach().clone()

        def invert(rows: Tensor) -> Tensor:
            vector_to_parameters(start, params)  # the kept graph reads the parameters as they stand
            return conjugate_gradient(product, rows, self.settings.cg_iterations, self.settings.cg_tolerance)[0]

        return _Problem(self.solver, invert, start, gradients, self.gaps)

    def _measure(self, surrogates: Surrogates) -> Floats:
        """(2 + m,) means over all samples of all processes, in float64."""
        sums = surrogates.sums.detach().double()
        packed = self.reduce(torch.cat((sums, sums.new_tensor([float(surrogates.count)]))))
        return np.asarray((packed[:-1] / packed[-1]).cpu().numpy(), dtype=np.float64)

    # ------------------------------------------------------------------ the search
    def _search(
        self, problem: _Problem, before: Floats, closure: Callable[[], Surrogates], group: dict[str, Any]
    ) -> Update:
        """Find the step whose measured KL is the target and whose measured costs keep to the limits.

        The first trials solve again: with a radius that brings the measured KL to the target, and, where that holds
        but a cost is still too high, with that constraint tightened by what was missed. If none of them is good, the
        first step is shortened until one is.
        """
        target = float(group["lr"])
        radius, gaps = _Radius(target), problem.gaps
        step, move = problem.step(target, gaps)
        first = move
        update = Update(step.case, multipliers=step.multipliers.tolist(), unusable=step.unusable.tolist())
        limits = _Limits(step, problem.gaps, target)
        best: _Trial | None = None
        for _ in range(self.settings.corrections):
            trial = self._try(problem, move, before, closure, group)
            update.trials += 1
            if limits.allow(trial) and (best is None or trial.kl > best.kl):
                best = trial
            if best is not None and best.kl >= 0.9 * target:
                break
            missed = limits.missed(trial)
            if missed.any():
                gaps = gaps + 1.2 * missed
            delta = radius.after(trial.kl if trial.finite else np.inf)
            old, move = move, problem.step(delta, gaps)[1]
            if torch.equal(old, move):  # the constraints alone decide the step
                break
        for number in range(self.settings.backtracks if best is None else 0):
            trial = self._try(problem, first * self.settings.shrink ** (2 * number + 1), before, closure, group)
            update.trials += 1
            if limits.allow(trial):
                best = trial
                break
        vector_to_parameters(problem.start if best is None else problem.start + best.move, group["params"])
        if best is not None:
            update.accepted, update.kl, update.kl_share = True, best.kl, best.kl / target
            update.reward_gain, update.cost_changes = best.reward, best.costs.tolist()
        else:
            update.cost_changes = [0.0] * len(gaps)
        update.products = self._products
        return update

    def _try(
        self, problem: _Problem, move: Tensor, before: Floats, closure: Callable[[], Surrogates], group: dict[str, Any]
    ) -> _Trial:
        vector_to_parameters(problem.start + move, group["params"])
        with torch.no_grad():
            change = self._measure(closure()) - before
        return _Trial(move, float(change[1]), float(change[0]), change[2 : 2 + len(problem.gaps)])


def _flat(parts: Iterable[Tensor | None], params: list[nn.Parameter]) -> Tensor:
    """(P,); a parameter that a row does not depend on counts as 0."""
    pairs = zip(parts, params, strict=True)
    return torch.cat([(torch.zeros_like(p) if part is None else part).reshape(-1) for part, p in pairs])


def _signs(like: Tensor, probes: int = 4) -> Tensor:
    """(probes, P) of +1 and -1, the same at each update: z'Fz estimates the trace of F (Hutchinson 1990)."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (probes, like.shape[1]), generator=generator)
    return (2 * signs - 1).to(like)
