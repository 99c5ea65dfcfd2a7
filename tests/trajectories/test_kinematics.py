"""Forward kinematics against SciPy, MuJoCo and itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from datamodules.core import DataError
from datamodules.robots import kinematics
from datamodules.robots.kinematics import G1_TRACKED, KinematicTree, from_mjcf, g1

from .robots import normal, unit

CLOSE = {"rtol": 0, "atol": 1e-10}
MJCF = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="base" pos="0 0 1">
      <freejoint/> <geom size=".1"/>
      <body name="arm" pos=".1 .2 .3" quat=".8 .6 0 0">
        <joint name="a" axis="0 1 0" range="-1 2" limited="true"/>
        <joint name="b" axis="1 0 1" pos=".05 0 -.1"/>
        <geom size=".1"/>
        <body name="hand" pos="0 0 -.4"><joint name="c" axis="1 2 3" pos="0 .2 0"/><geom size=".1"/></body>
      </body>
      <body name="head" pos="0 0 .5"><geom size=".1"/></body>
    </body>
  </worldbody>
</mujoco>
"""


def homogeneous(pos, quat):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = Rotation.from_quat(quat).as_matrix(), pos
    return matrix


def test_g1_is_a_chain_of_homogeneous_matrices():
    bodies = json.loads((Path(kinematics.__file__).parent / "g1.json").read_text())["bodies"]
    root_pos, root_quat, joints = normal(3), unit(1)[0], normal(29)
    angles, placed = iter(joints.tolist()), {None: homogeneous(root_pos, root_quat)}
    for body in bodies:
        own = homogeneous(body.get("pos", [0, 0, 0]), np.roll(body.get("quat", [1, 0, 0, 0]), -1))
        for joint in body.get("joints", []):
            turn = Rotation.from_rotvec(np.array(joint["axis"]) * next(angles))
            own = own @ homogeneous([0, 0, 0], turn.as_quat())
        placed[body["name"]] = placed[body["parent"]] @ own
    pos, quat = g1().forward(root_pos, root_quat, joints)
    for row, name in enumerate(g1().bodies):
        np.testing.assert_allclose(pos[row], placed[name][:3, 3], atol=1e-12)
        turned = Rotation.from_quat(quat[row].numpy()).as_matrix()
        np.testing.assert_allclose(turned, placed[name][:3, :3], atol=1e-12)


def test_g1_is_whole():
    tree = g1()
    assert (len(tree.bodies), len(tree.joints)) == (30, 29)
    assert (tree.limits[:, 0] < tree.limits[:, 1]).all()
    assert tree.limits.isfinite().all()
    assert set(G1_TRACKED) < set(tree.bodies)
    assert [tree.joints[j] for j in (0, 3, 12, 28)] == [
        "left_hip_pitch_joint",
        "left_knee_joint",
        "waist_yaw_joint",
        "right_wrist_yaw_joint",
    ]


def test_batches_of_any_shape_are_the_same_poses():
    joints, pos, quat = normal(2, 3, 29), normal(2, 3, 3), unit(2, 3)
    together = g1().forward(pos, quat, joints)[0]
    alone = torch.stack([g1().forward(pos[i, j], quat[i, j], joints[i, j])[0] for i in range(2) for j in range(3)])
    torch.testing.assert_close(together.flatten(0, 1), alone, **CLOSE)
    single = g1().forward(pos.float(), quat.float(), joints.float())[0]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), together, rtol=0, atol=1e-5)


def test_it_is_differentiable():
    def hand(pos, quat, joints):
        return g1().forward(pos, quat, joints)[0][..., -1, :]

    inputs = (normal(3).requires_grad_(), unit(1)[0].requires_grad_(), normal(29).requires_grad_())
    assert torch.autograd.gradcheck(hand, inputs)


def test_breadth_first_is_the_order_of_physx():
    bodies, joints = g1().breadth_first()
    assert joints[:6] == [f"{part}_joint" for part in ("left_hip_pitch", "right_hip_pitch", "waist_yaw")] + [
        f"{part}_joint" for part in ("left_hip_roll", "right_hip_roll", "waist_roll")
    ]
    assert sorted(bodies) == sorted(g1().bodies)
    assert sorted(joints) == sorted(g1().joints)


def test_bad_trees_and_unknown_names():
    body = {"name": "a", "parent": None}
    for bodies in ([body, {"name": "b", "parent": "c"}], [body, body], [body, {"name": "b", "parent": None}]):
        with pytest.raises(DataError, match=r"every other body after|two parts are called"):
            KinematicTree(bodies)
    with pytest.raises(DataError, match="unknown joints: tail_joint"):
        g1().rows(["tail_joint"], "joints")


def test_mjcf_is_mujocos_kinematics(tmp_path):
    mujoco = pytest.importorskip("mujoco")
    path = tmp_path / "robot.xml"
    path.write_text(MJCF)
    tree, model = from_mjcf(path), mujoco.MjModel.from_xml_path(str(path))
    assert tree.bodies == ("base", "arm", "hand", "head")
    assert tree.joints == ("a", "b", "c")
    assert tree.limits.tolist() == [[-1, 2], [-np.inf, np.inf], [-np.inf, np.inf]]
    data = mujoco.MjData(model)
    for seed in range(20):
        data.qpos[:3], data.qpos[3:7], data.qpos[7:] = normal(3, seed=seed), unit(1, seed=seed)[0], normal(3, seed=seed)
        mujoco.mj_kinematics(model, data)
        root_pos, root_quat, joints = map(torch.from_numpy, np.split(data.qpos.copy(), [3, 7]))
        pos, quat = tree.forward(root_pos, roma.quat_wxyz_to_xyzw(root_quat), joints)
        np.testing.assert_allclose(pos, data.xpos[1:], atol=1e-12)
        np.testing.assert_allclose(
            np.abs((roma.quat_xyzw_to_wxyz(quat).numpy() * data.xquat[1:]).sum(-1)), 1, atol=1e-12
        )


def test_mjcf_with_a_slide_is_refused(tmp_path):
    pytest.importorskip("mujoco")
    path = tmp_path / "robot.xml"
    path.write_text(MJCF.replace('<joint name="a"', '<joint type="slide" name="a"'))
    with pytest.raises(DataError, match="joint a: only hinges"):
        from_mjcf(path)
    path.write_text("<mujoco>")
    with pytest.raises(DataError, match=r"robot\.xml"):
        from_mjcf(path)


def test_mujoco_is_asked_for_only_where_it_is_needed(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(kinematics, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install mujoco"):
        from_mjcf("robot.xml")
