"""Files of robots and data sets that strangers bring: another robot than ours, other storage, other names."""

import json

import numpy as np
import pytest
import torch

import datamodules
from datamodules.core import DataError
from datamodules.robots.kinematics import from_mjcf
from datamodules.trajectories.readers import lerobot, read_folder

STEPS = 60
# a body with an arm of two hinges; depth first and breadth first are one order
CHAIN = """<mujoco><worldbody><body name="base" pos="0 0 1"><freejoint/><geom size=".1"/>
<body name="upper" pos="0 0 .2"><joint name="shoulder" axis="0 1 0"/><geom size=".1"/>
<body name="lower" pos=".3 0 0"><joint name="elbow" axis="0 0 1" range="-1 1" limited="true"/><geom size=".1"/>
</body></body></body></worldbody></mujoco>"""
BRANCHES = CHAIN.replace(
    "</body></worldbody>",
    '<body name="tail" pos="-.2 0 0"><joint name="wag" axis="0 0 1"/><geom size=".1"/></body></body></worldbody>',
)


def motion(tree, seed=0):
    """Root (T, 3), quaternion x y z w (T, 4) and joints (T, J) of a robot that goes about and waves."""
    t = torch.arange(STEPS, dtype=torch.float64) / 50
    rates = 1 + torch.arange(len(tree.joints)) + seed
    half = 0.3 * t / 2
    quat = torch.stack((0 * t, 0 * t, half.sin(), half.cos()), dim=-1)
    root = torch.stack((t, (2 * t + seed).sin(), 1 + 0.1 * t.cos()), dim=-1)
    return root, quat, 0.7 * (t[:, None] * rates + 1).sin()


def beyondmimic(path, tree, seed):
    root, quat, joints = motion(tree, seed)
    pos, turn = tree.forward(root, quat, joints)
    np.savez(path.with_suffix(".npz"), fps=50, joint_pos=joints, body_pos_w=pos, body_quat_w=turn[..., [3, 0, 1, 2]])


def csv(path, tree, seed):
    root, quat, joints = motion(tree, seed)
    np.savetxt(path.with_suffix(".csv"), torch.cat((root, quat, joints), dim=1), delimiter=",")


@pytest.mark.parametrize("xml", [CHAIN, BRANCHES])
@pytest.mark.parametrize("write", [beyondmimic, csv])
def test_another_robot_is_read_by_every_reader(tmp_path, write, xml):
    pytest.importorskip("mujoco")
    (tmp_path / "other.xml").write_text(xml)
    tree = from_mjcf(tmp_path / "other.xml")
    (tmp_path / "data").mkdir()
    for seed in range(3):
        write(tmp_path / "data" / f"m{seed}", tree, seed)
    rate = None if write is beyondmimic else 50.0
    given = {"root": str(tmp_path / "data"), "history": 1, "horizon": 4, "source_fps": rate, "std_floor": 0.01}
    data = datamodules.Trajectories(robot=str(tmp_path / "other.xml"), **given)
    layout = data.layout
    assert (layout["joints"], layout["bodies"]) == (list(tree.joints), [name for name in tree.bodies if name != "base"])
    (read,) = read_folder(tmp_path / "data" / f"m1{'.npz' if rate is None else '.csv'}", fps=rate, tree=tree)
    root, quat, joints = motion(tree, 1)
    for found, true in ((read.root_pos, root), (read.root_quat, quat), (read.joint_pos, joints)):
        torch.testing.assert_close(found, true)
    batch = data.split("test").__getitems__([(0, 0)])
    assert data.feet(batch.states) is None, "nobody knows the soles of this robot"
    with pytest.raises(DataError, match=r"data\.robot"):
        datamodules.Trajectories(**given).split("train")


# ---------------------------------------------------------------------- Minari
def write_arrow(root, episodes, struct=False):
    """A dataset as Minari writes it with ``data_format="arrow"``: T + 1 rows, the last action padded."""
    arrow, dataset = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")

    def column(values):
        flat = arrow.array(values.reshape(-1))
        return arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    data = root / "data"
    for k, (seen, done) in enumerate(episodes):
        padded = np.pad(done, ((0, 1), (0, 0)))
        seen = (
            arrow.StructArray.from_arrays([column(seen), column(seen[:, :1])], ["a", "b"]) if struct else column(seen)
        )
        rows = {"episode_id": np.full(len(padded), k, np.int32), "observations": seen, "actions": column(padded),
                "rewards": np.zeros(len(padded))}  # fmt: skip
        dataset.write_dataset(
            arrow.RecordBatch.from_pydict(rows), data, format="arrow", partitioning=["episode_id"],
            existing_data_behavior="overwrite_or_ignore",
        )  # fmt: skip
        (data / str(k) / "metadata.json").write_text(json.dumps({"id": k}))
    (data / "metadata.json").write_text(json.dumps({"data_format": "arrow", "total_episodes": len(episodes)}))


