"""Features, splits, windows and statistics."""

from dataclasses import replace

import pytest
import roma
import torch

from datamodules.core import DataError
from datamodules.robots.kinematics import G1_TRACKED, g1
from datamodules.robots.recording import Recording, Slice, common_layout
from datamodules.splits import deal
from datamodules.trajectories.features import robot_features, velocity
from datamodules.trajectories.store import TrajectoryStore
from litmotif.geometry.frames import each, frame_of, from_frame, to_character
from litmotif.geometry.rotations import about

from .robots import motion, normal

CLOSE = {"rtol": 0, "atol": 1e-10}
SINGLE = {"rtol": 0, "atol": 1e-5}


def featured(seed=0, steps=40):
    return robot_features(motion(steps, seed=seed, name=f"walk{seed}"), g1())


def columns(recording, name):
    """Columns of ``local`` by their name: (T, size)."""
    start = 0
    for part in recording.slices:
        if part.name == name:
            return recording.local[:, start : start + part.size]
        start += part.size
    raise KeyError(name)


# ---------------------------------------------------------------------- features
def test_features_are_the_bodies_in_each_steps_own_frame():
    walk, seen = motion(), robot_features(motion(), g1(), joint_targets=False)
    pos = g1().forward(walk.root_pos, walk.root_quat, walk.joint_pos)[0][:, g1().rows(G1_TRACKED)]
    frame = frame_of(walk.root_pos, walk.root_quat)
    body_pos = columns(seen, "body_pos").unflatten(1, (-1, 3))
    torch.testing.assert_close(from_frame(each(frame), body_pos), pos, **CLOSE)
    body_vel = columns(seen, "body_vel").unflatten(1, (-1, 3))
    world = roma.quat_action(about("z", frame.heading)[:, None], body_vel)
    torch.testing.assert_close(world[1:-1], (pos[2:] - pos[:-2]) * walk.fps / 2, **CLOSE)
    torch.testing.assert_close(columns(seen, "joint_pos"), walk.joint_pos, **CLOSE)
    assert seen.layout["bodies"] == list(G1_TRACKED)
    assert seen.actions is None


def test_features_do_not_see_where_the_world_is():
    walk = motion()
    turn, shift = about("z", torch.tensor(2.0, dtype=torch.float64)), torch.tensor([3.0, -1.0, 0.0])
    moved = replace(
        walk, root_pos=roma.quat_action(turn, walk.root_pos) + shift, root_quat=roma.quat_product(turn, walk.root_quat)
    )
    torch.testing.assert_close(robot_features(moved, g1()).local, robot_features(walk, g1()).local, **CLOSE)


def test_actions_are_the_next_joints_unless_the_file_has_some():
    walk, seen = motion(), robot_features(motion(), g1())
    assert len(seen) == len(walk) - 1
    torch.testing.assert_close(seen.actions, walk.joint_pos[1:], **CLOSE)
    assert seen.layout["action_is_joint_position"]
    own = replace(walk, actions=normal(60, 2), action_slices=(Slice("torque", 2, "N m"),))
    torch.testing.assert_close(robot_features(own, g1()).actions, own.actions)
    assert not robot_features(own, g1()).layout["action_is_joint_position"]


def test_joints_are_found_by_name_and_missing_ones_named():
    walk, back = motion(), list(reversed(range(29)))
    other = replace(walk, joint_pos=walk.joint_pos[:, back], joints=tuple(walk.joints[j] for j in back))
    torch.testing.assert_close(robot_features(other, g1()).local, robot_features(walk, g1()).local, **CLOSE)
    with pytest.raises(DataError, match=r"joints and robot differ in right_wrist_yaw_joint, tail_joint"):
        robot_features(replace(walk, joints=(*walk.joints[:-1], "tail_joint")), g1())
    with pytest.raises(DataError, match="no root pose or no joint angles"):
        robot_features(replace(walk, root_pos=None), g1())
    with pytest.raises(DataError, match="2 steps: at least 3"):
        robot_features(walk.cut(0, 2), g1())


def test_velocities_of_a_parabola_are_exact_inside():
    t = torch.arange(10, dtype=torch.float64)[:, None] / 50
    torch.testing.assert_close(velocity(t**2, 50)[1:-1], 2 * t[1:-1], **CLOSE)


# ---------------------------------------------------------------------- recordings
def test_recordings_are_of_one_piece():
    with pytest.raises(DataError, match=r"\{'local': 5, 'actions': 4\} steps"):
        Recording(
            "a", 10, local=normal(5, 2), slices=(Slice("x", 2),), actions=normal(4, 1), action_slices=(Slice("u", 1),)
        )
    with pytest.raises(DataError, match="slices name 3 columns of 2"):
        Recording("a", 10, local=normal(5, 2), slices=(Slice("x", 3),))
    with pytest.raises(DataError, match="fps=0"):
        Recording("a", 0, local=normal(5, 2), slices=(Slice("x", 2),))
    with pytest.raises(DataError, match="no steps"):
        Recording("a", 10)
    piece = motion().cut(10, 20, "piece")
    assert (len(piece), piece.name, piece.motion) == (10, "piece", "walk")


def test_layouts_must_agree():
    assert common_layout([featured(0), featured(1)]) == featured(0).layout
    assert sum(part["size"] for part in featured().layout["state"]) == 9 + featured().local.shape[1]
    with pytest.raises(DataError, match=r"walk0 and walk1 differ in fps: 50\.0 and 25\.0"):
        common_layout([featured(0), replace(featured(1), fps=25)])
    with pytest.raises(DataError, match="No recording"):
        common_layout([])


