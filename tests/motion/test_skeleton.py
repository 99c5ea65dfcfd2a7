import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lit_models.motion.skeleton import MotionLayout

from .bodies import FPS, OFFSETS, PARENTS, SIZES, SKELETON, J, by_loops, layout, motion, normal, rotations

torch.set_num_threads(1)


@pytest.mark.parametrize("kind", ["axis_angle", "rot6d"])
def test_forward_kinematics_equals_scipy_joint_by_joint(kind):
    vectors, root = rotations()
    pose = layout(kind)(motion(kind))
    torch.testing.assert_close(pose.positions, by_loops(vectors, root), atol=1e-12, rtol=0)
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3).numpy()).as_matrix().reshape(pose.rotations.shape)
    np.testing.assert_allclose(pose.rotations.numpy(), matrices, atol=1e-12)
    narrow = layout(kind)(motion(kind).float()).positions
    torch.testing.assert_close(narrow.double(), pose.positions, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_any_tree_in_any_order_of_joints(seed):
    joints, generator = 30, np.random.default_rng(seed)
    parents = [-1, *(int(generator.integers(0, j)) for j in range(1, joints))]
    skeleton = {"names": [f"j{j}" for j in range(joints)], "parents": parents, "up": "z", "feet": []}
    skeleton["offsets"] = generator.normal(size=(joints, 3)).tolist()
    features = {"kind": "axis_angle", "joints": joints, "root": False, "size": 3 * joints, "fps": 30.0}
    vectors = normal(2, 3 * joints, seed=seed)
    found = MotionLayout(skeleton, features)(vectors).positions
    for t in range(2):
        turned, place = [], []
        for j, parent in enumerate(parents):
            local = Rotation.from_rotvec(vectors[t, 3 * j : 3 * j + 3].numpy())
            place.append(np.zeros(3) if j == 0 else place[parent] + turned[parent].apply(skeleton["offsets"][j]))
            turned.append(local if j == 0 else turned[parent] * local)
        np.testing.assert_allclose(found[t].numpy(), np.array(place), atol=1e-10)


def test_positions_are_read_as_they_are():
    features = motion("positions")
    pose = layout("positions")(features)
    assert torch.equal(pose.positions.flatten(2), features)
    assert pose.rotations is None


@pytest.mark.parametrize("kind", ["axis_angle", "rot6d"])
def test_without_a_root_the_root_stays_at_the_origin(kind):
    features = motion(kind)
    still = layout(kind, root=False)(features[..., :-3]).positions
    moving = layout(kind)(features).positions
    torch.testing.assert_close(still, moving - moving[..., :1, :])
    assert not torch.allclose(still, moving)


def test_gram_schmidt_takes_any_pair_of_columns():
    features = motion("rot6d") + 0.2 * normal(3, 24, SIZES["rot6d"], seed=9)
    rotation = layout("rot6d")(features).rotations
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    assert (torch.linalg.det(rotation) > 0).all()
    first = torch.nn.functional.normalize(features[..., :-3].reshape(3, 24, J, 6)[..., :3], dim=-1)
    torch.testing.assert_close(rotation[..., 0], first)


def test_humanml3d_walks_by_its_turns_and_steps():
    features = motion("humanml3d", batch=1)
    found = layout("humanml3d")(features).positions[0].numpy()
    place, facing = np.zeros(3), Rotation.identity()
    for t, row in enumerate(features[0].numpy()):
        place[1] = row[3]
        local = np.concatenate([[[0, 0, 0]], row[4 : 1 + 3 * J].reshape(-1, 3) - [0, row[3], 0]])
        np.testing.assert_allclose(found[t], place + facing.apply(local), atol=1e-12)
        facing = Rotation.from_rotvec([0, -2 * row[0], 0]) * facing
        place += facing.apply([row[1], 0, row[2]])


def test_velocities_of_the_root_add_up_step_by_step():
    features, (vectors, _) = motion("rot6d_velocity", batch=2), rotations(batch=2)
    body = layout("rot6d_velocity")
    pose = body(features)
    for b in range(2):
        place, heading = np.zeros(3), Rotation.identity()
        for t, (turn, left, ahead, height) in enumerate(features[b, :, -4:].numpy()):
            if t:
                heading = Rotation.from_rotvec([0, turn / FPS, 0]) * heading
                place += heading.apply([left / FPS, 0, ahead / FPS])
            place[1] = height
            turned = vectors[b : b + 1, t : t + 1].clone()
            turned[0, 0, 0] = torch.from_numpy((heading * Rotation.from_rotvec(vectors[b, t, 0].numpy())).as_rotvec())
            there = by_loops(turned, torch.from_numpy(place)[None, None])[0, 0]
            torch.testing.assert_close(pose.positions[b, t], there, atol=1e-12, rtol=0)
            matrix = Rotation.from_rotvec(turned[0, 0, 0].numpy()).as_matrix()
            np.testing.assert_allclose(pose.rotations[b, t, 0].numpy(), matrix, atol=1e-12)
    torch.testing.assert_close(body.positions(features), pose.positions, atol=1e-12, rtol=0)
    torch.testing.assert_close(pose.rotations[:, :, 1:], layout("rot6d")(motion("rot6d", batch=2)).rotations[:, :, 1:])


def test_no_length_of_a_bone_depends_on_rotations():
    body = layout("axis_angle")
    found = torch.linalg.vector_norm(body.bones(body(motion("axis_angle")).positions), dim=-1)
    torch.testing.assert_close(found, body.bone_lengths.expand_as(found))
    assert [PARENTS[j] for j in (1, 4)] == body.bone_parent[[0, 3]].tolist()


def test_gradients_are_finite_at_rest():
    for kind, rest in (("axis_angle", [0.0] * 3), ("rot6d", [1.0, 0, 0, 0, 1, 0]), ("rot6d", [0.0] * 6)):
        features = torch.tensor([rest * J + [0.0] * 3], requires_grad=True)
        layout(kind)(features).positions.sum().backward()
        assert features.grad.isfinite().all()


def test_kinematics_keep_their_precision_under_autocast():
    body, features = layout("axis_angle"), motion("axis_angle").float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(body(features).positions, body(features).positions.float())
        torch.testing.assert_close(body(features).positions.double(), by_loops(*rotations()), atol=1e-5, rtol=0)


def test_a_checkpoint_keeps_nothing_of_it():
    assert not layout().state_dict()


@pytest.mark.parametrize(
    ("change", "features", "message"),
    [
        ({"parents": [-1, 2, 1, 0, 3, 0, 5, 1, 1]}, {}, r"parents\[1\]=2 \('spine'\)"),
        ({"parents": [0, *PARENTS[1:]]}, {}, r"parents\[0\]=0"),
        ({"offsets": OFFSETS[:-1]}, {}, "offsets has 8 entries for 9 names"),
        ({"up": "x"}, {}, "up='x'"),
        ({"feet": ["toe"]}, {}, "joints toe are not"),
        ({}, {"kind": "euler"}, "kind='euler'"),
        ({"up": "z"}, {"kind": "rot6d_velocity", "size": 6 * J + 4}, "up has to be 'y'"),
        ({}, {"size": 28}, "has 27 columns"),
        ({}, {"joints": 8}, "skeleton of 9 joints"),
    ],
)
def test_what_does_not_fit_is_named(change, features, message):
    fine = {"kind": "positions", "joints": J, "root": True, "size": 3 * J, "fps": FPS}
    MotionLayout(SKELETON, fine)
    with pytest.raises(ValueError, match=message):
        MotionLayout(SKELETON | change, fine | features)


@pytest.mark.parametrize("kind", SIZES)
def test_another_number_of_columns_is_refused(kind):
    for decode in (layout(kind), layout(kind).positions):
        with pytest.raises(ValueError, match="motion has 400 columns"):
            decode(torch.zeros(2, 3, 400))
