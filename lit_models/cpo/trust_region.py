"""The step of constrained policy optimisation, solved exactly (Achiam et al. 2017, eq. 10-12).

    maximise    g . x
    subject to  c_i + b_i . x <= 0,   i = 1..m
                x' H x / 2 <= delta

g is the ascent gradient of the reward surrogate, b_i the gradient of cost surrogate i, c_i how far cost i is above its
limit in the unit of that surrogate, H the Fisher matrix plus damping. With v = H^-1 g and W = H^-1 B the optimum is a
combination of v and W, so that only the scalars q = g.v, r = B'v, S = B'W enter, all in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import nnls
from torch import Tensor

from litmotif.errors import ArgumentError

Floats = NDArray[np.float64]
Case = Literal["inactive", "boundary", "recovery", "infeasible"]
"""Which step it is.

``inactive``: the plain trust-region step satisfies every constraint. ``boundary``: it does not, the present point does.
``recovery``: the present point violates a constraint and a step inside the region satisfies all. ``infeasible``: none
does; the step goes towards the nearest point that would.
"""

MOST_CONSTRAINTS = 12
_TINY = 1e-12


@dataclass(frozen=True)
class TrustRegionSettings:
    """Trust region of an update, and the search for the best policy within.

    Attributes:
        target_kl: radius: the mean KL from the old policy to the new, nats; ``schedule`` shapes it.
        damping: added to the Fisher matrix, as a fraction of the mean of its diagonal.
        cg_iterations: of conjugate gradient, at most, a solve.
        cg_tolerance: relative residual at which a solve stops.
        fisher_fraction: share of the samples that the Fisher matrix is measured on.
        corrections: trials that solve again with the measured KL and costs in place of the model's.
        backtracks: trials after those: the first step, each time shorter.
        shrink: factor of the length; it grows by its square from one backtrack to the next.

    Raises:
        ValueError: a share out of (0, 1].
    """

    target_kl: float = 0.01
    damping: float = 0.1
    cg_iterations: int = 10
    cg_tolerance: float = 1e-4
    fisher_fraction: float = 0.2
    corrections: int = 6
    backtracks: int = 10
    shrink: float = 0.8

    def __post_init__(self) -> None:
        if not 0.0 < self.fisher_fraction <= 1.0:
            raise ArgumentError(f"trust_region.fisher_fraction={self.fisher_fraction} must be in (0, 1].")


@dataclass(frozen=True)
class Step:
    """The optimum x = ``along_reward`` * v + W @ ``along_costs``.

    Attributes:
        along_reward: coefficient of v = H^-1 g.
        along_costs: (m,) coefficients of W = H^-1 B.
        case: which step it is.
        multipliers: (m,) Lagrange multipliers nu of the constraints, >= 0; 0 where inactive.
        unusable: (m,) bool: the cost gradient vanishes, so that no step can change that cost.
    """

    along_reward: float
    along_costs: Floats
    case: Case
    multipliers: Floats
    unusable: NDArray[np.bool_]


def solve(q: float, r: Floats, s: Floats, c: Floats, delta: float) -> Step:
    """The exact step, for any number of constraints.

    The problem is convex, so that the one set of active constraints whose step satisfies the conditions of Karush,
    Kuhn and Tucker is the optimum. The sets are tried from the smallest to the largest; for each the step is closed:
    with x0 = -W_A S_A^-1 c_A the point of the active planes nearest in the norm of H, and y = v - W_A S_A^-1 r_A the
    ascent direction within them,

        x = x0 + sqrt((2 delta - c_A' S_A^-1 c_A) / (q - r_A' S_A^-1 r_A)) y.

    Args:
        q: g' H^-1 g, >= 0.
        r: (m,) B' H^-1 g.
        s: (m, m) B' H^-1 B, symmetric positive semi-definite.
        c: (m,) constraint gaps; above 0 is a violation.
        delta: radius of the trust region, in KL, > 0.

    Returns:
        The step. A constraint whose gradient vanishes is left out and reported.

    Raises:
        ValueError: not finite, ``delta`` not positive, or more constraints than can be tried.
    """
    r, s, c = (np.asarray(a, dtype=np.float64) for a in (r, s, c))
    m = len(c)
    if not (np.isfinite(q) and all(np.isfinite(a).all() for a in (r, s, c))) or not delta > 0:
        raise ArgumentError(
            f"The trust-region problem is not finite, or delta={delta} is not above 0: q={q}, r={r}, c={c}."
        )
    if m > MOST_CONSTRAINTS:
        raise ArgumentError(f"{m} constraints; at most {MOST_CONSTRAINTS} can be solved exactly. Sum some of them.")
    norms: Floats = np.sqrt(np.maximum(np.diag(s), 0.0)) if m else np.zeros(0)
    usable = norms > 1e-9 * max(norms.max(initial=0.0), np.sqrt(max(q, 0.0)))
    index = np.flatnonzero(usable)
    # in units in which every gradient has length 1 in the norm of H^-1, and the region has radius 1
    length, radius = float(np.sqrt(max(q, _TINY**2))), float(np.sqrt(2.0 * delta))
    unit = norms[index]
    planes = _Planes(
        r[index] / (unit * length), s[np.ix_(index, index)] / np.outer(unit, unit), c[index] / (unit * radius)
    )
    along_reward, along_costs, multipliers, case = planes.optimum()
    if case == "boundary" and (c[index] > 0).any():
        case = "recovery"
    costs, nus = np.zeros(m), np.zeros(m)
    costs[index] = along_costs * radius / unit
    nus[index] = multipliers * length / unit
    return Step(along_reward * radius / length, costs, case, nus, ~usable)


@dataclass(frozen=True)
class _Planes:
    """The problem in unit lengths: maximise e.x with |e| = 1, |x| <= 1, c + a_i.x <= 0 with |a_i| = 1."""

    r: Floats
    """(m,) cosines of the reward gradient with the cost gradients."""
    s: Floats
    """(m, m) cosines among the cost gradients."""
    c: Floats

    def optimum(self) -> tuple[float, Floats, Floats, Case]:
        """Coefficients along the reward and the costs, multipliers, case."""
        m = len(self.c)
        nearest, exists = self.nearest_feasible()
        distance = self._length(nearest)
        if distance > 1.0 or not exists:
            return 0.0, -nearest / distance if distance > _TINY else 0.0 * nearest, nearest, "infeasible"
        best: tuple[float, float, Floats, Floats, Case] | None = None
        for size in range(m + 1):
            for active in combinations(range(m), size):
                found = self.on(list(active))
                if found is None:
                    continue
                along, costs, multipliers = found
                slack = float((self.c + along * self.r + self.s @ costs).max(initial=-np.inf))
                lowest = float(multipliers.min(initial=0.0))
                case: Case = "boundary" if active else "inactive"
                if slack <= 1e-11 and lowest >= -1e-11:
                    return along, costs, multipliers, case
                error = max(slack, -lowest)  # rounding may leave none that is exact: then the one nearest to it
                if best is None or error < best[0]:
                    best = (error, along, costs, multipliers, case)
        assert best is not None  # noqa: S101 (the empty set always gives a candidate)
        return best[1:]

    def on(self, active: list[int]) -> tuple[float, Floats, Floats] | None:
        """The optimum within the planes of ``active``; None where they do not meet the region or are dependent."""
        costs, multipliers = np.zeros(len(self.c)), np.zeros(len(self.c))
        if not active:
            return 1.0, costs, multipliers
        s, r, c = self.s[np.ix_(active, active)], self.r[active], self.c[active]
        try:
            factor = cho_factor(s)
        except LinAlgError:
            return None
        onto_r, onto_c = cho_solve(factor, r), cho_solve(factor, c)
        rest, room = 1.0 - r @ onto_r, 1.0 - c @ onto_c
        if room < 0.0:
            return None
        along = float(np.sqrt(room / rest)) if rest > _TINY else 0.0
        costs[active] = -onto_c - along * onto_r
        multipliers[active] = onto_r + (onto_c / along if along else 0.0)
        return along, costs, multipliers

    def nearest_feasible(self) -> tuple[Floats, bool]:
        """(m,) nu >= 0 for which x = -A nu is the point of the planes' half-spaces nearest to 0.

        Where the half-spaces have no point in common, the direction in which their violations fall, and False.
        """
        m = len(self.c)
        if not m or (self.c <= 0).all():
            return np.zeros(m), True
        root = cholesky(self.s + _TINY * np.eye(m))  # upper: s = root' root
        nu = np.asarray(nnls(root, solve_triangular(root, self.c, trans="T"))[0], dtype=np.float64)
        if (self.c - self.s @ nu).max() <= 1e-6 * np.abs(self.c).max():
            return nu, True
        return np.maximum(self.c, 0.0), False

    def _length(self, nu: Floats) -> float:
        """|A nu|."""
        return float(np.sqrt(max(float(nu @ self.s @ nu), 0.0)))


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], rhs: Tensor, iterations: int, tolerance: float, start: Tensor | None = None
) -> tuple[Tensor, int]:
    """Solve H X = B for several right-hand sides at once (Hestenes and Stiefel 1952).

    Each column has its own step lengths; they share the products with H, one an iteration.

    Args:
        product: takes (k, P) to (k, P): H times each row.
        rhs: (k, P).
        iterations: at most.
        tolerance: stops when every residual is at most this fraction of its right-hand side.
        start: (k, P) first guess; None begins at 0.

    Returns:
        The solution (k, P), and the products used.
    """
    x = torch.zeros_like(rhs) if start is None else start.clone()
    residual = rhs.clone() if start is None else rhs - product(x)
    direction, square = residual.clone(), dots(residual, residual)
    enough = dots(rhs, rhs) * tolerance**2
    used = 0 if start is None else 1
    for _ in range(iterations):
        if bool((square <= enough).all()):
            break
        image = product(direction)
        used += 1
        curvature = dots(direction, image)
        going = (square > enough) & (curvature > 0)
        rate = torch.where(going, square / curvature.where(going, torch.ones_like(curvature)), torch.zeros_like(square))
        x += rate.to(x.dtype).unsqueeze(1) * direction
        residual -= rate.to(x.dtype).unsqueeze(1) * image
        old, square = square, dots(residual, residual)
        ratio = torch.where(going, square / old.where(going, torch.ones_like(old)), torch.zeros_like(square))
        direction = residual + ratio.to(x.dtype).unsqueeze(1) * direction
    return x, used


def dots(one: Tensor, other: Tensor) -> Tensor:
    """(k,) inner products of the rows, in float64."""
    return (one.double() * other.double()).sum(-1)
