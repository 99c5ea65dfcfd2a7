"""Quaternions against SciPy, and in the corners that SciPy's users do not see."""

import math

import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from datamodules.robots import rotations

from .robots import normal, unit

CLOSE = {"rtol": 0, "atol": 1e-10}


def scipy(q):
    return Rotation.from_quat(q.reshape(-1, 4).numpy(), scalar_first=True)


def same(q, rotation):
    assert (scipy(q) * rotation.inv()).magnitude().max() < 1e-10


def test_product_rotation_inverse_and_vectors_are_scipys():
    a, b, v = unit(200, seed=1), unit(200, seed=2), normal(200, 3, seed=3)
    same(rotations.multiply(a, b), scipy(a) * scipy(b))
    same(rotations.conjugate(a), scipy(a).inv())
    torch.testing.assert_close(rotations.rotate(a, v), torch.from_numpy(scipy(a).apply(v.numpy())), **CLOSE)
    torch.testing.assert_close(rotations.to_rotation_vector(a), torch.from_numpy(scipy(a).as_rotvec()), **CLOSE)
    r = normal(200, 3, seed=4) * 3
    same(rotations.from_rotation_vector(r), Rotation.from_rotvec(r.numpy()))


def test_rotate_broadcasts():
    q, v = unit(5), normal(5, 7, 3)
    expected = torch.stack([rotations.rotate(q, v[:, k]) for k in range(7)], dim=1)
    torch.testing.assert_close(rotations.rotate(q[:, None], v), expected, **CLOSE)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 2e-3 + 1e-9, 3.0, math.pi - 1e-9, math.pi])
def test_rotation_vectors_survive_the_round_trip(angle):
    r = torch.nn.functional.normalize(normal(50, 3), dim=-1) * angle
    back = rotations.to_rotation_vector(rotations.from_rotation_vector(r))
    if angle == math.pi:  # both ways round are as short
        back = back * (back * r).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(back, r, rtol=0, atol=1e-9 if angle > 3 else 1e-12)


def test_gradients_exist_at_no_rotation_and_are_one():
    r = torch.zeros(1, 3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: rotations.to_rotation_vector(rotations.from_rotation_vector(x)), r
    )
    torch.testing.assert_close(jacobian.reshape(3, 3), torch.eye(3, dtype=torch.float64))


def test_gradients_are_those_of_differences():
    q = unit(20).requires_grad_()
    assert torch.autograd.gradcheck(rotations.to_rotation_vector, q)
    assert torch.autograd.gradcheck(rotations.yaw, q)


def test_slerp_is_scipys():
    a, b = unit(30, seed=1), unit(30, seed=2)
    for share in (0.0, 0.25, 0.9, 1.0):
        expected = [Slerp([0, 1], Rotation.concatenate([scipy(p), scipy(q)]))(share) for p, q in zip(a, b, strict=True)]
        same(rotations.slerp(a, b, torch.full((30, 1), share, dtype=torch.float64)), Rotation.concatenate(expected))


def test_yaw_is_where_the_x_axis_points_and_a_turn_adds_to_it():
    q, turn = unit(100), normal(100)
    ahead = rotations.rotate(q, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(rotations.yaw(q), torch.atan2(ahead[:, 1], ahead[:, 0]), **CLOSE)
    turned = rotations.yaw(rotations.multiply(rotations.from_yaw(turn), q)) - rotations.yaw(q) - turn
    torch.testing.assert_close(torch.sin(turned / 2), torch.zeros(100, dtype=torch.float64), **CLOSE)


def test_continuous_quaternions_keep_their_rotation_and_lose_their_flips():
    t = torch.linspace(0, 4 * math.pi, 200, dtype=torch.float64)
    smooth = rotations.from_rotation_vector(t[:, None] * torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64))
    flips = torch.where(normal(200, 1) > 0, 1.0, -1.0)
    torch.testing.assert_close(rotations.continuous(smooth * flips), smooth * flips[0], **CLOSE)
