"""Native npz, Minari, LeRobot, and folders of them."""

import json

import numpy as np
import pytest
import torch

from datamodules.core import DataError
from datamodules.files import checks
from datamodules.robots.kinematics import g1
from datamodules.robots.recording import Recording, Slice
from datamodules.trajectories.features import robot_features
from datamodules.trajectories.readers import lerobot, minari, native, read_folder
from litmotif.geometry.rotations import about

from .robots import motion, normal
from .test_readers_robot import csv_rows, write_csv

CLOSE = {"rtol": 0, "atol": 1e-10}


def base(steps=20, seed=0):
    """A planar base with local features."""
    flat = torch.tensor([1.0, 1.0, 0.0])
    return Recording(
        "base",
        10.0,
        root_pos=normal(steps, 3, seed=seed) * flat,
        root_quat=about("z", normal(steps, seed=seed + 1).sin() * 3),
        root_vel=normal(steps, 3, seed=seed + 2) * flat,
        planar=True,
        local=normal(steps, 3, seed=seed + 3),
        slices=(Slice("body_vel", 2, "m/s", "local"), Slice("yaw_rate", 1, "rad/s", "local")),
        actions=normal(steps, 2, seed=seed + 4),
        action_slices=(Slice("command", 2, "m/s"),),
        bodies=("wheel",),
        contacts=torch.ones(steps, 1, dtype=torch.float64),
    )


# ---------------------------------------------------------------------- native
@pytest.mark.parametrize("make", [base, lambda seed=0: robot_features(motion(seed=seed), g1())])
def test_native_round_trip(tmp_path, make):
    written = [make(seed=0), make(seed=1).cut(3, 17)]
    native.write(tmp_path / "set.npz", written)
    read = read_folder(tmp_path)
    assert [recording.name for recording in read] == ["set/0", "set/1"]
    for one, other in zip(written, read, strict=True):
        assert one.layout == other.layout
        assert set(one.series()) == set(other.series())
        for key, value in one.series().items():
            torch.testing.assert_close(other.series()[key], value, **CLOSE)


def test_native_needs_three_arrays_only(tmp_path):
    states, actions = normal(10, 4), normal(10, 2)
    np.savez(tmp_path / "set.npz", states=states, actions=actions, episode_ends=[4, 10])
    with pytest.raises(DataError, match=r"set\.npz.*fps=\.\.\."):
        native.read(tmp_path / "set.npz")
    one, two = native.read(tmp_path / "set.npz", fps=20)
    assert (one.layout["root"], one.layout["fps"], len(one), len(two)) == (None, 20, 4, 6)
    torch.testing.assert_close(two.local, states[4:], **CLOSE)
    torch.testing.assert_close(two.actions, actions[4:], **CLOSE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode_ends": [10, 4]}, r"episode_ends=\[10, 4\]: rising"),
        ({"episode_ends": [4, 9]}, r"the last is 10"),
        ({"actions": np.zeros((9, 2))}, r"10 states and 9 actions"),
        ({"states": np.full((10, 4), np.nan)}, r"states row 0, column 0: nan \(40 such"),
        ({"states": np.zeros(10)}, r"states has shape \(10,\)"),
        ({"states": np.zeros((0, 4)), "actions": np.zeros((0, 2))}, r"states is empty"),
        ({"layout": "{"}, r"layout is not the JSON"),
        ({"layout": json.dumps({"state": [{"name": "x", "size": 3}]})}, r"layout\.state names 3 columns of 4"),
        ({"layout": json.dumps({"root": "flying"})}, r"layout\.root=flying"),
        ({"joint_names": ["a"], "joint_limits": [[1.0, 0.0]]}, r"joint_limits \(1, 2\): lower and upper"),
        ({"contacts": np.zeros((9, 2))}, r"contacts has 9 rows"),
        ({"fps": [0.0]}, r"fps=0\.0"),
        ({"fps": ["quick"]}, r"is no number"),
    ],
)
def test_bad_native(tmp_path, change, message):
    arrays = {"states": np.ones((10, 4)), "actions": np.ones((10, 2)), "episode_ends": [4, 10], "fps": [20.0]}
    path = tmp_path / "set.npz"
    np.savez(path, **arrays | change)
    with pytest.raises(DataError, match=rf"set\.npz.*{message}"):
        native.read(path)


