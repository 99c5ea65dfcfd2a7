"""The exact step against closed forms, other solvers, and the conditions of optimality."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize, nnls

from lit_models.cpo.trust_region import MOST_CONSTRAINTS, conjugate_gradient, solve


def problem(rng, constraints, size=None):
    size = size or int(rng.integers(constraints + 1, 12))
    g = rng.normal(size=size)
    b = rng.normal(size=(size, constraints)) * 10 ** rng.uniform(-2, 2, size=constraints)
    delta = 10 ** rng.uniform(-4, -1)
    c = rng.normal(size=constraints) * np.sqrt(2 * delta) * np.linalg.norm(b, axis=0)
    return g, b, c, delta


def step_of(g, b, c, delta):
    step = solve(g @ g, b.T @ g, b.T @ b, c, delta)
    return step, step.along_reward * g + b @ step.along_costs


def closed_form(g, b, c, delta):
    """One constraint, H = I (facts of the field: the step onto the boundary and along it)."""
    q, s, r = g @ g, b @ b, g @ b
    if c > 0 and c * c / s > 2 * delta:
        return -np.sqrt(2 * delta / s) * b
    step = np.sqrt(2 * delta / q) * g
    if c + b @ step <= 0:
        return step
    return -(c / s) * b + np.sqrt((2 * delta - c * c / s) / (q - r * r / s)) * (g - (r / s) * b)


def by_bisection(g, b, c, delta):
    """Another algorithm: for a fixed price of KL the problem is a non-negative least squares; search the price."""
    s = b.T @ b + 1e-14 * np.eye(len(c))
    root = np.linalg.cholesky(s).T

    def step(price):
        nu = nnls(root, np.linalg.solve(root.T, b.T @ g + price * c))[0]
        return (g - b @ nu) / price

    price = np.exp(brentq(lambda x: np.log(step(np.exp(x)) @ step(np.exp(x)) / (2 * delta)), -25, 25, xtol=1e-14))
    return step(price)


@pytest.mark.parametrize("seed", range(3))
def test_one_constraint_equals_the_closed_form(seed):
    rng = np.random.default_rng(seed)
    seen = set()
    for _ in range(2000):
        g, b, c, delta = problem(rng, 1)
        step, x = step_of(g, b, c, delta)
        seen.add(step.case)
        expected = closed_form(g, b[:, 0], c[0], delta)
        assert np.linalg.norm(x - expected) <= 1e-6 * np.linalg.norm(expected)
        assert x @ x <= 2 * delta * (1 + 1e-9)
        assert step.case == "infeasible" or c[0] + b[:, 0] @ x <= 1e-8
    assert seen == {"inactive", "boundary", "recovery", "infeasible"}


@pytest.mark.parametrize("constraints", [2, 3, 5])
def test_several_constraints_equal_another_algorithm(constraints):
    rng = np.random.default_rng(constraints)
    compared = 0
    for _ in range(300):
        g, b, c, delta = problem(rng, constraints)
        step, x = step_of(g, b, c, delta)
        assert x @ x <= 2 * delta * (1 + 1e-9)
        if step.case == "infeasible":
            continue
        assert (c + b.T @ x).max() <= 1e-8
        expected = by_bisection(g, b, c, delta)
        assert np.linalg.norm(x - expected) <= 1e-6 * np.linalg.norm(expected)
        compared += 1
    assert compared > 50


def test_two_constraints_equal_a_general_solver():
    rng = np.random.default_rng(7)
    for _ in range(60):
        g, b, c, delta = problem(rng, 2, size=4)
        step, x = step_of(g, b, c, delta)
        if step.case == "infeasible":
            continue
        found = minimize(
            lambda z, g=g: -(g @ z),
            x + 1e-3 * rng.normal(size=4),
            constraints=[
                {"type": "ineq", "fun": lambda z, b=b, c=c: -(c + b.T @ z)},
                {"type": "ineq", "fun": lambda z, delta=delta: 2 * delta - z @ z},
            ],
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 300},
        )
        assert g @ x >= g @ found.x - 1e-6 * abs(g @ x)


def test_the_multipliers_say_what_a_constraint_is_worth():
    """Loosening an active limit by e gains e * nu to first order: the meaning of a multiplier."""
    rng = np.random.default_rng(3)
    checked = 0
    while checked < 20:
        g, b, c, delta = problem(rng, 2)
        step, x = step_of(g, b, c, delta)
        if step.case == "infeasible" or not step.multipliers.any():
            continue
        i = int(step.multipliers.argmax())
        e = 1e-6 * abs(c[i])
        looser = c.copy()
        looser[i] -= e
        _, better = step_of(g, b, looser, delta)
        assert (g @ better - g @ x) / e == pytest.approx(step.multipliers[i], rel=1e-2)
        checked += 1


def test_when_no_step_keeps_the_limits_it_goes_towards_the_nearest_point_that_would():
    b = np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    c = np.array([3.0, 8.0])  # the nearest feasible point is (-3, -4, 0)
    step, x = step_of(np.array([5.0, 5.0, 5.0]), b, c, delta=0.5)
    assert step.case == "infeasible"
    np.testing.assert_allclose(x, [-0.6, -0.8, 0.0], atol=1e-9)


def test_a_gap_of_exactly_zero_moves_along_the_boundary():
    step, x = step_of(np.array([1.0, 1.0]), np.array([[1.0], [0.0]]), np.array([0.0]), delta=0.5)
    assert step.case == "boundary"
    np.testing.assert_allclose(x, [0.0, 1.0], atol=1e-12)


@pytest.mark.parametrize("gap", [-1.0, 0.0, 1.0])
def test_a_cost_without_gradient_is_left_out_and_reported(gap):
    g = np.array([3.0, 4.0])
    step, x = step_of(g, np.zeros((2, 1)), np.array([gap]), delta=0.5)
    np.testing.assert_allclose(x, [0.6, 0.8])
    assert step.unusable.tolist() == [True]


def test_the_same_constraint_twice_changes_nothing():
    rng = np.random.default_rng(5)
    for _ in range(100):
        g, b, c, delta = problem(rng, 1)
        _, once = step_of(g, b, c, delta)
        _, twice = step_of(g, np.hstack([b, b]), np.array([c[0], c[0]]), delta)
        np.testing.assert_allclose(twice, once, rtol=1e-5, atol=1e-9 * np.linalg.norm(once))


def test_opposite_constraints_that_no_point_satisfies_are_infeasible():
    b = np.array([[1.0, -1.0], [0.0, 0.0]])
    step, x = step_of(np.array([0.0, 1.0]), b, np.array([1.0, 1.0]), delta=0.5)
    assert step.case == "infeasible"
    np.testing.assert_array_equal(x, 0.0)
    aslant = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]])  # a third one can still be helped
    step, x = step_of(np.array([0.0, 1.0]), aslant, np.array([1.0, 1.0, 1.0]), delta=0.5)
    np.testing.assert_allclose(x, [0.0, -1.0], atol=1e-9)


def test_without_constraints_it_is_the_natural_gradient_step():
    g = np.array([3.0, 4.0])
    _, x = step_of(g, np.zeros((2, 0)), np.zeros(0), delta=0.02)
    np.testing.assert_allclose(x, np.sqrt(2 * 0.02) * g / 5.0)


def test_bad_problems_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        solve(float("nan"), np.zeros(1), np.eye(1), np.zeros(1), 0.01)
    with pytest.raises(ValueError, match="delta=0"):
        solve(1.0, np.zeros(1), np.eye(1), np.zeros(1), 0.0)
    many = MOST_CONSTRAINTS + 1
    with pytest.raises(ValueError, match=f"{many} constraints"):
        solve(1.0, np.zeros(many), np.eye(many), np.zeros(many), 0.01)


def test_conjugate_gradient_solves_several_right_hand_sides_with_one_product_an_iteration():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(30)
    rhs = torch.randn(4, 30, generator=generator, dtype=torch.float64)
    calls = []

    def product(vectors):
        calls.append(len(vectors))
        return vectors @ matrix

    solution, products = conjugate_gradient(product, rhs, iterations=100, tolerance=1e-10)
    torch.testing.assert_close(solution, torch.linalg.solve(matrix, rhs.T).T, rtol=1e-6, atol=1e-8)
    assert len(calls) == products <= 60
    again, products = conjugate_gradient(product, rhs, iterations=100, tolerance=1e-8, start=solution)
    assert products == 1  # a good start needs no iteration
    assert torch.equal(again, solution)


def test_conjugate_gradient_stops_after_its_iterations_and_leaves_zero_columns_alone():
    rhs = torch.stack((torch.ones(5), torch.zeros(5)))
    solution, products = conjugate_gradient(lambda v: v * torch.arange(1.0, 6.0), rhs, iterations=2, tolerance=0.0)
    assert products == 2
    assert torch.equal(solution[1], torch.zeros(5))
    assert solution.isfinite().all()
