"""Resampling, jumps and mirror images."""

from dataclasses import replace

import pytest
import roma
import torch

from datamodules.core import DataError
from datamodules.robots.jumps import Limits, clean, find_jumps, report
from datamodules.robots.kinematics import KinematicTree, g1
from datamodules.robots.recording import Recording, Slice
from datamodules.trajectories.features import robot_features
from datamodules.trajectories.mirror import joint_signs, mirror_points, mirrored, partners
from datamodules.trajectories.resample import resample
from litmotif.geometry import rotations

from .robots import motion, normal, unit

CLOSE = {"rtol": 0, "atol": 1e-10}


# ---------------------------------------------------------------------- resampling
def wave(steps, fps):
    """A joint that is a sine, a root that turns and moves at constant speed."""
    t = torch.arange(steps, dtype=torch.float64)[:, None] / fps
    quat = roma.rotvec_to_unitquat(t * torch.tensor([0.3, -0.4, 1.2], dtype=torch.float64))
    contacts = (t > 0.5).double()
    return Recording(
        "wave",
        fps,
        root_pos=t * 2.0 + torch.zeros(3),
        root_quat=quat,
        joint_pos=t.sin(),
        joints=("a",),
        contacts=contacts,
    )


@pytest.mark.parametrize(("old", "new"), [(60, 30), (60, 50), (30, 50), (50, 49.7), (24, 120)])
def test_lines_and_turns_are_exact_and_a_sine_is_within_the_chord(old, new):
    before, after = wave(2 * old + 1, old), resample(wave(2 * old + 1, old), new)
    exact = wave(len(after), new)
    torch.testing.assert_close(after.root_pos, exact.root_pos, **CLOSE)
    torch.testing.assert_close(after.root_quat, exact.root_quat, **CLOSE)
    assert (after.joint_pos - exact.joint_pos).abs().max() <= 1 / (8 * old**2) + 1e-12, "h^2 / 8 max |f''|"
    assert set(after.contacts.flatten().tolist()) <= {0.0, 1.0}
    for key, value in before.series().items():
        torch.testing.assert_close(after.series()[key][0], value[0], **CLOSE)
    lost = (len(before) - 1) / old - (len(after) - 1) / new
    assert -1e-9 <= lost < 1 / new, "the end is as near as a step falls"


def test_equal_rates_change_nothing_and_whole_ratios_pick_steps():
    walk = motion(steps=61, fps=60)
    assert resample(walk, 60) is walk
    half = resample(walk, 30)
    assert (len(half), half.fps) == (31, 30)
    for key, value in walk.series().items():
        torch.testing.assert_close(half.series()[key], value[::2], **CLOSE)


def test_quaternion_signs_do_not_matter():
    walk = motion(steps=61, fps=60)
    flipped = replace(walk, root_quat=walk.root_quat * torch.where(normal(61, 1) > 0, 1.0, -1.0))
    dots = (resample(walk, 47).root_quat * resample(flipped, 47).root_quat).sum(-1).abs()
    torch.testing.assert_close(dots, torch.ones_like(dots), **CLOSE)


def test_features_are_not_resampled():
    with pytest.raises(DataError, match="resample before features"):
        resample(robot_features(motion(), g1()), 30)
    with pytest.raises(DataError, match="fps=0"):
        resample(motion(), 0)


