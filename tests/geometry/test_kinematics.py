"""One forward kinematics: against SciPy a body at a time, in both forms of rotations, and as every side uses it."""

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from datamodules.envs.rigid_body import Links, SerialChain
from datamodules.motion.skeleton import Skeleton, layout
from datamodules.robots.kinematics import KinematicTree, g1
from lit_models.motion.skeleton import MotionLayout
from litmotif.errors import DataError
from litmotif.geometry.kinematics import Tree, check_tree, depths, local_rotations, tree_of
from litmotif.geometry.limbs import middle_joint

from ..trajectories.robots import normal, unit

CLOSE = {"rtol": 0, "atol": 1e-12}


def random_tree(seed, bodies=25):
    generator = np.random.default_rng(seed)
    return [-1, *(int(generator.integers(max(0, j - 6), j)) for j in range(1, bodies))]


def by_scipy(parents, root, rotations, offsets):
    places, turns = [root.numpy()], [Rotation.from_quat(rotations[0].numpy())]
    for body, parent in enumerate(parents[1:], start=1):
        places.append(places[parent] + turns[parent].apply(offsets[body].numpy()))
        turns.append(turns[parent] * Rotation.from_quat(rotations[body].numpy()))
    return np.stack(places), np.stack([turn.as_matrix() for turn in turns])


@pytest.mark.parametrize("seed", range(4))
def test_any_tree_in_quaternions_and_in_matrices_is_scipys(seed):
    parents = random_tree(seed)
    root, rotations, offsets = normal(2, 3, seed=seed), unit(2, 25, seed=seed), normal(2, 25, 3, seed=seed + 1)
    tree, matrices = Tree(parents), roma.unitquat_to_rotmat(rotations)
    places, turns = tree(root, rotations, offsets)
    for row in range(2):
        expected, orientations = by_scipy(parents, root[row], rotations[row], offsets[row])
        np.testing.assert_allclose(places[row], expected, **CLOSE)
        np.testing.assert_allclose(roma.unitquat_to_rotmat(turns[row]), orientations, **CLOSE)
    others = tree(root, matrices, offsets)
    torch.testing.assert_close(others[0], places, **CLOSE)
    torch.testing.assert_close(others[1], roma.unitquat_to_rotmat(turns), **CLOSE)
    for form in (rotations, matrices):
        inner = form[:, tree.inner.tolist()]
        torch.testing.assert_close(tree.positions(root, inner, offsets), places, **CLOSE)
    torch.testing.assert_close(local_rotations(parents, turns), rotations, **CLOSE)
    assert depths(parents) == [len(ancestors(parents, body)) for body in range(25)]
    assert not tree.state_dict()


def ancestors(parents, body):
    return [] if parents[body] < 0 else [parents[body], *ancestors(parents, parents[body])]


