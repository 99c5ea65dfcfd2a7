"""The trust-region step on random problems: violations, radius, and distance from optima found by other algorithms.

    python benchmarks/cpo_solver.py

One constraint: against the closed form. Two and three: against a search over the price of KL whose inner problem is a
non-negative least squares (scipy.optimize.nnls). Other rows run the one-constraint formulas of OmniSafe 0.5.0, written
from their description (reward term of the dual with the sign of a descent gradient, intervals projected by clamping),
on the same problems.
"""

import argparse

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import brentq, nnls

from lit_models.cpo.trust_region import solve

Vector = np.ndarray


def draw(rng: np.random.Generator, constraints: int) -> tuple[Vector, Vector, Vector, float]:
    """g, B, c, delta with H = I; the scales of the constraints differ by up to 1e4."""
    size = int(rng.integers(constraints + 1, 20))
    g, b = rng.normal(size=size), rng.normal(size=(size, constraints)) * 10 ** rng.uniform(-2, 2, constraints)
    delta = 10 ** rng.uniform(-4, -1)
    c = rng.normal(size=constraints) * np.sqrt(2 * delta) * np.linalg.norm(b, axis=0)
    return g, b, c, delta


def exact(g: Vector, b: Vector, c: Vector, delta: float) -> tuple[str, Vector]:
    """Litmotif's step."""
    step = solve(g @ g, b.T @ g, b.T @ b, c, delta)
    return step.case, step.along_reward * g + b @ step.along_costs


def closed_form(g: Vector, b: Vector, c: Vector, delta: float) -> Vector:
    """One constraint."""
    b, c = b[:, 0], c[0]
    q, s, r = g @ g, b @ b, g @ b
    if c > 0 and c * c / s > 2 * delta:
        return -np.sqrt(2 * delta / s) * b
    step = np.sqrt(2 * delta / q) * g
    if c + b @ step <= 0:
        return step
    return -(c / s) * b + np.sqrt((2 * delta - c * c / s) / (q - r * r / s)) * (g - (r / s) * b)


def by_search(g: Vector, b: Vector, c: Vector, delta: float) -> Vector:
    """Several constraints."""
    root = np.linalg.cholesky(b.T @ b).T

    def step(price: float) -> Vector:
        return (g - b @ nnls(root, np.linalg.solve(root.T, b.T @ g + price * c))[0]) / price

    return step(np.exp(brentq(lambda x: np.log(step(np.exp(x)) @ step(np.exp(x)) / (2 * delta)), -30, 30, xtol=1e-15)))


def other_formulas(g: Vector, b: Vector, c: Vector, delta: float) -> Vector:
    """Sign of r as for a descent gradient; torch-like clamping, which returns the upper bound of an empty interval."""
    b, c = b[:, 0], c[0]
    q, s, r = g @ g, b @ b, g @ b
    a, room = q - r * r / s, 2 * delta - c * c / s
    if c < 0 and room < 0:
        return np.sqrt(2 * delta / q) * g
    if c >= 0 and room < 0:
        return -np.sqrt(2 * delta / s) * b
    switch = r / c
    inner, outer = ((0.0, switch), (switch, np.inf)) if c < 0 else ((switch, np.inf), (0.0, switch))
    lam_a, lam_b = (
        min(max(x, low), high) for x, (low, high) in ((np.sqrt(a / room), inner), (np.sqrt(q / (2 * delta)), outer))
    )
    gain_a = -0.5 * (a / (lam_a + 1e-8) + room * lam_a) - r * c / (s + 1e-8)
    gain_b = -0.5 * (q / (lam_b + 1e-8) + 2 * delta * lam_b)
    lam = lam_a if gain_a >= gain_b else lam_b
    nu = max(0.0, lam * c - r) / (s + 1e-8)
    return (g - nu * b) / (lam + 1e-8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=100_000, help="with one constraint; a tenth with two, three")
    args = parser.parse_args()
    table = Table(title="The trust-region step")
    for column in (
        "step",
        "constraints",
        "case",
        "problems",
        "violated > 1e-8",
        "KL / target, most",
        "distance, most",
        "median",
    ):
        table.add_column(column, justify="right")
    for constraints in (1, 2, 3):
        rng = np.random.default_rng(constraints)
        rows: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
        count = args.problems if constraints == 1 else args.problems // 10
        for _ in track(range(count), f"{constraints} constraints", transient=True):
            g, b, c, delta = draw(rng, constraints)
            case, x = exact(g, b, c, delta)
            reference = closed_form if constraints == 1 else by_search
            optimum = x if case == "infeasible" and constraints > 1 else reference(g, b, c, delta)
            steps = {"litmotif": x} | (
                {"OmniSafe formulas": other_formulas(g, b, c, delta)} if constraints == 1 else {}
            )
            for name, step in steps.items():
                violation = (c + b.T @ step).max() if case != "infeasible" else 0.0
                distance = np.linalg.norm(step - optimum) / np.linalg.norm(optimum)
                rows.setdefault((name, case), []).append((violation, step @ step / (2 * delta), distance))
        for (name, case), values in sorted(rows.items()):
            violation, kl, distance = np.array(values).T
            table.add_row(
                name,
                str(constraints),
                case,
                str(len(values)),
                f"{(violation > 1e-8).mean():.1%}",
                f"{kl.max():.9f}" if kl.max() < 10 else f"{kl.max():.1e}",
                f"{distance.max():.1e}" if case != "infeasible" or constraints == 1 else "—",
                f"{np.median(distance):.1e}" if case != "infeasible" or constraints == 1 else "—",
            )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
