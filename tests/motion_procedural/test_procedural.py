import re

import numpy as np
import pytest
import roma
import torch

from datamodules.motion.humanoid import Pose, solve
from datamodules.motion.moves import ease, through, walk
from datamodules.motion.procedural import ACTIONS, generate
from datamodules.motion.scene import Dice, Scene
from datamodules.motion.skeleton import layout

torch.set_num_threads(1)
NAMES = layout("humanml3d").names
LEFT, RIGHT = 0, 1


@pytest.fixture(scope="module")
def clips():
    return generate(30 * len(ACTIONS), seed=0)


def of(clips, action):
    return [clip for clip in clips if clip.name.startswith(action)]


def joint(clip, name):
    return clip.positions[:, NAMES.index(name)].double()


def skating(clip):
    """Share of steps with a foot below 5 cm and faster than 0.5 m/s, now and in the mean of 5 steps: a plain loop."""
    feet = torch.stack([joint(clip, "left_foot"), joint(clip, "right_foot")], dim=1).numpy()
    speed = np.linalg.norm(np.diff(feet[..., [0, 2]], axis=0), axis=-1) * clip.fps
    slips = 0
    for step in range(len(speed)):
        for foot in range(2):
            low = feet[step : step + 2, foot, 1].max() < 0.05
            around = speed[max(0, step - 2) : step + 3, foot].sum() / 5
            if low and speed[step, foot] > 0.5 and around > 0.5:
                slips += 1
                break
    return slips / len(speed)


# ---------------------------------------------------------------------- bodies
def test_feet_that_stand_stay_where_they_are(clips):
    for clip in clips:
        feet = clip.positions[:, [NAMES.index(name) for name in clip.skeleton.feet]].double()
        speed = feet.diff(dim=0).norm(dim=-1) * clip.fps  # (T - 1, 4)
        stands = (clip.contacts[1:] > 0) & (clip.contacts[:-1] > 0)
        assert stands.any(), clip.name
        assert speed[stands].max() < 0.01, clip.name


def test_walking_skates_as_little_as_people_do(clips):
    walks = {action: np.mean([skating(clip) for clip in of(clips, action)]) for action in ACTIONS}
    assert max(walks.values()) < 0.08, walks
    sliding = walk(np.arange(60) / 20, 1.0, lift=0.0)  # feet that are never lifted skate
    root, rotations = solve(sliding)
    dragged = of(clips, "walk_forward")[0]
    dragged = type(dragged).posed("dragged", 20.0, dragged.skeleton, root, rotations)
    assert skating(dragged) > 0.3


def test_nothing_sinks_into_the_ground_and_bones_keep_their_lengths(clips):
    lengths = torch.tensor(layout("humanml3d").offsets[1:], dtype=torch.float64).norm(dim=-1)
    parents = list(layout("humanml3d").parents[1:])
    for clip in clips:
        bones = (clip.positions[:, 1:] - clip.positions[:, parents]).double().norm(dim=-1)
        torch.testing.assert_close(bones, lengths.expand_as(bones), atol=1e-6, rtol=0)
        assert clip.positions[..., 1].min() > 0.019, clip.name
        assert clip.stretch < 1e-5


def test_motion_is_smooth(clips):
    for clip in clips:
        speed = clip.positions.diff(dim=0).norm(dim=-1) * clip.fps
        turn = roma.unitquat_geodesic_distance(clip.rotations[1:].double(), clip.rotations[:-1].double())
        assert speed.max() < 8.0, clip.name  # m/s; a hand that waves quickly
        assert turn.max() < 1.2, clip.name  # rad a frame; a knee that kicks


