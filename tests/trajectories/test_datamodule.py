import json

import numpy as np
import pytest
import torch

import datamodules
from datamodules.core import DataError
from litmotif.errors import LitmotifError

SMALL = {"episodes": 10, "episode_seconds": 5.0, "history": 2, "horizon": 6, "val": 0.2, "test": 0.2}


def make(**changes):
    return datamodules.Trajectories(**SMALL | changes)


def every(data, split):
    windows = data.split(split)
    return windows.__getitems__([(index, 0) for index in range(len(windows))])


def write_native(path, episodes=6, steps=40, **more):
    """States that count: column 0 is the episode, column 1 the step."""
    states = np.stack([np.repeat(np.arange(episodes), steps), np.tile(np.arange(steps), episodes)], axis=1)
    arrays = {"states": states.astype(float), "actions": 0.5 * states, "fps": 20.0}
    np.savez(path, **arrays | {"episode_ends": np.arange(1, episodes + 1) * steps} | more)
    return path


def write_g1(folder, clips=4, steps=80):
    """Clips of a G1 that stands and waves."""
    folder.mkdir(exist_ok=True)
    for clip in range(clips):
        rows = np.zeros((steps, 36))
        rows[:, 2], rows[:, 6] = 0.79, 1.0
        rows[:, 0] = 0.01 * np.arange(steps)
        rows[:, 7:] = 0.05 * np.sin(np.arange(steps)[:, None] * (0.1 + 0.02 * clip) + np.arange(29))
        np.savetxt(folder / f"clip{clip}.csv", rows, delimiter=",")
    return folder


def test_windows_are_pieces_of_the_recordings(tmp_path):
    data = make(root=str(write_native(tmp_path / "count.npz")), val=0.2, test=0.2, stride=3, eval_stride=5)
    for split, stride in (("train", 3), ("val", 5)):
        batch = every(data, split)
        assert batch.states.shape[1:] == (9, 2)
        assert (batch.states[:, :, 0] == batch.states[:, :1, 0]).all()  # no window crosses episodes
        assert (batch.states[:, :, 1].diff(dim=1) == 1).all()
        torch.testing.assert_close(batch.actions, 0.5 * batch.states)
        assert set(batch.states[:, 0, 1].tolist()) == {float(s) for s in range(0, 32, stride)}


def test_a_motion_is_in_one_split_only(tmp_path):
    data = make(root=str(write_native(tmp_path / "count.npz")))
    motions = [set(every(data, split).states[:, 0, 0].tolist()) for split in ("train", "val", "test")]
    assert sum(map(len, motions)) == len(set.union(*motions)) == 6
    other = make(root=str(write_native(tmp_path / "count.npz")), seed=3)
    assert set(every(other, "test").states[:, 0, 0].tolist()) != motions[2]


def test_statistics_standardise_the_training_windows():
    data = make()
    batch, s = every(data, "train"), {name: torch.tensor(value) for name, value in data.statistics.items()}
    for values, mean, std in ((batch.states, "state_mean", "state_std"), (batch.actions, "action_mean", "action_std")):
        flat = ((values - s[mean]) / s[std]).flatten(0, 1)
        torch.testing.assert_close(flat.mean(dim=0), torch.zeros(flat.shape[1]), rtol=0, atol=1e-4)
        torch.testing.assert_close(flat.std(dim=0, correction=0), torch.ones(flat.shape[1]), rtol=1e-4, atol=0)


def test_the_current_step_is_the_origin_of_the_generated_windows():
    states = every(make(), "train").states
    assert states[:, 2, [0, 1, 4]].abs().max() < 1e-6
    assert states[:, :, :2].abs().max() > 0.1


def test_actions_lead_to_the_next_state():
    """The base's own velocity follows the action of the step before more closely than that of its own."""
    batch = every(make(), "train")
    velocity, action = batch.states[:, 1:, 5:7], batch.actions[..., :2]
    before = (velocity - action[:, :-1]).square().mean()
    after = (velocity - action[:, 1:]).square().mean()
    assert before < after