def episodes(count=12):
    draw = np.random.default_rng(0)
    return [(draw.normal(size=(6 + k, 3)), draw.normal(size=(5 + k, 2))) for k in range(count)]


@pytest.mark.parametrize("struct", [False, True])
@pytest.mark.parametrize("below", ["", "data"])
def test_minari_in_arrow_format(tmp_path, struct, below):
    write_arrow(tmp_path / "hopper", episodes(), struct)
    read = read_folder(tmp_path / "hopper" / below, fps=25)
    assert [one.name.rpartition("/")[2] for one in read] == [str(k) for k in range(12)]
    for one, (seen, done) in zip(read, episodes(), strict=True):
        seen = np.concatenate((seen, seen[:, :1]), axis=1) if struct else seen
        torch.testing.assert_close(one.local, torch.from_numpy(seen[:-1]))
        torch.testing.assert_close(one.actions, torch.from_numpy(done))
    names = [part.name for part in read[0].slices]
    assert names == (["observation/a", "observation/b"] if struct else ["observation"])
    with pytest.raises(DataError, match=r"data\.source_fps"):
        datamodules.Trajectories(root=str(tmp_path), history=0, horizon=2).split("train")


def test_a_broken_episode_is_left_out_and_counted(tmp_path):
    write_arrow(tmp_path, episodes(4))
    next((tmp_path / "data" / "2").glob("*.arrow")).write_bytes(b"ARROW1 cut off")
    with pytest.raises(DataError, match=r"1 of 4 files are broken[\s\S]*no readable Arrow file"):
        read_folder(tmp_path, fps=25)
    with pytest.warns(UserWarning, match="1 of 4 files are broken and were left out"):
        assert len(read_folder(tmp_path, fps=25, max_bad=0.25)) == 3


def test_a_broken_file_is_left_out_and_counted(tmp_path):
    for k in range(4):
        states = np.random.default_rng(k).normal(size=(20, 2))
        np.savez(tmp_path / f"{k}.npz", states=states, actions=states, episode_ends=[20], fps=10)
    np.savez(tmp_path / "3.npz", states=np.full((20, 2), np.nan), actions=states, episode_ends=[20], fps=10)
    given = {"root": str(tmp_path), "history": 0, "horizon": 2}
    with pytest.raises(DataError, match=r"1 of 4 files[\s\S]*data\.max_bad"):
        datamodules.Trajectories(**given).split("train")
    data = datamodules.Trajectories(**given, max_bad=0.25, val=0, test=0)
    with pytest.warns(UserWarning, match="1 of 4 files"):
        assert len(data.split("train").store.names) == 3
    assert len(data.split("test")) > 0, "the training motions stand in for a split of none"


# ---------------------------------------------------------------------- LeRobot
def test_lerobot_state_of_another_name(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "meta").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "meta" / "info.json").write_text(json.dumps({"codebase_version": "v3.0", "fps": 10}))
    draw = np.random.default_rng(0)
    arm, grip, action = draw.normal(size=(30, 4)), draw.normal(size=30), draw.normal(size=(30, 2))
    columns = {"observation.arm": arm.tolist(), "observation.grip": grip, "action": action.tolist(),
               "episode_index": np.arange(30) // 10, "frame_index": np.arange(30) % 10}  # fmt: skip
    parquet.write_table(arrow.table(columns), tmp_path / "data" / "file-000.parquet")
    with pytest.raises(DataError, match=r"no column observation\.state; there are: observation\.arm.*data\.state_keys"):
        lerobot.read(tmp_path)
    keys = ["observation.arm", "observation.grip"]
    read = read_folder(tmp_path, state_keys=keys)
    assert [part[:2] for part in read[0].slices] == [("observation.arm", 4), ("observation.grip", 1)]
    torch.testing.assert_close(torch.cat([one.local for one in read]), torch.from_numpy(np.c_[arm, grip]))
    data = datamodules.Trajectories(root=str(tmp_path), state_keys=keys, history=0, horizon=2)
    assert sum(part["size"] for part in data.layout["state"]) == 5
