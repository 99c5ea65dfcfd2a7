"""Rotations against SciPy, and in the corners that SciPy's users do not see."""

import math

import pytest
import roma
import torch
from scipy.spatial.transform import Rotation, Slerp

from litmotif.geometry import rotations

from ..trajectories.robots import normal, unit

CLOSE = {"rtol": 0, "atol": 1e-10}


def scipy(q):
    return Rotation.from_quat(q.reshape(-1, 4).numpy())


def same(q, rotation):
    assert (scipy(q) * rotation.inv()).magnitude().max() < 1e-10


def test_product_rotation_inverse_and_vectors_of_roma_are_scipys():
    """The conventions on which everything here stands: x y z w, b first in a b, actions into the outer frame."""
    a, b, v = unit(200, seed=1), unit(200, seed=2), normal(200, 3, seed=3)
    same(roma.quat_product(a, b), scipy(a) * scipy(b))
    same(roma.quat_conjugation(a), scipy(a).inv())
    torch.testing.assert_close(roma.quat_action(a, v), torch.from_numpy(scipy(a).apply(v.numpy())), **CLOSE)
    torch.testing.assert_close(roma.unitquat_to_rotvec(a), torch.from_numpy(scipy(a).as_rotvec()), **CLOSE)
    r = normal(200, 3, seed=4) * 3
    for made in (roma.rotvec_to_unitquat(r), rotations.smooth_quaternion(r)):
        same(made, Rotation.from_rotvec(r.numpy()))


def test_actions_and_products_broadcast_over_any_ranks():
    q, v, p = unit(5), normal(5, 7, 3), unit(1)[0]
    expected = torch.stack([roma.quat_action(q, v[:, k]) for k in range(7)], dim=1)
    torch.testing.assert_close(roma.quat_action(q[:, None], v), expected, **CLOSE)
    torch.testing.assert_close(roma.quat_action(q, v[0, 0]), roma.quat_action(q, v[:1, 0].expand(5, 3)), **CLOSE)
    torch.testing.assert_close(roma.quat_product(p, q), roma.quat_product(p.expand(5, 4), q), **CLOSE)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 2e-3 + 1e-9, 3.0, math.pi - 1e-9, math.pi])
@pytest.mark.parametrize("way", [roma.rotvec_to_unitquat, rotations.smooth_quaternion])
def test_rotation_vectors_survive_the_round_trip(way, angle):
    r = torch.nn.functional.normalize(normal(50, 3), dim=-1) * angle
    back = roma.unitquat_to_rotvec(way(r))
    if angle == math.pi:  # both ways round are as short
        back = back * (back * r).sum(-1, keepdim=True).sign()
    torch.testing.assert_close(back, r, rtol=0, atol=1e-9 if angle > 3 else 1e-12)


def test_gradients_exist_at_no_rotation_and_are_one():
    r = torch.zeros(1, 3, dtype=torch.float64)
    for way in (roma.rotvec_to_unitquat, rotations.smooth_quaternion):
        jacobian = torch.autograd.functional.jacobian(lambda x, way=way: roma.unitquat_to_rotvec(way(x)), r)
        torch.testing.assert_close(jacobian.reshape(3, 3), torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.2, 0.25, 1.0, 3.0])
def test_second_derivatives_of_the_heading_are_those_of_differences(angle):
    r = (torch.nn.functional.normalize(normal(4, 3), dim=-1) * angle).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: rotations.heading(rotations.smooth_quaternion(x)), r)


def test_gradients_are_those_of_differences():
    q = unit(20).requires_grad_()
    for what in (rotations.heading, lambda q: rotations.twist("y", q), roma.unitquat_to_rotvec):
        assert torch.autograd.gradcheck(what, q)


def test_slerp_is_scipys():
    a, b = unit(30, seed=1), unit(30, seed=2)
    for share in (0.0, 0.25, 0.9, 1.0):
        expected = [Slerp([0, 1], Rotation.concatenate([scipy(p), scipy(q)]))(share) for p, q in zip(a, b, strict=True)]
        same(rotations.slerp(a, b, torch.full((30, 1), share, dtype=torch.float64)), Rotation.concatenate(expected))