def test_every_side_of_the_house_places_the_same_bodies():
    """Ball joints of data, hinges of a robot, columns of a model and a chain of dynamics: one arm, one pose."""
    axes, step = ["z", "y", "-x", "y"], [0.1, 0.4, 0.3, 0.2]
    angles = normal(4)
    signed = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64) * angles
    about = torch.eye(3, dtype=torch.float64)[["xyz".index(axis[-1]) for axis in axes]]
    local = [roma.identity_quat(dtype=torch.float64)]
    local += list(roma.rotvec_to_unitquat(signed[:, None] * about))
    parents, rotations = [-1, 0, 1, 2, 3, 4], torch.stack([*local, local[0]])
    offsets = torch.tensor([[0.0, 0, 0], [0, 0, 0], *([0.0, 0, length] for length in step)], dtype=torch.float64)
    nowhere = torch.zeros(3, dtype=torch.float64)
    names = list("abcdef")
    expected = tree_of(tuple(parents)).positions(nowhere, rotations[:5], offsets)

    skeleton = Skeleton(names, parents, offsets)
    torch.testing.assert_close(skeleton.forward(nowhere, rotations), expected, **CLOSE)
    torch.testing.assert_close(skeleton.orientations(rotations)[-1], skeleton.orientations(rotations)[-2], **CLOSE)

    features = {"kind": "axis_angle", "joints": 6, "root": True, "size": 21, "fps": 20.0}
    columns = torch.cat((roma.unitquat_to_rotvec(rotations).flatten(), nowhere))[None]
    model = MotionLayout(skeleton.plain, features)
    torch.testing.assert_close(model(columns).positions[0], expected, **CLOSE)
    torch.testing.assert_close(model.positions(columns)[0], expected, **CLOSE)

    hinges = [
        [],
        *([{"name": f"j{n}", "axis": np.eye(3)["xyz".index(a[-1])].tolist()}] for n, a in enumerate(axes)),
        [],
    ]
    above = [None, *names[:-1]]
    robot = KinematicTree(
        [
            {"name": name, "parent": parent, "pos": pos, "joints": joints}
            for name, parent, pos, joints in zip(names, above, offsets.tolist(), hinges, strict=True)
        ]
    )
    torch.testing.assert_close(robot.forward(nowhere, rotations[0], signed)[0], expected, **CLOSE)

    one = torch.ones(4, 1, dtype=torch.float64)
    length = torch.tensor(step, dtype=torch.float64)[None, :, None]
    links = Links(one, length, length / 2, one, one[None], one)
    pose = SerialChain(axes, spans="z").pose(links, angles[:, None])
    torch.testing.assert_close(pose.hinge[..., 0].T, expected[1:5], **CLOSE)
    torch.testing.assert_close(pose.tip[:, 0], expected[5], **CLOSE)
    turns = roma.unitquat_to_rotmat(skeleton.orientations(rotations)[1:5])  # (4, 3, 3)
    torch.testing.assert_close(pose.frame[..., 0].permute(2, 1, 0), turns, **CLOSE)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_kinematics_go_where_the_poses_are():
    pose = [normal(4, 3), unit(4), normal(4, 29)]
    for here, there in zip(g1().forward(*pose), g1().forward(*(part.cuda() for part in pose)), strict=True):
        torch.testing.assert_close(there.cpu(), here, **CLOSE)
    skeleton, turns = layout("humanml3d"), unit(4, 22)
    there = skeleton.forward(pose[0].cuda(), turns.cuda())
    torch.testing.assert_close(there.cpu(), skeleton.forward(pose[0], turns), **CLOSE)


@pytest.mark.parametrize(
    ("names", "parents", "message"),
    [
        ("abc", [-1, 2, 0], r"parents\[1\]=2 \('b'\)"),
        ("abc", [0, 0, 1], r"parents\[0\]=0 \('a'\)"),
        ("abc", [-1, -1, 1], r"parents\[1\]=-1 \('b'\)"),
        ("abb", [-1, 0, 1], "two parts are called b"),
        ("ab", [-1, 0, 1], "3 entries for 2 names"),
        ("", [], "0 entries for 0 names"),
    ],
)
def test_what_is_no_tree_is_named(names, parents, message):
    with pytest.raises(DataError, match=message):
        check_tree(list(names), parents)


def test_two_bones_keep_their_lengths_and_reach_the_ankle():
    along = torch.nn.functional.normalize(normal(50, 3), dim=-1)
    aside = torch.nn.functional.normalize(torch.linalg.cross(along, normal(50, 3, seed=1)), dim=-1)
    length = 0.2 + 0.5 * torch.rand(50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    knee = middle_joint(0.4, 0.35, along, length, aside)
    torch.testing.assert_close(knee.norm(dim=-1), torch.full((50,), 0.4, dtype=torch.float64), **CLOSE)
    shank = (length * along - knee).norm(dim=-1)
    torch.testing.assert_close(shank, torch.full((50,), 0.35, dtype=torch.float64), **CLOSE)
    assert ((knee * aside).sum(dim=-1) > 0).all()
    straight = middle_joint(0.4, 0.35, along, torch.full((50, 1), 0.9, dtype=torch.float64), aside)
    torch.testing.assert_close(straight, 0.4 * along, **CLOSE)
