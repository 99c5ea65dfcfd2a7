"""Blending and projection against scipy and against the laws of projections."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from datamodules.envs.shared_control import blend, project


def polytopes(channels, faces, n, seed=0, inside=True):
    """Random commands and half-spaces; with ``inside`` the origin is feasible, so none is empty."""
    g = torch.Generator().manual_seed(seed)
    command = 2.0 * torch.randn(channels, n, generator=g)
    corner = torch.eye(channels).repeat(faces, 1)[:faces, :, None]  # for C > 2 no faces that are nearly parallel
    normals = torch.randn(faces, channels, n, generator=g) * (1.0 if channels == 2 else 0.3) + corner * (channels > 2)
    offsets = torch.rand(faces, n, generator=g) if inside else torch.randn(faces, n, generator=g)
    return command, normals, offsets


def violation(point, normals, offsets):
    return ((normals * point).sum(1) - offsets).amax(0)


def test_blend_is_the_convex_combination():
    human, robot, authority = torch.randn(3, 7), torch.randn(3, 7), torch.rand(7)
    torch.testing.assert_close(blend(human, robot, authority), (1 - authority) * human + authority * robot)
    assert torch.equal(blend(human, robot, torch.zeros(7)), human)
    assert torch.equal(blend(human, robot, torch.ones(7)), robot)


@pytest.mark.parametrize(("channels", "faces"), [(2, 1), (2, 3), (2, 6), (1, 2), (3, 4), (5, 6)])
def test_nearest_feasible_point_as_scipy_finds_it(channels, faces):
    command, normals, offsets = polytopes(channels, faces, 40)
    ours = project(command.double(), normals.double(), offsets.double(), tolerance=1e-9)
    for i in range(40):
        c, a, b = command[:, i].double().numpy(), normals[..., i].double().numpy(), offsets[:, i].double().numpy()
        law = {"type": "ineq", "fun": lambda x, a=a, b=b: b - a @ x, "jac": lambda x, a=a: -a}
        best = minimize(
            lambda x, c=c: ((x - c) ** 2).sum(),
            np.zeros(channels),
            jac=lambda x, c=c: 2 * (x - c),
            method="SLSQP",
            constraints=law,
            options={"ftol": 1e-14, "maxiter": 500},
        )
        np.testing.assert_allclose(ours[:, i].numpy(), best.x, atol=2e-5)


@pytest.mark.parametrize(("channels", "faces"), [(2, 6), (3, 4)])
def test_laws_of_projections(channels, faces):
    command, normals, offsets = polytopes(channels, faces, 2000, seed=1)
    other = command + torch.randn(channels, 2000, generator=torch.Generator().manual_seed(2))
    one, two = project(command, normals, offsets), project(other, normals, offsets)
    assert violation(one, normals, offsets).max() < 1e-4  # feasible
    torch.testing.assert_close(project(one, normals, offsets), one, atol=1e-4, rtol=1e-4)  # idempotent
    assert ((one - two).norm(dim=0) <= (command - other).norm(dim=0) + 1e-4).all()  # never moves two points apart
    inside = violation(command, normals, offsets) <= 0
    assert inside.any()
    assert torch.equal(one[:, inside], command[:, inside])  # what is safe stays


def test_a_row_of_a_batch_is_what_it_is_alone():
    command, normals, offsets = polytopes(2, 5, 9)
    together = project(command, normals, offsets)
    for i in range(9):
        alone = project(command[:, i : i + 1], normals[..., i : i + 1], offsets[:, i : i + 1])
        torch.testing.assert_close(together[:, i : i + 1], alone)


def test_equal_parallel_and_zero_constraints():
    command = torch.tensor([[3.0], [4.0]])
    normals = torch.tensor([[[1.0], [0.0]], [[1.0], [0.0]], [[-2.0], [0.0]], [[0.0], [0.0]]])
    offsets = torch.tensor([[1.0], [1.0], [2.0], [7.0]])  # -1 <= x <= 1, twice; 0 <= 7
    assert project(command, normals, offsets).flatten().tolist() == [1.0, 4.0]
    assert torch.equal(project(command, normals[:0], offsets[:0]), command)


def test_of_an_empty_set_the_least_violation_among_the_candidates():
    command = torch.tensor([[5.0], [0.0]])
    normals = torch.tensor([[[1.0], [0.0]], [[-3.0], [0.0]]])  # x <= -1 and 3 x >= 6
    offsets = torch.tensor([[-1.0], [-6.0]])
    assert project(command, normals, offsets)[0].item() in (-1.0, 2.0)  # 3 off the other side; the command is 6 off