def test_native_without_a_key_or_an_end(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, states=np.ones((10, 4)), actions=np.ones((10, 2)))
    with pytest.raises(DataError, match="key episode_ends missing; there are: states, actions"):
        native.read(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"set\.npz: no readable npz file"):
        native.read(path)


# ---------------------------------------------------------------------- Minari
def write_minari(path, episodes):
    h5py = pytest.importorskip("h5py")
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for k, arrays in enumerate(episodes):
            for key, value in arrays.items():
                file[f"episode_{k}/{key}"] = value
    return path


def test_minari_episodes_in_their_order_without_the_last_observation(tmp_path):
    episodes = [{"observations": normal(6 + k, 3, seed=k), "actions": normal(5 + k, 2, seed=k)} for k in range(12)]
    path = write_minari(tmp_path / "hopper" / "data" / "main_data.hdf5", episodes)
    read = read_folder(tmp_path, fps=25)
    assert [recording.name for recording in read] == [f"hopper/{k}" for k in range(12)]
    for arrays, recording in zip(episodes, read, strict=True):
        torch.testing.assert_close(recording.local, arrays["observations"][:-1], **CLOSE)
        torch.testing.assert_close(recording.actions, arrays["actions"], **CLOSE)
    write_minari(tmp_path / "walker" / "data" / "main_data.hdf5", episodes[:1])
    assert [recording.name for recording in read_folder(tmp_path, fps=25)][-2:] == ["hopper/11", "walker/0"]
    with pytest.raises(DataError, match=r"main_data\.hdf5.*fps=\.\.\."):
        minari.read(path)


def test_minari_dict_spaces_become_slices(tmp_path):
    episode = {"observations/a": normal(5, 2), "observations/b/c": normal(5, 3), "actions": normal(4, 1)}
    (read,) = minari.read(write_minari(tmp_path / "main_data.hdf5", [episode]), fps=25)
    assert [part[:2] for part in read.slices] == [("observation/a", 2), ("observation/b/c", 3)]
    torch.testing.assert_close(read.local, torch.cat((normal(5, 2), normal(5, 3)), 1)[:-1], **CLOSE)


def test_bad_minari(tmp_path):
    path, good = tmp_path / "main_data.hdf5", {"observations": normal(5, 2), "actions": normal(4, 1)}
    write_minari(path, [good, {"observations": normal(5, 2), "actions": normal(5, 1)}])
    with pytest.raises(DataError, match=r"main_data\.hdf5: episode_1 has 5 observations and 5 actions"):
        minari.read(path, fps=25)
    write_minari(path, [{"observations": normal(5, 2), "actions": np.zeros(4, dtype=np.int64)}])
    with pytest.raises(DataError, match="episode_0/actions is int64: only continuous"):
        minari.read(path, fps=25)
    write_minari(path, [{"observations": normal(5, 2)}])
    with pytest.raises(DataError, match="episode_0: key actions missing"):
        minari.read(path, fps=25)
    write_minari(path, [])
    with pytest.raises(DataError, match="group episode_0 missing"):
        minari.read(path, fps=25)
    bad = normal(5, 2)
    bad[3, 1] = torch.nan
    write_minari(path, [good | {"observations": bad}])
    with pytest.raises(DataError, match="episode_0/observations row 3, column 1: nan"):
        minari.read(path, fps=25)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=r"main_data\.hdf5: no readable HDF5 file"):
        minari.read(path, fps=25)