def test_inverse_kinematics_puts_feet_where_they_were_asked_for():
    rng = np.random.default_rng(0)
    pose = Pose.standing(200)
    pose.root += rng.uniform((-0.05, -0.2, -0.1), (0.05, -0.12, 0.05), (200, 3))
    pose.pelvis += rng.uniform(-0.3, 0.3, (200, 3))
    pose.feet += rng.uniform(-0.3, 0.3, (200, 2, 2))
    pose.toes += rng.uniform(0.0, 0.1, (200, 2, 3))
    root, rotations = solve(pose)
    skeleton = layout("humanml3d")
    positions = skeleton.forward(root, rotations)
    balls = positions[:, [NAMES.index("left_foot"), NAMES.index("right_foot")]]
    torch.testing.assert_close(balls, torch.from_numpy(pose.toes), atol=1e-9, rtol=0)
    torch.testing.assert_close(rotations.norm(dim=-1), torch.ones(200, 22, dtype=torch.float64))
    soles = skeleton.orientations(rotations)[:, [NAMES.index("left_ankle"), NAMES.index("right_ankle")]]
    yaw_pitch = torch.stack([torch.from_numpy(pose.feet[..., axis]) for axis in (0, 1)])
    wanted = roma.euler_to_unitquat("YX", [yaw_pitch[0], yaw_pitch[1]])
    assert roma.unitquat_geodesic_distance(soles, wanted).max() < 1e-6


def test_a_mirrored_pose_is_the_mirror_image():
    rng = np.random.default_rng(1)
    pose = Pose.standing(50)
    pose.arms += rng.uniform(-1, 1, pose.arms.shape)
    other = Pose.standing(50)
    other.arms = pose.arms[:, ::-1]
    one, two = (layout("humanml3d").forward(*solve(each)) for each in (pose, other))
    swap = [NAMES.index(n.replace("left", "R").replace("right", "left").replace("R", "right")) for n in NAMES]
    torch.testing.assert_close(one * torch.tensor([-1.0, 1, 1]), two[:, swap], atol=1e-9, rtol=0)


def test_curves_rest_at_their_keys():
    t = np.linspace(-1, 3, 4001)
    curve = through(t, (0.0, 1.0, 2.0), (0.0, 2.0, -1.0))
    assert np.interp([-1, 0, 1, 2, 3], t, curve) == pytest.approx([0, 0, 2, -1, -1], abs=1e-9)
    velocity = np.gradient(curve, t)
    assert np.interp([0, 1, 2], t, velocity) == pytest.approx([0, 0, 0], abs=1e-4)
    assert ease(np.array([0.5])) == pytest.approx([0.5])


# ---------------------------------------------------------------------- captions say what is done
def test_walks_go_where_and_as_fast_as_they_say(clips):
    speeds = {}
    for action, sign in (("walk_forward", 1), ("walk_backward", -1)):
        for clip in of(clips, action):
            way = joint(clip, "pelvis")[-1] - joint(clip, "pelvis")[0]
            assert sign * way[2] > 0.5
            assert abs(way[0]) < 0.15
            word = next((w for w in ("slow", "quick", "fast") if w in clip.captions[0]), "")
            speeds.setdefault((action, {"quick": "fast"}.get(word, word)), []).append(abs(float(way[2])) / clip.seconds)
    for action in ("walk_forward", "walk_backward"):
        slow, normal, fast = (speeds[action, word] for word in ("slow", "", "fast"))
        assert max(slow) < min(normal)
        assert max(normal) < min(fast)


@pytest.mark.parametrize("action", ["walk_bend", "turn_on_spot"])
def test_turns_go_to_the_side_they_say(clips, action):
    for clip in of(clips, action):
        across = joint(clip, "left_hip") - joint(clip, "right_hip")
        heading = np.unwrap(torch.atan2(-across[:, 2], across[:, 0]).numpy())
        turned = heading[-1] - heading[0]  # positive to the left
        assert ("left" in clip.captions[0]) == (turned > 0)
        assert abs(turned) > 0.4
        assert all(("left" in text) != ("right" in text) for text in clip.captions)


def test_side_steps_go_to_the_side_they_say(clips):
    for clip in of(clips, "side_step"):
        way = joint(clip, "pelvis")[-1] - joint(clip, "pelvis")[0]
        assert ("left" in clip.captions[0]) == (way[0] > 0)
        assert abs(way[0]) > 3 * abs(way[2])