def test_heading_is_where_the_x_axis_points_and_a_turn_adds_to_it():
    q, turn = unit(100), normal(100)
    ahead = roma.quat_action(q, torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(rotations.heading(q), torch.atan2(ahead[:, 1], ahead[:, 0]), **CLOSE)
    turned = rotations.heading(roma.quat_product(rotations.about("z", turn), q)) - rotations.heading(q) - turn
    torch.testing.assert_close(torch.sin(turned / 2), torch.zeros(100, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_axis_by_axis(axis):
    angle, q, place = normal(50) * 2, unit(50), "xyz".index(axis)
    same(rotations.about(axis, angle), Rotation.from_euler(axis, angle.numpy()[:, None]))
    # swing and twist: what is left after the twist has its axis at a right angle
    swing = roma.quat_product(q, roma.quat_conjugation(rotations.about(axis, rotations.twist(axis, q))))
    torch.testing.assert_close(swing[:, place], torch.zeros(50, dtype=torch.float64), **CLOSE)
    mirror = torch.eye(3, dtype=torch.float64)
    mirror[place, place] = -1
    image = mirror @ roma.unitquat_to_rotmat(q) @ mirror
    torch.testing.assert_close(roma.unitquat_to_rotmat(rotations.mirrored(axis, q)), image, **CLOSE)


def test_the_shortest_turn_between_directions_takes_one_to_the_other_about_their_normal():
    one, other = normal(100, 3, seed=1), normal(100, 3, seed=2)
    turn = rotations.between(one, other)
    found = torch.nn.functional.normalize(roma.quat_action(turn, one), dim=-1)
    torch.testing.assert_close(found, torch.nn.functional.normalize(other, dim=-1), **CLOSE)
    angle = torch.acos(torch.nn.functional.cosine_similarity(one, other, dim=-1))
    torch.testing.assert_close(roma.unitquat_to_rotvec(turn).norm(dim=-1), angle, rtol=0, atol=1e-7)
    none = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64).expand(100, 4)
    torch.testing.assert_close(rotations.between(one, -one), none, rtol=0, atol=1e-6)


def test_continuous_quaternions_keep_their_rotation_and_lose_their_flips():
    t = torch.linspace(0, 4 * math.pi, 200, dtype=torch.float64)
    smooth = roma.rotvec_to_unitquat(t[:, None] * torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64))
    flips = torch.where(normal(200, 1) > 0, 1.0, -1.0)
    torch.testing.assert_close(rotations.continuous(smooth * flips), smooth * flips[0], **CLOSE)
    both = torch.stack((smooth * flips, smooth), dim=1)
    torch.testing.assert_close(rotations.continuous(both)[:, 1], smooth, **CLOSE)


def test_six_numbers_are_two_columns_and_any_six_a_rotation():
    matrices = roma.unitquat_to_rotmat(unit(20))
    six = rotations.to_six(matrices)
    torch.testing.assert_close(six, torch.cat((matrices[:, :, 0], matrices[:, :, 1]), dim=1), rtol=0, atol=0)
    torch.testing.assert_close(rotations.from_six(six, epsilon=1e-9), matrices, rtol=0, atol=1e-8)
    skewed = rotations.from_six(normal(20, 6))
    assert (torch.linalg.det(skewed) - 1).abs().max() < 1e-5
    torch.testing.assert_close(skewed @ skewed.mT, torch.eye(3).double().expand(20, 3, 3), rtol=0, atol=1e-5)


def test_planes_turn_as_the_axes_that_they_leave_out():
    v, angle = normal(30, 3), normal(30)
    about_z = roma.quat_action(rotations.about("z", angle), v)
    torch.testing.assert_close(rotations.turned(v[:, :2], angle), about_z[:, :2], **CLOSE)
    about_y = roma.quat_action(rotations.about("y", angle), v)
    torch.testing.assert_close(rotations.turned(v[:, [0, 2]], -angle), about_y[:, [0, 2]], **CLOSE)


def test_wrapped_angles_are_the_same_angles_within_a_half_turn():
    angle = torch.cat((normal(100) * 20, torch.tensor([math.pi, -math.pi, 0.0], dtype=torch.float64)))
    found = rotations.wrapped(angle)
    assert (found >= -math.pi).all()
    assert (found < math.pi).all()
    torch.testing.assert_close(torch.sin((found - angle) / 2), torch.zeros(103, dtype=torch.float64), **CLOSE)
