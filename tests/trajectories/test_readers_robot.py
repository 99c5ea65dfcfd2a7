"""G1 csv and BeyondMimic npz: what was written is read, whatever the order, and what is wrong is named."""

import json

import numpy as np
import pytest
import roma
import torch

from datamodules.core import DataError
from datamodules.robots import g1_csv
from datamodules.robots.kinematics import g1
from datamodules.trajectories.readers import beyondmimic, read_folder

from .robots import motion

ORDERS = {"mujoco": (list(g1().bodies), list(g1().joints)), "physx": g1().breadth_first()}


def csv_rows(recording):
    return torch.cat((recording.root_pos, recording.root_quat, recording.joint_pos), dim=1).numpy()


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, delimiter=",", fmt="%.9f")
    return path


def beyondmimic_arrays(recording, bodies, joints):
    tree = g1()
    pos, quat = tree.forward(recording.root_pos, recording.root_quat, recording.joint_pos)
    rows = tree.rows(bodies)
    return {
        "fps": np.array([recording.fps]),
        "joint_pos": recording.joint_pos[:, tree.rows(joints, "joints")].numpy(),
        "body_pos_w": pos[:, rows].numpy(),
        "body_quat_w": roma.quat_xyzw_to_wxyz(quat[:, rows]).numpy(),
    }


def assert_same(read, written, atol=1e-8):
    assert (read.fps, read.joints) == (written.fps, g1().joints)
    for key in ("root_pos", "root_quat", "joint_pos"):
        torch.testing.assert_close(getattr(read, key), getattr(written, key), rtol=0, atol=atol)
    torch.testing.assert_close(read.limits, g1().limits)


# ---------------------------------------------------------------------- csv
def test_csv_is_what_was_written(tmp_path):
    walk = motion()
    path = write_csv(tmp_path / "walk.csv", csv_rows(walk))
    (read,) = g1_csv.read(path, fps=50)
    assert read.name == "walk"
    assert_same(read, walk)


def test_fps_comes_from_the_caller_or_a_manifest_and_never_from_nowhere(tmp_path):
    path = write_csv(tmp_path / "csv" / "walk.csv", csv_rows(motion()))
    with pytest.raises(DataError, match=r"walk\.csv.*fps=\.\.\."):
        g1_csv.read(path)
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": {"walk": {"fps": 60}}}))
    assert g1_csv.read(path)[0].fps == 60
    assert g1_csv.read(path, fps=30)[0].fps == 30
    (tmp_path / "csv" / "manifest.json").write_text(json.dumps({"clips": {}}))
    with pytest.raises(DataError, match=r"manifest\.json: no clips\.walk\.fps"):
        g1_csv.read(path)
    with pytest.raises(DataError, match="above 0"):
        g1_csv.read(path, fps=-1)


def test_columns_of_joints_may_be_in_another_order(tmp_path):
    walk, (_, joints) = motion(), ORDERS["physx"]
    rows = csv_rows(walk)
    rows[:, 7:] = rows[:, 7:][:, g1().rows(joints, "joints")]
    (read,) = g1_csv.read(write_csv(tmp_path / "walk.csv", rows), fps=50, joints=joints)
    assert read.joints == tuple(joints)
    back = [read.joints.index(name) for name in g1().joints]
    torch.testing.assert_close(read.joint_pos[:, back], walk.joint_pos, rtol=0, atol=1e-8)
    torch.testing.assert_close(read.limits[back], g1().limits)


def test_a_quaternion_in_the_other_order_is_noticed(tmp_path):
    walk = motion()
    rows = csv_rows(walk)
    rows[:, 3:7] = roma.quat_xyzw_to_wxyz(walk.root_quat).numpy()
    path = write_csv(tmp_path / "walk.csv", rows)
    with pytest.raises(DataError, match="quaternion=wxyz"):
        g1_csv.read(path, fps=50)
    assert_same(g1_csv.read(path, fps=50, quaternion="wxyz")[0], walk)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda rows: rows[:, :35], r"35 columns, a G1 csv has 36"),
        (lambda rows: np.where(np.arange(60)[:, None] == 7, np.nan, rows), r"row 7, column 0: nan"),
        (lambda rows: np.where(np.arange(60)[:, None] == 9, np.inf, rows), r"row 9, column 0: inf"),
        (lambda rows: rows * np.where(np.arange(36) == 5, 2, 1), r"root quaternion.*row 0.*no unit quaternion"),
        (lambda rows: rows[:0], r"empty"),
    ],
)
def test_bad_csv(tmp_path, broken, message):
    path = write_csv(tmp_path / "walk.csv", broken(csv_rows(motion())))
    with pytest.raises(DataError, match=rf"walk\.csv.*{message}"):
        g1_csv.read(path, fps=50)
    with pytest.raises(DataError, match=r"walk\.csv"):
        read_folder(tmp_path, fps=50)


