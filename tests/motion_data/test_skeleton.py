"""Trees, their kinematics, and clips on them."""

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from datamodules.core import DataError
from datamodules.motion.clip import Audio, Clip, common_skeleton
from datamodules.motion.skeleton import Skeleton, layout
from litmotif.geometry.kinematics import local_rotations

from .bodies import by_scipy, motion, relative, rotations_of, seeded, tree

LAYOUTS = {"humanml3d": 22, "smplx": 55, "smplh": 52, "beat": 88, "deepmimic": 15}


@pytest.mark.parametrize("name", LAYOUTS)
def test_kinematics_are_those_of_rotation_matrices(name):
    clip = motion(3, skeleton=layout(name))
    for frame in range(3):
        true = by_scipy(
            clip.skeleton.parents, clip.skeleton.offsets, clip.root_pos[frame].numpy(), rotations_of(clip, frame)
        )
        assert relative(clip.positions[frame], true) < 1e-5


def test_orientations_and_local_rotations_are_inverse_to_each_other():
    skeleton, rotations = tree(), roma.random_unitquat((4, 9), dtype=torch.float64)
    world = skeleton.orientations(rotations)
    torch.testing.assert_close(local_rotations(skeleton.parents, world), rotations, rtol=0, atol=1e-12)
    third = [Rotation.from_quat(rotations[0, joint].numpy()) for joint in (0, 1, 3)]
    found = Rotation.from_quat(world[0, 3].numpy())
    np.testing.assert_allclose(found.as_matrix(), (third[0] * third[1] * third[2]).as_matrix(), atol=1e-12)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_adults_that_stand_symmetric(name):
    skeleton = layout(name)
    assert len(skeleton.names) == LAYOUTS[name]
    still = torch.eye(4, dtype=torch.float64)[3].expand(LAYOUTS[name], 4)
    rest = skeleton.forward(torch.zeros(3, dtype=torch.float64), still)
    feet = [skeleton.names.index(foot) for foot in skeleton.feet]
    assert 0.7 < float(-rest[feet, 1].mean()) < 1.0  # m below the hips
    side = 2 if name == "deepmimic" else 0
    mirrored = rest * torch.tensor([-1.0 if axis == side else 1.0 for axis in range(3)], dtype=torch.float64)
    assert (mirrored[:, None] - rest).norm(dim=2).min(dim=1).values.max() < 1e-6


def test_beat_has_75_joints_and_13_ends_where_its_features_have_them():
    skeleton = layout("beat")
    ends = [joint for joint, name in enumerate(skeleton.names) if name.endswith("_end")]
    assert ends == list(skeleton.leaves)
    assert len(ends) == 13
    firsts = {0: "Hips", 10: "RShoulder", 14: "RHandM1", 42: "LShoulder", 46: "LHandM1", 74: "RUpLeg", 81: "LUpLeg"}
    assert {row: skeleton.names[row] for row in firsts} == firsts


def test_plain_data_is_the_skeleton():
    skeleton = tree()
    assert Skeleton.of(skeleton.plain) == skeleton
    assert all(type(value) in (str, int, float) for offset in skeleton.plain["offsets"] for value in offset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parents": [-1, 0, 5]}, r"skeleton\.parents\[2\]=5 \('c'\)"),
        ({"names": ["a", "b", "b"]}, "two parts are called b"),
        ({"offsets": [[0, 0, 0], [0, 1, 0]]}, r"offsets \(2, 3\)"),
        ({"offsets": [[0, 0, 0], [0, float("nan"), 0], [0, 0, 1]]}, "finite"),
        ({"feet": ["toe"]}, "feet toe"),
        ({"up": "x"}, "up=x"),
    ],
)
def test_no_tree_is_refused(change, message):
    good = {"names": ["a", "b", "c"], "parents": [-1, 0, 1], "offsets": [[0, 0, 0], [0, 1, 0], [0, 0, 1]]}
    Skeleton.of(good)
    with pytest.raises(DataError, match=message):
        Skeleton.of(good | change)
    with pytest.raises(DataError, match="parents missing"):
        Skeleton.of({"names": [], "offsets": []})


def test_a_clip_is_cut_with_all_that_runs_along_it():
    sound = Audio(torch.arange(24000) / 24000, 8000)
    clip = motion(90, audio=sound, contacts=torch.ones(90, 2), expressions=seeded(90, 5), captions=["walk"])
    part = clip.cut(30, 60, "part")
    assert (len(part), part.seconds, part.motion, part.captions) == (30, 1.0, "clip", ("walk",))
    assert torch.equal(part.positions, clip.positions[30:60])
    assert torch.equal(part.audio.samples, sound.samples[8000:16000])
    assert [len(part.contacts), len(part.expressions), len(part.rotations)] == [30, 30, 30]
    with pytest.raises(DataError, match="frames 80 to 91 of 90"):
        clip.cut(80, 91)


def test_sound_that_ends_a_moment_early_is_padded_and_shorter_sound_refused():
    padded = motion(30, audio=(torch.ones(15500), 16000)).audio
    assert (len(padded.samples), float(padded.samples[15499:].sum())) == (16000, 1.0)
    with pytest.raises(DataError, match=r"0\.75 s of audio at 16000 Hz for 1\.00 s"):
        motion(30, audio=(torch.ones(12000), 16000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"root_pos": torch.zeros(6, 3)}, r"root_pos \(6, 3\)"),
        ({"rotations": torch.zeros(7, 8, 4)}, r"rotations \(7, 8, 4\)"),
        ({"contacts": torch.zeros(7, 3)}, "contacts of 3 feet"),
        ({"expressions": torch.zeros(6, 3)}, r"expressions \(6, 3\)"),
        ({"fps": 0.0}, r"fps=0\.0"),
        ({"positions": torch.zeros(0, 9, 3)}, "frames"),
    ],
)
def test_a_clip_with_parts_that_do_not_fit_is_refused(change, message):
    clip = motion()
    good = {key: getattr(clip, key) for key in ("name", "fps", "skeleton", "root_pos", "rotations", "positions")}
    with pytest.raises(DataError, match=message):
        Clip(**good | change)


def test_a_set_shares_one_skeleton():
    small, large = tree(), tree(seed=0)
    large = Skeleton(large.names, large.parents, 2 * torch.tensor(large.offsets), large.up, large.feet)
    shared = common_skeleton([motion(skeleton=small), motion(skeleton=large)])
    torch.testing.assert_close(torch.tensor(shared.offsets), 1.5 * torch.tensor(small.offsets))
    assert common_skeleton([motion(), motion(seed=3)]) == tree()
    with pytest.raises(DataError, match=r"^one and two have different skeletons, names: 9 and 22"):
        common_skeleton([motion(name="one"), motion(name="two", skeleton=layout("humanml3d"))])
    with pytest.raises(DataError, match="No clip"):
        common_skeleton([])


def test_stretch_is_how_far_bones_are_from_rigid():
    clip = motion()
    assert clip.stretch < 1e-5
    moved = clip.positions.clone()
    moved[3, 5, 1] += 0.25
    assert Clip("x", 30, clip.skeleton, clip.root_pos, clip.rotations, moved).stretch == pytest.approx(0.25, rel=1e-4)