# ---------------------------------------------------------------------- jumps
def broken():
    """A calm motion at 50 steps a second with a jump of joint 3 at 20, of the root at 30, and of its heading at 40."""
    walk = motion(name="broken")
    joint_pos, pos, quat = walk.joint_pos.clone(), walk.root_pos.clone(), walk.root_quat.clone()
    joint_pos[21:, 3] += 0.7
    pos[31:, 1] += 0.5
    quat[41:] = roma.quat_product(
        quat[41:], roma.rotvec_to_unitquat(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    )
    return replace(walk, joint_pos=joint_pos, root_pos=pos, root_quat=quat)


def test_jumps_are_found_where_they_are():
    assert find_jumps(motion()) == []
    found = find_jumps(broken())
    assert [(jump.step, jump.part) for jump in found] == [(20, "left_knee_joint"), (30, "root"), (40, "root turn")]
    assert found[0].speed == pytest.approx(0.7 * 50, rel=0.1)
    assert [jump.step for jump in find_jumps(broken(), Limits(joint=50))] == [30, 40]
    text = report(found)
    assert "left_knee_joint" in text
    assert len(text.splitlines()) == 4
    assert "... and 2 more" in report(found, 1)


@pytest.mark.parametrize(("speed", "jumps"), [(29.9, 0), (-29.9, 0), (30.1, 1), (-30.1, 1)])
def test_a_joint_jumps_above_30_rad_a_second(speed, jumps):
    joint_pos = torch.zeros(10, 1, dtype=torch.float64)
    joint_pos[5:] = speed / 50
    assert len(find_jumps(Recording("a", 50, joint_pos=joint_pos, joints=("a",)))) == jumps


def test_what_is_done_about_jumps():
    calm, bad = motion(name="calm"), broken()
    assert clean([calm, bad], "keep")[0] == [calm, bad]
    assert clean([calm, bad], "drop")[0] == [calm]
    left, found = clean([calm, bad], "split")
    assert [recording.name for recording in left] == ["calm", "broken@0", "broken@21", "broken@31", "broken@41"]
    assert {recording.motion for recording in left[1:]} == {"broken"}
    assert not [jump for recording in left for jump in find_jumps(recording)]
    assert len(found) == 3
    torch.testing.assert_close(torch.cat([piece.joint_pos for piece in left[1:]]), bad.joint_pos)
    assert len(clean([bad], "split", shortest=15)[0]) == 2
    with pytest.raises(DataError, match="jumps=drop leaves none of 1"):
        clean([bad], "drop")
    with pytest.raises(DataError, match="jumps=mend"):
        clean([bad], "mend")


# ---------------------------------------------------------------------- mirror
def even_tree():
    """The G1 with its shoulders moved by the 0.01 mm that its model is uneven."""
    tree = g1()
    swap = partners(tree.bodies)
    tree = KinematicTree(
        [
            {
                "name": name,
                "parent": None if parent < 0 else tree.bodies[parent],
                "pos": ((tree._pos[row] + mirror_points(tree._pos[swap[row]])) / 2).tolist(),
                "quat": roma.quat_xyzw_to_wxyz(
                    tree._quat[row] + rotations.mirrored("y", tree._quat[swap[row]])
                ).tolist(),
                "joints": [
                    {"name": tree.joints[j], "axis": tree.axes[j].tolist(), "limits": tree.limits[j].tolist()}
                    for j in tree._hinges[row]
                ],
            }
            for row, (name, parent) in enumerate(zip(tree.bodies, tree.parents, strict=True))
        ]
    )
    assert (tree._pos - g1()._pos).abs().max() < 1e-5
    return tree


def test_roll_and_yaw_change_sign_and_pitch_does_not():
    for name, sign in zip(g1().joints, joint_signs(g1()).tolist(), strict=True):
        assert sign == (-1 if "roll" in name or "yaw" in name else 1), name


def test_limits_are_mirrored_by_the_same_rule():
    tree = g1()
    limits = tree.limits[partners(tree.joints)] * joint_signs(tree)[:, None]
    torch.testing.assert_close(limits.sort(dim=1).values, tree.limits)


def test_twice_is_nothing():
    walk = replace(
        motion(),
        root_vel=normal(60, 3),
        actions=normal(60, 29),
        action_slices=(Slice("joint_target", 29),),
        action_is_joint_position=True,
        bodies=("left_ankle_roll_link", "right_ankle_roll_link"),
        contacts=normal(60, 2),
    )
    twice = mirrored(mirrored(walk, g1()), g1())
    assert (twice.name, mirrored(walk, g1()).motion) == ("walk", "walk")
    for key, value in walk.series().items():
        torch.testing.assert_close(twice.series()[key], value, **CLOSE)
        assert (mirrored(walk, g1()).series()[key] - value).abs().max() > 0.01


@pytest.mark.parametrize(("tree", "atol"), [(g1(), 1.1e-5), (even_tree(), 1e-9)], ids=["as it is", "even"])
def test_kinematics_of_the_mirror_image_are_the_mirror_image_of_the_kinematics(tree, atol):
    joints = normal(50, 29) * 2
    walk = Recording("a", 50, root_pos=normal(50, 3), root_quat=unit(50), joint_pos=joints, joints=tree.joints)
    image = mirrored(walk, tree)
    pos, quat = tree.forward(walk.root_pos, walk.root_quat, walk.joint_pos)
    image_pos, image_quat = tree.forward(image.root_pos, image.root_quat, image.joint_pos)
    swap = partners(tree.bodies)
    torch.testing.assert_close(image_pos, mirror_points(pos[:, swap]), rtol=0, atol=atol)
    dots = (image_quat * rotations.mirrored("y", quat[:, swap])).sum(-1).abs()
    torch.testing.assert_close(dots, torch.ones_like(dots), rtol=0, atol=1e-9)
    torch.testing.assert_close(rotations.heading(image.root_quat), -rotations.heading(walk.root_quat), **CLOSE)


def test_columns_follow_their_names():
    walk = motion()
    shuffled = list(reversed(range(29)))
    other = replace(walk, joint_pos=walk.joint_pos[:, shuffled], joints=tuple(walk.joints[j] for j in shuffled))
    torch.testing.assert_close(mirrored(other, g1()).joint_pos[:, shuffled], mirrored(walk, g1()).joint_pos)


def test_what_has_no_mirror_image_is_refused():
    with pytest.raises(DataError, match="only motion of root and joints"):
        mirrored(robot_features(motion(), g1()), g1())
    with pytest.raises(DataError, match="left_arm: no partner"):
        partners(["base", "left_arm"])
    arms = [{"name": "left", "parent": "base", "joints": [{"name": "left", "axis": [0, 1, 0]}]}]
    arms.append({"name": "right", "parent": "base", "joints": [{"name": "right", "axis": [1, 1, 0]}]})
    with pytest.raises(DataError, match="left, right: its axis is no mirror image"):
        joint_signs(KinematicTree([{"name": "base", "parent": None}, *arms]))