# ---------------------------------------------------------------------- LeRobot
def write_lerobot(root, tables, version="v3.0", **info):
    """``tables``: file name -> (states, actions, episode of each row, frame of each row)."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta" / "info.json").write_text(json.dumps({"codebase_version": version, "fps": 30} | info))
    for name, (states, actions, episode, frame) in tables.items():
        path = root / "data" / "chunk-000" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "observation.state": arrow.array(states.tolist(), arrow.list_(arrow.float64(), states.shape[1])),
            "action": arrow.array(actions.tolist(), arrow.list_(arrow.float64())),
            "episode_index": list(episode),
            "frame_index": list(frame),
            "task": ["walk"] * len(states),
        }
        parquet.write_table(arrow.table(columns), path)
    return root


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_lerobot_episodes(tmp_path, version):
    states, actions = normal(9, 3), normal(9, 2)
    if version == "v2.1":  # one file an episode
        tables = {
            "episode_000000.parquet": (states[:4], actions[:4], [0] * 4, range(4)),
            "episode_000001.parquet": (states[4:], actions[4:], [1] * 5, range(5)),
        }
    else:  # files hold several, and cut one
        tables = {
            "file-000.parquet": (states[:6], actions[:6], [0] * 4 + [1] * 2, [0, 1, 2, 3, 0, 1]),
            "file-001.parquet": (states[6:], actions[6:], [1] * 3, [2, 3, 4]),
        }
    root = write_lerobot(tmp_path / "arm", tables, version)
    one, two = read_folder(tmp_path)
    assert (one.name, two.name, one.fps) == ("arm/0", "arm/1", 30)
    torch.testing.assert_close(torch.cat((one.local, two.local)), states, **CLOSE)
    torch.testing.assert_close(torch.cat((one.actions, two.actions)), actions, **CLOSE)
    assert [len(recording) for recording in lerobot.read(root)] == [4, 5]


def test_bad_lerobot(tmp_path):
    good = (normal(4, 3), normal(4, 2), [0] * 4, range(4))
    root = write_lerobot(tmp_path / "a", {"file-000.parquet": (*good[:3], [0, 1, 3, 4])})
    with pytest.raises(DataError, match=r"file-000\.parquet: episode 0: frame_index is 3 in its row 2"):
        lerobot.read(root)
    with pytest.raises(DataError, match=r"codebase_version=v1\.6"):
        lerobot.read(write_lerobot(tmp_path / "b", {}, "v1.6"))
    with pytest.raises(DataError, match=r"no parquet file"):
        lerobot.read(write_lerobot(tmp_path / "c", {}))
    with pytest.raises(DataError, match=r"info\.json.*fps=\.\.\."):
        lerobot.read(write_lerobot(tmp_path / "d", {"file-000.parquet": good}, fps=None))
    states = normal(4, 3)
    states[2, 1] = torch.inf
    with pytest.raises(DataError, match=r"file-000\.parquet: observation\.state row 2, column 1: inf"):
        lerobot.read(write_lerobot(tmp_path / "e", {"file-000.parquet": (states, *good[1:])}))
    path = root / "data" / "chunk-000" / "file-000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"file-000\.parquet: no readable parquet file"):
        lerobot.read(root)
    (root / "meta" / "info.json").write_text("{}")
    with pytest.raises(DataError, match=r"info\.json: no readable description"):
        lerobot.read(root)


# ---------------------------------------------------------------------- folders
def test_names_are_paths_below_the_folder(tmp_path):
    for name in ("a/walk", "b/walk"):
        write_csv(tmp_path / f"{name}.csv", csv_rows(motion()))
    assert [recording.name for recording in read_folder(tmp_path, fps=50)] == ["a/walk", "b/walk"]
    assert [recording.name for recording in read_folder(tmp_path / "a" / "walk.csv", fps=50)] == ["walk"]


def test_mixed_formats_are_asked_about(tmp_path):
    write_csv(tmp_path / "walk.csv", csv_rows(motion()))
    native.write(tmp_path / "base.npz", [base()])
    with pytest.raises(DataError, match=r"more than one format: .*native \(1\).*format="):
        read_folder(tmp_path, fps=50)
    assert len(read_folder(tmp_path, "g1_csv", fps=50)) == 1
    assert len(read_folder(tmp_path, "native")) == 1


def test_nothing_strange_is_passed_over(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no recording found"):
        read_folder(tmp_path)
    np.savez(tmp_path / "odd.npz", a=[1])
    with pytest.raises(DataError, match=r"Not recognised: .*odd\.npz"):
        read_folder(tmp_path)
    write_csv(tmp_path / "walk.csv", csv_rows(motion()))
    with pytest.raises(DataError, match=r"odd\.npz: of no known format"):
        read_folder(tmp_path, fps=50)
    assert len(read_folder(tmp_path, "g1_csv", fps=50)) == 1
    with pytest.raises(DataError, match="bodies: not an option of g1_csv"):
        read_folder(tmp_path, "g1_csv", fps=50, bodies=["pelvis"])
    with pytest.raises(DataError, match="format=bvh: one of auto, native"):
        read_folder(tmp_path, "bvh")


@pytest.mark.parametrize("library", ["h5py", "pyarrow"])
def test_missing_libraries_name_the_extra(tmp_path, monkeypatch, library):
    def missing(name):
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(checks, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=rf"{library}.*pip install 'litmotif\[motion\]'"):
        checks.optional(library)