def test_the_hand_that_is_named_waves(clips):
    seen = set()
    for clip in of(clips, "wave"):
        up = [float((joint(clip, f"{side}_wrist") - joint(clip, "neck"))[:, 1].max()) > 0 for side in ("left", "right")]
        text = clip.captions[0]
        seen.add((("left" in text) or "both" in text, ("right" in text) or "both" in text))
        assert tuple(up) == ("left" in text or "both" in text, "right" in text or "both" in text)
    assert len(seen) == 3


def test_the_foot_that_is_named_kicks(clips):
    for clip in of(clips, "kick"):
        high = [float(joint(clip, f"{side}_foot")[:, 1].max()) for side in ("left", "right")]
        named = RIGHT if "right" in clip.captions[0] else LEFT
        assert high[named] > 0.3
        assert high[1 - named] < 0.05


@pytest.mark.parametrize(
    ("action", "name"),
    [("squat", "pelvis"), ("bow", "head"), ("jump", "left_foot"), ("raise_arms", "left_wrist")],
)
def test_repeats_are_as_many_as_they_say(clips, action, name):
    counts = {"once": 1, "twice": 2, "three times": 3}
    seen = set()
    for clip in of(clips, action):
        away = (joint(clip, name)[:, 1] - joint(clip, name)[0, 1]).abs()
        beyond = away > away.max() / 2
        times = int((beyond[1:] & ~beyond[:-1]).sum())
        said = {counts[word] for text in clip.captions for word in re.findall("once|twice|three times", text)}
        assert said == {times}, (clip.name, clip.captions)
        seen |= said
    assert seen == {1, 2, 3}


def test_arms_go_up_where_they_say(clips):
    for clip in of(clips, "raise_arms"):
        way = (joint(clip, "left_wrist") - joint(clip, "left_shoulder")).abs().max(dim=0).values
        text = clip.captions[0]
        top = float((joint(clip, "left_wrist") - joint(clip, "head"))[:, 1].max())
        if "head" in text:
            assert top > 0.2
        else:
            assert way[2 if "front" in text else 0] > 0.45
            assert top < 0.1


def test_somebody_who_stands_still_does(clips):
    for clip in of(clips, "stand"):
        assert (clip.positions - clip.positions[:1]).norm(dim=-1).max() < 0.12


# ---------------------------------------------------------------------- seeds
def test_a_clip_is_a_function_of_seed_and_index(clips):
    few = generate(14, seed=0)
    for one, two in zip(few, clips, strict=False):
        assert one.captions == two.captions
        assert torch.equal(one.positions, two.positions)
    other = generate(14, seed=1)
    assert all(
        len(one) != len(two) or not torch.equal(one.positions, two.positions)
        for one, two in zip(few, other, strict=True)
    )


def test_the_first_caption_is_the_plain_one(clips):
    """So that motions that mean the same have one caption in common, by which they can be compared."""
    scene = Scene(Pose.standing(3), ("squats twice", "does a squat twice"), ("slowly", "at a slow pace"))
    told = [scene.captions(Dice(seed, 0), 4) for seed in range(20)]
    assert {captions[0] for captions in told} == {"a person squats twice slowly"}
    assert max(map(len, told)) == 4
    assert len({text for captions in told for text in captions}) > 10
    assert all(clip.captions[0].startswith("a person ") for clip in clips)


def test_captions_are_many_and_none_twice(clips):
    for clip in clips:
        assert 1 <= len(set(clip.captions)) == len(clip.captions) <= 4
        assert not any("  " in text or "{" in text or text != text.strip() for text in clip.captions)
    said = {text.split(" ", 2)[-1] for clip in clips for text in clip.captions}
    assert len(said) > 100
    assert 2.0 <= min(clip.seconds for clip in clips) <= max(clip.seconds for clip in clips) <= 6.0


def test_no_clip_at_all():
    assert generate(0, seed=0) == []
