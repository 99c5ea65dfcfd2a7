import copy

import pytest
import torch
import yaml
from scipy.spatial.transform import Rotation

from lit_models.state_action.frames import body_positions, heading, positions
from lit_models.state_action.layout import StateLayout

from .layouts import BARE, BASE, ROBOT, bare, base, changed, robot


@pytest.mark.parametrize("plain", [ROBOT, BASE, BARE])
def test_what_yaml_writes_comes_back(plain):
    written = yaml.safe_load(yaml.safe_dump(plain))
    assert StateLayout.from_plain(written).plain() == plain
    assert StateLayout.from_plain(StateLayout.from_plain(plain).plain()) == StateLayout.from_plain(plain)


@pytest.mark.parametrize("layout", [robot, base, bare])
def test_slices_tile_the_state_in_order(layout):
    columns = [index for part in layout.state for index in range(layout.state_size)[layout.slice(part.name)]]
    assert columns == list(range(layout.state_size)) == list(range(len(layout.state_names)))
    assert len(set(layout.state_names)) == layout.state_size
    assert len(set(layout.action_names)) == layout.action_size


def test_parts_stand_where_their_names_stand():
    for number, name in enumerate(robot.state_names):
        parts = name.split("/")
        where = robot.slice("/".join(parts[:2]))
        assert where.start <= number < where.stop
    assert robot.state_names[robot.slice("joint_pos/knee").start] == "joint_pos/knee"
    assert robot.slice("body_pos/foot") == slice(12, 15)
    assert robot.slice("root_pos/z") == slice(2, 3)
    assert robot.action_names == ["joint_target/hip", "joint_target/knee", "joint_target/ankle"]
    assert robot.global_columns == list(range(9))
    assert base.global_columns == list(range(5))
    assert bare.global_columns == []
    assert "joint_pos" in robot
    assert "joint_pos" not in base


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: robot.slice("root_velocity"), "'root_vel'"),
        (lambda: robot.slice("joint_pos/knees"), "'knee'"),
        (lambda: robot.body("foots"), "'foot'"),
        (lambda: base.slice("joints"), "there are|did you mean"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_the_nearest(call, hint):
    with pytest.raises(ValueError, match=hint):
        call()


def with_state(plain, index, **changes):
    plain = copy.deepcopy(plain)
    plain["state"][index] |= changes
    return plain


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (changed(ROBOT, joint_limits=[[-1, 1], [2, 0], [-1, 1]]), "'knee'.*lower one comes first"),
        (changed(ROBOT, joint_limits=[[-1, 1], [0], [-1, 1]]), r"joint_limits\[1\]"),
        (changed(ROBOT, joint_limits=[[-1, 1]]), "1 joint_limits for 3 joints"),
        (changed(ROBOT, joint_limits=[[-1, 1], [0, float("nan")], [-1, 1]]), "'knee'"),
        (changed(ROBOT, joints=["hip", "knee"], joint_limits=[]), "'joint_pos' has 3 columns for 2 joints"),
        (changed(ROBOT, joints=["hip", "hip", "knee"]), "joints name 'hip' twice"),
        (changed(ROBOT, bodies=["hand"]), "'body_pos' has 6 columns for 1 bodies"),
        (with_state(ROBOT, 4, size=7), "'body_vel' has 7 columns"),
        (changed(ROBOT, state=ROBOT["state"][3:]), "begins with root_pos"),
        (changed(ROBOT, root="planar"), r"root_pos \(2\)"),
        (with_state(ROBOT, 1, frame="local"), "'character'"),
        (with_state(ROBOT, 3, frame="locale"), "'local'"),
        (with_state(BASE, 4, name="body_vel"), "'body_vel' twice"),
        (with_state(BASE, 4, size=0), "at least 1 column"),
        (changed(BASE, root="plane"), "root='plane'"),
        (changed(BASE, fps=0.0), "fps=0.0"),
        (changed(BASE, action_is_joint_position=True), "3 columns for 0 joints"),
        (changed(BASE, action=[]), "action has no columns"),
        (changed(BASE, frames=3), "unknown key 'frames'"),
        (with_state(BASE, 0, sise=2), r"layout.state\[0\].*'size'"),
        ({"root": None}, "lacks state, action, fps"),
    ],
)
def test_contradictions_are_named(plain, message):
    with pytest.raises(ValueError, match=message):
        StateLayout.from_plain(plain)


def spatial(rows, seed=0):
    states = torch.randn(rows, robot.state_size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    states[0, robot.slice("root_rot")] = 0.0
    return states


def test_heading_and_bodies_are_those_of_scipys_rotations():
    states = spatial(50)
    turns = Rotation.from_rotvec(states[:, robot.slice("root_rot")].numpy()).as_matrix()
    yaw = torch.atan2(torch.tensor(turns[:, 1, 0]), torch.tensor(turns[:, 0, 0]))
    torch.testing.assert_close(heading(states, robot), yaw, atol=1e-12, rtol=0)
    found = body_positions(states, robot)
    for row in range(50):
        upright = Rotation.from_euler("z", yaw[row].item())
        for body, name in enumerate(robot.bodies):
            local = states[row, robot.slice(f"body_pos/{name}")].numpy()
            ground = states[row, :3].numpy() * [1, 1, 0]
            torch.testing.assert_close(found[row, body], torch.tensor(upright.apply(local) + ground))
    torch.testing.assert_close(body_positions(states, robot, [1]), found[:, 1:])


def test_heading_has_the_gradient_of_yaw_even_at_rest():
    states = spatial(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: heading(x, robot), states)
    assert torch.autograd.gradgradcheck(lambda x: heading(x, robot), states)
    (slope,) = torch.autograd.grad(heading(states, robot)[0], states)
    wanted = torch.zeros_like(slope)
    wanted[0, robot.slice("root_rot").stop - 1] = 1.0
    torch.testing.assert_close(slope, wanted)


def test_positions_are_those_of_root_and_bodies_or_none():
    assert positions(spatial(3), robot).shape == (3, 3, 3)
    assert positions(torch.zeros(3, base.state_size), base).shape == (3, 1, 2)
    assert positions(torch.zeros(3, bare.state_size), bare) is None