# ---------------------------------------------------------------------- splits
def family(motions, copies=3):
    return [f"m{k}" for k in range(motions) for _ in range(copies)]


@pytest.mark.parametrize("motions", [3, 4, 10, 59])
def test_each_motion_is_in_one_split_with_all_its_copies(motions):
    of = family(motions)
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    dealt = deal(of, shares, seed=0)
    assert sorted(k for part in dealt.values() for k in part) == list(range(len(of)))
    homes = {name: {of[k] for k in part} for name, part in dealt.items()}
    assert sum(map(len, homes.values())) == motions
    assert all(abs(len(homes[name]) - share * motions) < 2 or len(homes[name]) == 1 for name, share in shares.items())
    assert all(homes.values())
    assert dealt == deal(of, shares, seed=0)
    if motions > 4:
        assert dealt != deal(of, shares, seed=1)
        assert homes["test"] == {of[::-1][k] for k in deal(of[::-1], shares, 0)["test"]}


def test_splits_that_cannot_be():
    with pytest.raises(DataError, match="2 motions cannot be split into train, val, test"):
        deal(family(2), {"train": 0.8, "val": 0.1, "test": 0.1}, 0)
    assert deal(family(1), {"train": 1.0, "val": 0.0}, 0) == {"train": [0, 1, 2], "val": []}
    with pytest.raises(DataError, match="together 1"):
        deal(family(3), {"train": 0.8, "val": 0.1}, 0)


# ---------------------------------------------------------------------- windows
def test_every_window_is_a_piece_of_one_recording_and_all_are_there():
    recordings = [featured(0, 12), featured(1, 30), featured(2, 5), featured(3, 8)]
    store, window, current = TrajectoryStore(recordings), 7, 2
    expected = [(k, t) for k, r in enumerate(recordings) for t in range(len(r) - window + 1)]
    starts = store.starts(window)
    assert len(starts) == len(expected)
    states, actions, frame = store.windows(starts, window, current)
    assert torch.searchsorted(store.ends, starts, right=True).tolist() == [k for k, _ in expected]
    for row, (k, t) in enumerate(expected):
        part = recordings[k].cut(t, t + window)
        root, own = to_character(part.root_pos[None], part.root_quat[None], part.root_vel[None], current)
        torch.testing.assert_close(states[row], torch.cat((root[0], part.local), 1).float(), **SINGLE)
        torch.testing.assert_close(actions[row], part.actions.float())
        torch.testing.assert_close(frame.origin[row], own.origin[0].float(), **SINGLE)
    assert store.starts(window, [3], stride=1).tolist() == [store.ends[2].item()]
    assert store.starts(window, [1], stride=10).diff().tolist() == [10, 10]


def test_a_window_longer_than_everything():
    store = TrajectoryStore([featured(0, 12), featured(1, 30)])
    with pytest.raises(DataError, match=r"window of 30 steps is longer than every recording.*29 steps"):
        store.starts(30)
    with pytest.raises(DataError, match="of 1, the longest has 11"):
        store.starts(12, [0])


def test_a_store_needs_actions_and_states():
    with pytest.raises(DataError, match="walk: no actions"):
        TrajectoryStore([robot_features(motion(), g1(), joint_targets=False)])
    bare = Recording("bare", 10, actions=normal(5, 1), action_slices=(Slice("u", 1),))
    with pytest.raises(DataError, match="bare: no states"):
        TrajectoryStore([bare])


def test_gather_follows_what_else_was_recorded():
    marked = [replace(featured(k), bodies=("foot",), contacts=torch.full((39, 1), float(k))) for k in range(2)]
    store = TrajectoryStore(marked)
    assert store.gather("contacts", store.starts(5), 5).mean((1, 2)).tolist() == [0.0] * 35 + [1.0] * 35


# ---------------------------------------------------------------------- statistics
def test_statistics_are_those_of_all_windows():
    store = TrajectoryStore([featured(0, 14), featured(1, 30)])
    starts = store.starts(9)[::2]
    got = store.statistics(starts, 9, 3)
    states, actions, _ = store.windows(starts, 9, 3)
    for values, mean, std in ((states, *got[:2]), (actions, *got[2:])):
        values = values.double().flatten(0, 1)
        torch.testing.assert_close(mean.double(), values.mean(0), **SINGLE)
        torch.testing.assert_close(std.double(), values.std(0, correction=0), **SINGLE)


def test_columns_that_do_not_vary_are_named_or_given_a_floor():
    recording = Recording(
        "a",
        10,
        local=torch.cat((normal(20, 1), torch.full((20, 1), 7.0)), dim=1),
        slices=(Slice("x", 1), Slice("still", 1)),
        actions=torch.zeros(20, 2, dtype=torch.float64),
        action_slices=(Slice("u", 2),),
    )
    store = TrajectoryStore([recording])
    with pytest.raises(DataError, match=r"columns of state that never vary in training: still\[0\]\."):
        store.statistics(store.starts(5), 5, 1)
    got = store.statistics(store.starts(5), 5, 1, floor=0.25)
    assert got.action_std.tolist() == [0.25, 0.25]
    assert got.state_std[1] == 0.25
    assert got.state_std[0] > 0.25