def test_robots_get_bodies_joints_and_joint_targets(tmp_path):
    data = make(root=str(write_g1(tmp_path / "g1")), source_fps=60, std_floor=1e-3)
    layout, batch = data.layout, every(data, "train")
    assert [part["name"] for part in layout["state"]][3:] == ["body_pos", "body_vel", "joint_pos"]
    torch.testing.assert_close(batch.actions[:, :-1], batch.states[:, 1:, -29:])  # the next step's joints
    feet = data.feet(batch.states)
    assert feet.shape == (*batch.states.shape[:2], 4, 3)
    assert feet[..., 2].abs().max() < 0.08  # it stands
    assert data.figures() == {}
    data.show({"ground truth": batch.states[0]})
    assert list(data.figures()) == ["plans"]
    assert make().feet(every(make(), "val").states) is None


def test_mirror_images_are_for_learning_only(tmp_path):
    root = str(write_g1(tmp_path / "g1"))
    plain, doubled = (make(root=root, source_fps=60, std_floor=1e-3, mirror=m) for m in (False, True))
    assert len(doubled.split("train")) == 2 * len(plain.split("train"))
    assert len(doubled.split("test")) == len(plain.split("test"))


def test_resampling_halves_the_windows_and_keeps_the_motion(tmp_path):
    root = str(write_g1(tmp_path / "g1"))
    full, half = (make(root=root, source_fps=60, std_floor=1e-3, fps=fps) for fps in (None, 30))
    assert (full.layout["fps"], half.layout["fps"]) == (60.0, 30.0)
    speeds = [every(data, "train").states[..., 3].mean() for data in (full, half)]
    torch.testing.assert_close(speeds[0], speeds[1], rtol=0.02, atol=0)


def test_jumps_split_or_drop_recordings(tmp_path):
    folder = write_g1(tmp_path / "g1", clips=6)
    rows = np.loadtxt(folder / "clip0.csv", delimiter=",")
    rows[40:, 10] += 2.0
    np.savetxt(folder / "clip0.csv", rows, delimiter=",")

    def recordings(jumps):
        return make(root=str(folder), source_fps=60, std_floor=1e-3, jumps=jumps).split("train").store.names

    assert len(recordings("keep")) == 6
    assert len(recordings("split")) == 7
    assert len(recordings("drop")) == 5


def test_a_seed_decides_what_is_generated():
    one, same, other = make(), make(), make(seed=1)
    assert torch.equal(every(one, "train").states, every(same, "train").states)
    assert every(other, "train").states.shape != every(one, "train").states.shape or not torch.equal(
        every(other, "train").states, every(one, "train").states
    )


def test_tasks_are_those_asked_for():
    data = make(tasks=["waypoint"], task_episodes=3)
    found = data.baselines("test")
    assert set(found) == {"expert", "zero", "random"}
    assert list(found["expert"]) == ["waypoint"]
    assert len(found["expert"]["waypoint"].success) == 3
    assert data.rollout(lambda h, t: torch.zeros(3, 4, 3), "val") == {}
    assert list(
        make(tasks=["waypoint"], task_episodes=3, val_tasks=True).rollout(lambda h, t: torch.zeros(3, 4, 3), "val")
    ) == ["waypoint"]
    data.rollout(lambda h, t: torch.zeros(3, 4, 3), "test")
    assert list(data.figures()) == ["waypoint"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "horizon=0"),
        ({"stride": 0}, "stride=0"),
        ({"tasks": ["fly"]}, r"tasks.*fly.*forest"),
        ({"val": 0.6, "test": 0.6}, "shares"),
        ({"horizon": 100}, "longer than every recording"),
        ({"root": "/nowhere"}, "/nowhere"),
    ],
)
def test_bad_settings_say_what_to_write(changes, message):
    with pytest.raises(LitmotifError, match=message):
        make(**changes).split("train")


def test_mirror_needs_named_joints(tmp_path):
    with pytest.raises(DataError, match="mirror=true"):
        make(root=str(write_native(tmp_path / "count.npz")), mirror=True).split("train")


def test_columns_that_never_vary_are_named(tmp_path):
    layout = {"state": [{"name": "angle", "size": 1}, {"name": "dead", "size": 1}]}
    states = np.stack([np.random.default_rng(0).normal(size=240), np.zeros(240)], axis=1)
    path = write_native(tmp_path / "still.npz", states=states, layout=json.dumps(layout))
    with pytest.raises(DataError, match=r"never vary.*dead"):
        _ = make(root=str(path)).statistics
    assert make(root=str(path), std_floor=0.1).statistics["state_std"][1] == pytest.approx(0.1)
