"""The common skeleton: laws of the mapping, names of joints, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import roma
import torch

from datamodules.core import DataError
from datamodules.motion import common
from datamodules.motion.clip import Clip
from datamodules.motion.common import grounded, match, to_common
from datamodules.motion.features import moved
from datamodules.motion.humanoid import SOLE
from datamodules.motion.procedural import generate
from datamodules.motion.readers import g1
from datamodules.motion.skeleton import Skeleton, layout

from .bodies import motion, relative, seeded

GOAL = layout("humanml3d")
BODIES = {name: layout(name) for name in ("smplx", "smplh", "beat", "deepmimic")} | {"g1": g1.skeleton()}
LIMBS = [("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")]


def row(joint):
    return GOAL.names.index(joint)


def unit(vectors):
    return torch.nn.functional.normalize(vectors.double(), dim=-1)


def stretched(skeleton, factor):
    return replace(skeleton, offsets=(factor * torch.tensor(skeleton.offsets, dtype=torch.float64)).tolist())


# ---------------------------------------------------------------------- laws
def test_the_common_skeleton_is_mapped_to_itself_but_for_rounding():
    clip = motion(9, skeleton=GOAL, contacts=torch.ones(9, 4), captions=["x"])
    same = to_common(clip)
    assert relative(same.positions, clip.positions) < 1e-6
    apart = roma.rotmat_geodesic_distance(*(roma.unitquat_to_rotmat(c.rotations.double()) for c in (same, clip)))
    assert float(apart.max()) < 1e-3  # arccos near 1 in single precision
    assert torch.equal(same.contacts, clip.contacts)
    assert (same.skeleton, same.captions) == (GOAL, ("x",))
    walk = generate(4, 0)[0]
    assert relative(to_common(walk).positions, walk.positions) < 1e-6


@pytest.mark.parametrize("name", BODIES)
def test_moving_a_clip_moves_the_result(name):
    clip = motion(6, skeleton=BODIES[name], seed=2)
    turn, shift = roma.quat_normalize(seeded(4, seed=8)), seeded(3, seed=9)
    scale = 0.81 / common._legs(match(BODIES[name]), common._rest(BODIES[name]))
    along_turn, along_shift = turn, scale * shift
    if clip.skeleton.up == "z":  # the result is laid down
        down = torch.tensor(common._LAID, dtype=torch.float64)
        along_turn = roma.quat_composition([down, turn, roma.quat_conjugation(down)])
        along_shift = roma.quat_action(down, along_shift)
    found, wanted = to_common(moved(clip, turn, shift)), moved(to_common(clip), along_turn, along_shift)
    assert relative(found.positions, wanted.positions) < 1e-5
    assert float((found.rotations * wanted.rotations).sum(-1).abs().min()) > 1 - 1e-5


@pytest.mark.parametrize("name", ["smplx", "beat", "deepmimic"])
def test_arms_and_legs_point_where_the_body_s_own_do(name):
    clip = motion(8, skeleton=BODIES[name], seed=4)
    rows, made = match(BODIES[name]), to_common(clip)
    for side in ("left", "right"):
        for start, end in LIMBS:
            own, new = f"{side}_{start}", f"{side}_{end}"
            true = unit(clip.positions[:, rows[new]] - clip.positions[:, rows[own]])
            found = unit(made.positions[:, row(new)] - made.positions[:, row(own)])
            torch.testing.assert_close(found, true, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", BODIES)
def test_size_does_not_matter_and_legs_are_as_long_as_the_skeleton_s(name):
    clip = motion(5, skeleton=BODIES[name])
    large = Clip.posed("x", 30, stretched(BODIES[name], 1.7), 1.7 * clip.root_pos, clip.rotations)
    one, other = to_common(clip), to_common(large)
    assert relative(other.positions, one.positions) < 1e-5
    ends = list(GOAL.parents[1:])
    lengths = (one.positions[:, 1:] - one.positions[:, ends]).norm(dim=-1)
    torch.testing.assert_close(
        lengths, torch.tensor(GOAL.offsets)[1:].norm(dim=1).expand_as(lengths), atol=1e-5, rtol=0
    )
    hips = (one.positions[:, 1] + one.positions[:, 2]) / 2
    rows, axes = match(BODIES[name]), ([0, 2, 1] if clip.skeleton.up == "z" else [0, 1, 2])
    own = clip.positions[:, [rows["left_hip"], rows["right_hip"]]].mean(dim=1)[:, axes]
    own = own * torch.tensor([1.0, 1.0, -1.0 if clip.skeleton.up == "z" else 1.0])
    scale = 0.81 / common._legs(rows, common._rest(BODIES[name]))
    torch.testing.assert_close(hips, (scale * own).float(), rtol=1e-4, atol=1e-4)


def test_hinges_of_an_ankle_that_are_apart_do_not_bend_the_shin():
    body, made = BODIES["g1"], []
    for pitch in (0.0, 0.5):
        rotations = torch.eye(4)[3].expand(2, 30, 4).clone()
        angle = torch.tensor(pitch / 2)
        turned = torch.stack([angle * 0, angle.sin(), angle * 0, angle.cos()])
        rotations[:, body.names.index("left_ankle_pitch_link")] = turned
        made.append(to_common(Clip.posed("x", 30, body, torch.zeros(2, 3), rotations)))
    still, bent = (clip.positions[0] for clip in made)
    torch.testing.assert_close(bent[row("left_ankle")], still[row("left_ankle")], rtol=0, atol=1e-6)
    assert float((bent - still)[row("left_foot")].norm()) > 0.05


def test_a_world_with_z_up_is_laid_down_whatever_the_body_does_at_rest():
    clip = motion(5, skeleton=layout("smplh"))  # AMASS: y up at rest in a world with z up
    raise_ = torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5], dtype=torch.float64)
    stood = moved(clip, raise_, torch.zeros(3))
    stood = replace(stood, skeleton=replace(clip.skeleton, up="z"))
    assert relative(to_common(stood).positions, to_common(clip).positions) < 1e-5


def test_joints_that_a_body_lacks_do_not_turn():
    still = torch.tensor([0.0, 0.0, 0.0, 1.0])
    lacking = {"deepmimic": ("spine1", "spine3", "head", "left_collar"), "g1": ("spine2", "neck", "head", "left_foot")}
    for name, joints in lacking.items():
        made = to_common(motion(4, skeleton=BODIES[name]))
        for joint in joints:
            torch.testing.assert_close(made.rotations[:, row(joint)].abs(), still.expand(4, 4), rtol=0, atol=1e-5)
        assert (made.rotations[:, row("left_hip"), 3].abs() < 0.999).any()


def test_grounded_feet_stand_as_high_as_the_humanoid_does():
    clips = generate(6, 3)
    for clip in clips:
        lifted = moved(clip, torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.3, 0.7, -2.0]))
        back = grounded(lifted)
        feet = back.positions[:, [row(foot) for foot in GOAL.feet], 1].amin(dim=1)
        assert float((feet < SOLE - 1e-4).float().mean()) <= 0.05
        assert float(feet.min()) > -0.1
        torch.testing.assert_close(grounded(back).positions, back.positions, rtol=0, atol=1e-5)
        torch.testing.assert_close(back.root_pos[:, [0, 2]], lifted.root_pos[:, [0, 2]])
        torch.testing.assert_close(back.root_pos, back.positions[:, 0])


# ---------------------------------------------------------------------- names
MIXAMO = ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head", "LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand",
          "RightShoulder", "RightArm", "RightForeArm", "RightHand", "LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase",
          "RightUpLeg", "RightLeg", "RightFoot", "RightToeBase")  # fmt: skip
RIGIFY = ("pelvis", "spine", "spine.001", "spine.002", "neck", "face", "shoulder.L", "upper_arm.L", "forearm.L",
          "forearm.L_end", "shoulder.R", "upper_arm.R", "forearm.R", "forearm.R_end", "thigh.L", "shin.L", "foot.L",
          "foot.L_end", "thigh.R", "shin.R", "foot.R", "foot.R_end")  # fmt: skip
CMU = ("root", "lowerback", "upperback", "thorax", "lowerneck", "head", "lclavicle", "lhumerus", "lradius", "lhand",
       "rclavicle", "rhumerus", "rradius", "rhand", "lfemur", "ltibia", "lfoot", "ltoes", "rfemur", "rtibia", "rfoot",
       "rtoes")  # fmt: skip
ORDER = ("pelvis", "spine1", "spine2", "spine3", "neck", "head", "left_collar", "left_shoulder", "left_elbow",
         "left_wrist", "right_collar", "right_shoulder", "right_elbow", "right_wrist", "left_hip", "left_knee",
         "left_ankle", "left_foot", "right_hip", "right_knee", "right_ankle", "right_foot")  # fmt: skip
AMP = ("pelvis", "torso", "head", "right_upper_arm", "right_lower_arm", "right_hand", "left_upper_arm",
       "left_lower_arm", "left_hand", "right_thigh", "right_shin", "right_foot", "left_thigh", "left_shin",
       "left_foot")  # fmt: skip


def body(names):
    """A body of these names; who it belongs to does not matter here."""
    return Skeleton(names, (-1, *[0] * (len(names) - 1)), [[0.0, 0.1 * k, 0.0] for k in range(len(names))])


@pytest.mark.parametrize("names", [MIXAMO, tuple(f"mixamorig:{name}" for name in MIXAMO), RIGIFY, CMU, ORDER])
def test_joints_are_found_by_the_names_of_many_houses(names):
    assert {joint: names[found] for joint, found in match(body(names)).items()} == dict(zip(ORDER, names, strict=True))


def test_one_joint_serves_once():
    found = match(body(AMP))
    assert (AMP[found["neck"]], AMP[found["left_ankle"]], AMP[found["spine2"]]) == ("head", "left_foot", "torso")
    assert not {"head", "left_foot", "left_collar", "spine1"} & set(found)
    assert len(set(found.values())) == len(found)


def test_synonyms_speak_of_every_joint_of_the_skeleton():
    parts = {name.rpartition("_")[2] if "_" in name else name for name in GOAL.names}
    known = json.loads(Path(common.__file__).with_name("common.json").read_text())
    assert set(known["needed"]) | set(known["optional"]) == parts


# ---------------------------------------------------------------------- what is refused
def test_what_cannot_be_mapped_says_which_joint_and_why():
    clip = motion(3, skeleton=GOAL)
    odd = tuple("claw" if name == "left_wrist" else name for name in GOAL.names)
    with pytest.raises(
        DataError, match=r"a\.bvh: no left wrist among its joints pelvis, .*to left_wrist for one: hand"
    ):
        to_common(replace(clip, skeleton=replace(GOAL, names=odd), source="a.bvh"))
    with pytest.raises(DataError, match=r"clip: positions only.*data\.body=own"):
        to_common(replace(clip, rotations=None))
    across = tuple(0 if name == "left_ankle" else parent for name, parent in zip(GOAL.names, GOAL.parents, strict=True))
    with pytest.raises(DataError, match="clip: joint left_ankle does not hang on left_knee"):
        to_common(motion(3, skeleton=replace(GOAL, parents=across)))
    heap = torch.tensor(GOAL.offsets, dtype=torch.float64).norm(dim=1)
    lying = replace(GOAL, offsets=torch.stack([heap, 0 * heap, 0 * heap], dim=1).tolist())
    with pytest.raises(DataError, match="with all rotations 0 the body does not stand"):
        to_common(motion(3, skeleton=lying))