def test_text_and_unknown_joints(tmp_path):
    path = tmp_path / "walk.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"walk\.csv: not 36 numbers in each line"):
        g1_csv.read(path, fps=50)
    path = write_csv(path, csv_rows(motion()))
    with pytest.raises(DataError, match="unknown joints: tail_joint"):
        g1_csv.read(path, fps=50, joints=[*g1().joints[:-1], "tail_joint"])
    with pytest.raises(DataError, match="name each of the 29 joints once"):
        g1_csv.read(path, fps=50, joints=g1().joints[:-1])


# ---------------------------------------------------------------------- BeyondMimic
@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_joints_and_bodies_is_found(tmp_path, order):
    walk = motion()
    np.savez(tmp_path / "walk.npz", **beyondmimic_arrays(walk, *ORDERS[order]))
    (read,) = beyondmimic.read(tmp_path / "walk.npz")
    assert_same(read, walk)


def test_named_bodies_may_be_more_than_the_robot_has(tmp_path):
    walk, (bodies, joints) = motion(), ORDERS["physx"]
    arrays = beyondmimic_arrays(walk, bodies, joints)
    for key in ("body_pos_w", "body_quat_w"):
        arrays[key] = np.concatenate((arrays[key][:, :1], arrays[key]), axis=1)
    np.savez(tmp_path / "walk.npz", **arrays)
    with pytest.raises(DataError, match=r"walk\.npz: 31 bodies, 30 are named"):
        beyondmimic.read(tmp_path / "walk.npz")
    assert_same(beyondmimic.read(tmp_path / "walk.npz", bodies=["imu", *bodies])[0], walk)


def test_an_unknown_order_is_an_error_with_a_distance(tmp_path):
    bodies, joints = ORDERS["mujoco"]
    shuffled = [*bodies[15:], *bodies[:15]]
    np.savez(tmp_path / "walk.npz", **beyondmimic_arrays(motion(), shuffled, joints))
    with pytest.raises(DataError, match=r"off by \d+ mm.*bodies="):
        beyondmimic.read(tmp_path / "walk.npz")
    assert_same(beyondmimic.read(tmp_path / "walk.npz", bodies=shuffled)[0], motion())
    with pytest.raises(DataError, match="off by"):
        beyondmimic.read(tmp_path / "walk.npz", bodies=bodies)


def test_what_cannot_be_told_is_asked(tmp_path):
    walk = motion()
    arrays = beyondmimic_arrays(walk, *ORDERS["mujoco"])
    arrays["body_quat_w"] = arrays["body_quat_w"][..., [1, 2, 3, 0]]
    np.savez(tmp_path / "walk.npz", **arrays)
    with pytest.raises(DataError, match="body_quat_w is x y z w"):
        beyondmimic.read(tmp_path / "walk.npz")
    still = motion()
    still.joint_pos.zero_()
    np.savez(tmp_path / "still.npz", **beyondmimic_arrays(still, *ORDERS["mujoco"]))
    with pytest.raises(DataError, match=r"still\.npz.*too still.*joints="):
        beyondmimic.read(tmp_path / "still.npz")


def test_bad_npz(tmp_path):
    arrays = beyondmimic_arrays(motion(), *ORDERS["mujoco"])
    path = tmp_path / "walk.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if key != "fps"})
    with pytest.raises(DataError, match=r"fps=\.\.\."):
        beyondmimic.read(path)
    assert beyondmimic.read(path, fps=30)[0].fps == 30
    np.savez(path, **arrays)
    assert beyondmimic.read(path, fps=30)[0].fps == 30
    np.savez(path, **{key: value for key, value in arrays.items() if key != "body_quat_w"})
    with pytest.raises(DataError, match=r"walk\.npz: key body_quat_w missing; there are: fps, joint_pos"):
        beyondmimic.read(path)
    np.savez(path, **arrays | {"joint_pos": arrays["joint_pos"][:-1]})
    with pytest.raises(DataError, match="59 joint_pos and 60 body_pos_w"):
        beyondmimic.read(path)
    arrays["body_quat_w"][11, 4] = 0
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"body_quat_w row 11: .*no unit quaternion"):
        beyondmimic.read(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"walk\.npz: no readable npz file"):
        beyondmimic.read(path)
    with pytest.raises(DataError, match=r"walk\.npz: no readable npz file"):
        read_folder(tmp_path)
