import math

import pytest
import torch
import yaml

from lit_models.state_action.costs import (
    COSTS,
    AgentAvoidance,
    Joystick,
    Keyframe,
    Obstacles,
    Sum,
    Waypoint,
    make_costs,
)
from lit_models.state_action.costs.distance import barrier, to_boxes, to_discs, to_spheres
from lit_models.state_action.frames import body_positions, heading

from .layouts import bare, base, robot

HISTORY, HORIZON, BATCH = 2, 6, 3
WINDOW = HISTORY + 1 + HORIZON


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plans(layout, seed=0):
    return normal(BATCH, WINDOW, layout.state_size, seed=seed), normal(BATCH, WINDOW, layout.action_size, seed=seed + 1)


EVERY = [
    (base, {"cost": "joystick", "velocity": [0.5, -0.2]}),
    (base, {"cost": "joystick", "velocity": [0.5, -0.2], "yaw_rate": 0.3}),
    (robot, {"cost": "joystick", "yaw_rate": 0.3, "weight": 0.1}),
    (robot, {"cost": "waypoint", "goal": [1.0, 2.0], "weight": 3.0}),
    (base, {"cost": "obstacles", "discs": [[0.3, 0.4, 0.2], [1.0, -1.0, 0.5]], "boxes": [[-1, 0, 0.7, 0.5, 0.2]]}),
    (robot, {"cost": "obstacles", "spheres": [[0.3, 0.4, 0.2, 0.3]], "boxes": [[-1, 0, 0.7, 0.5, 0.2, 0.4, 0.3]]}),
    (robot, {"cost": "obstacles", "discs": [[0.3, 0.4, 0.2]], "bodies": ["foot", "hand"], "radius": [0.1, 0.05]}),
    (robot, {"cost": "keyframe", "columns": "joint_pos/knee", "steps": [1, 4], "values": [[0.3], [0.5]]}),
    (base, {"cost": "keyframe", "columns": "root_pos", "steps": [6], "values": [[1, 2]], "weights": [2.0]}),
    (base, {"cost": "agent_avoidance", "distance": 0.6}),
    (robot, {"cost": "agent_avoidance", "distance": 0.6, "poses": [[0, 0, 0], [1, 0, 2.0], [0, 1, -1.0]]}),
    (base, {"cost": "agent_avoidance", "distance": 0.6, "paths": [[[0.1 * t, 0.0] for t in range(WINDOW)]]}),
]


@pytest.mark.parametrize(("layout", "plain"), [case for case in EVERY if case[1]["cost"] != "waypoint"])
def test_gradients_are_those_of_finite_differences(layout, plain):
    cost = make_costs([plain], layout, HISTORY)
    states, actions = plans(layout)
    assert cost(states, actions).shape == (BATCH,)
    assert torch.autograd.gradcheck(lambda x: cost(x, actions), states.requires_grad_(), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: cost(x, actions), states, fast_mode=True)


def test_the_mix_of_a_waypoint_is_constant_in_its_gradient():
    goal = torch.tensor([1.0, 2.0], dtype=torch.float64)
    states, actions = plans(robot)
    near = torch.exp(-2 * (states[:, HISTORY + 1 :, :2] - goal).norm(dim=-1))

    def value(x):
        future = x[:, HISTORY + 1 :]
        return ((1 - near) * (future[..., :2] - goal).square().sum(-1) + near * future[..., 3:5].square().sum(-1)).sum(
            1
        )

    cost = Waypoint(robot, HISTORY, goal=goal)
    torch.testing.assert_close(cost(states, actions), value(states))
    assert torch.autograd.gradcheck(value, states.requires_grad_(), fast_mode=True)
    found, wanted = (torch.autograd.grad(each.sum(), states)[0] for each in (cost(states, actions), value(states)))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("layout", "plain"), EVERY)
def test_two_derivatives_are_finite_where_everything_is_zero(layout, plain):
    cost = make_costs([plain | ({"poses": None} if "poses" in plain else {})], layout, HISTORY)
    states = torch.zeros(BATCH, WINDOW, layout.state_size, requires_grad=True)
    value = cost(states, torch.zeros(BATCH, WINDOW, layout.action_size))
    (slope,) = torch.autograd.grad(value.sum(), states, create_graph=True)
    assert slope.isfinite().all()
    assert torch.autograd.grad(slope.sum(), states)[0].isfinite().all()


@pytest.mark.parametrize("box", [[0.0, 0.0, 0.3, 0.5, 0.4], [0.0, 0.0, 0.3, 0.5, 0.4, 0.0, 0.2]])
def test_inside_a_box_two_derivatives_point_out(box):
    point = torch.tensor([[[0.0, 0.1, 0.02][: 2 + len(box) // 7]]], requires_grad=True)
    (slope,) = torch.autograd.grad(to_boxes(point, torch.tensor([[box]])).sum(), point, create_graph=True)
    assert slope.norm().item() == pytest.approx(1.0)
    assert torch.autograd.grad(slope.sum(), point, allow_unused=True, materialize_grads=True)[0].isfinite().all()


@pytest.mark.parametrize(("layout", "plain"), EVERY)
def test_only_the_future_is_read(layout, plain):
    cost = make_costs([plain], layout, HISTORY)
    states, actions = plans(layout)
    (slope,) = torch.autograd.grad(cost(states.requires_grad_(), actions).sum(), states)
    assert slope[:, : HISTORY + 1].abs().max() == 0
    assert slope[:, HISTORY + 1 :].abs().max() > 0
    other, _ = plans(layout, seed=40)
    mixed = torch.cat([other[:, : HISTORY + 1], states[:, HISTORY + 1 :]], dim=1)
    assert torch.equal(cost(mixed, actions), cost(states, actions))


@pytest.mark.parametrize(("layout", "plain"), EVERY)
def test_yaml_is_enough_and_weights_are_factors(layout, plain):
    states, actions = plans(layout)
    cost = make_costs(yaml.safe_load(yaml.safe_dump([plain])), layout, HISTORY)(states, actions)
    twice = make_costs([plain | {"weight": 2.0 * plain.get("weight", 1.0)}], layout, HISTORY)(states, actions)
    torch.testing.assert_close(twice, 2 * cost)
    each = make_costs([plain | {"weight": torch.tensor([0.0, 1.0, 2.0])}], layout, HISTORY)(states, actions)
    torch.testing.assert_close(each, cost / plain.get("weight", 1.0) * torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(make_costs([plain, plain], layout, HISTORY)(states, actions), 2 * cost)


@pytest.mark.parametrize("delta", [0.02, 0.1, 1.0])
def test_the_barrier_joins_smoothly(delta):
    joint = torch.tensor(delta, dtype=torch.float64)
    torch.testing.assert_close(barrier(joint, delta), -joint.log())

    def value_slope_curvature(at):
        x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(barrier(x, delta), x, create_graph=True)
        return torch.stack([barrier(x, delta), slope * delta, torch.autograd.grad(slope, x)[0] * delta**2]).detach()

    below, above = value_slope_curvature(delta * (1 - 1e-9)), value_slope_curvature(delta * (1 + 1e-9))
    torch.testing.assert_close(below, above, rtol=0, atol=1e-8)
    torch.testing.assert_close(above[1:], torch.tensor([-1.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-8)


def test_the_barrier_falls_everywhere_and_stays_finite_inside():
    x = (torch.arange(-300, 301).double() / 100).requires_grad_()  # with 0, where the logarithm is infinite
    (slope,) = torch.autograd.grad(barrier(x, 0.1).sum(), x)
    assert slope.isfinite().all()
    assert (slope < 0).all()
    torch.testing.assert_close(barrier(x, 0.1)[x >= 0.1], -x[x >= 0.1].log())


def test_distances_are_those_of_dense_samples_of_the_surfaces():
    points = normal(1, 40, 3)
    turns = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)
    circle = torch.stack([turns.cos(), turns.sin()], dim=-1)
    disc = torch.tensor([[[0.3, -0.2, 0.7]]], dtype=torch.float64)
    near = torch.cdist(points[0, :, :2], circle * 0.7 + disc[0, 0, :2]).amin(dim=1)
    found = to_discs(points, disc)[0, :, 0]
    torch.testing.assert_close(found.abs(), near, atol=1e-5, rtol=0)
    assert ((found < 0) == ((points[0, :, :2] - disc[0, 0, :2]).norm(dim=-1) < 0.7)).all()
    sphere = torch.tensor([[[0.3, -0.2, 0.1, 0.7]]], dtype=torch.float64)
    wanted = (points - sphere[0, 0, :3]).norm(dim=-1) - 0.7
    torch.testing.assert_close(to_spheres(points, sphere)[..., 0], wanted)


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_are_boxes(dims):
    half, centre, yaw = torch.tensor([0.8, 0.5, 0.3][:dims], dtype=torch.float64), normal(dims, seed=3) * 0.2, 0.7
    side = torch.linspace(-1, 1, 61, dtype=torch.float64)
    grid = torch.cartesian_prod(*[side] * dims)
    shell = grid[(grid.abs() == 1).any(dim=1)] * half
    turn = torch.eye(dims, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    points = normal(1, 60, dims, seed=4)
    columns = [*centre[:2], yaw, *half[:2], *([centre[2], half[2]] if dims == 3 else [])]
    found = to_boxes(points, torch.tensor([[columns]], dtype=torch.float64))[0, :, 0]
    near = torch.cdist(points[0], shell @ turn.T + centre).amin(dim=1)
    inside = (((points[0] - centre) @ turn).abs() < half).all(dim=1)
    assert inside.any()
    torch.testing.assert_close(found.abs(), near, atol=0.02, rtol=0)
    assert ((found < 0) == inside).all()


def still(layout, **columns):
    states = torch.zeros(1, WINDOW, layout.state_size, dtype=torch.float64)
    for name, value in columns.items():
        states[..., layout.slice(name)] = torch.tensor(value, dtype=torch.float64)
    return states, torch.zeros(1, WINDOW, layout.action_size, dtype=torch.float64)


def test_values_in_closed_form():
    plan = still(base, root_pos=[1.0, 2.0], root_vel=[0.5, 0.0])
    assert Joystick(base, HISTORY, velocity=[0.0, 1.0])(*plan).item() == pytest.approx(HORIZON * (0.25 + 1) / 2)
    assert Joystick(base, HISTORY, velocity=[0.5, 0.0])(*plan).item() == 0
    far = math.exp(-2 * 5.0)
    found = Waypoint(base, HISTORY, goal=[4.0, 6.0])(*plan).item()
    assert found == pytest.approx(HORIZON * ((1 - far) * 25 + far * 0.25))
    assert Waypoint(base, HISTORY, goal=[1.0, 2.0])(*plan).item() == pytest.approx(HORIZON * 0.25)  # there: only stop
    found = Obstacles(base, HISTORY, discs=[[1.0, 4.0, 0.5], [9.0, 9.0, 1.0]], radius=0.3)(*plan).item()
    assert found == pytest.approx(-HORIZON * math.log(2 - 0.5 - 0.3))  # of the nearest one alone
    found = Keyframe(base, HISTORY, "root_pos", [2, 6], [[1.0, 0.0], [0.0, 2.0]], weights=[1.0, 3.0])(*plan).item()
    assert found == pytest.approx(4 + 3 * 1)
    path = torch.zeros(1, WINDOW, 2)
    path[:, HISTORY + 1 :] = torch.tensor([1.0, 3.0])
    found = AgentAvoidance(base, HISTORY, distance=0.4, paths=path)(*plan).item()
    assert found == pytest.approx(-HORIZON * math.log(1 - 0.4))


def test_yaw_rate_is_that_of_a_steady_turn_across_the_seam():
    states, actions = still(base)
    states[..., base.slice("root_rot")] = (2.9 + 0.05 * torch.arange(WINDOW))[None, :, None]
    states[..., base.slice("root_rot")] = torch.atan2(states.sin(), states.cos())[..., base.slice("root_rot")]
    assert Joystick(base, HISTORY, yaw_rate=0.5)(states, actions).item() == pytest.approx(0, abs=1e-9)
    assert Joystick(base, HISTORY, yaw_rate=0.0)(states, actions).item() == pytest.approx(5 * 0.25 / 2)
    each = torch.full((1, HORIZON), 0.5)
    assert Joystick(base, HISTORY, yaw_rate=each)(states, actions).item() == pytest.approx(0, abs=1e-9)


def test_fields_may_differ_by_sample_and_by_step():
    states, actions = plans(base)
    goals = normal(BATCH, 2, seed=5)
    discs = normal(BATCH, 2, 3, seed=6).abs()
    values = normal(BATCH, 1, 2, seed=7)
    paths = normal(BATCH, 2, WINDOW, 2, seed=8)
    for build in (
        lambda rows: Waypoint(base, HISTORY, goal=goals[rows]),
        lambda rows: Joystick(base, HISTORY, velocity=goals[rows], yaw_rate=goals[rows, 0]),
        lambda rows: Obstacles(base, HISTORY, discs=discs[rows]),
        lambda rows: Keyframe(base, HISTORY, "root_pos", [3], values[rows]),
        lambda rows: AgentAvoidance(base, HISTORY, 0.5, paths=paths[rows]),
    ):
        whole = build(slice(None))(states, actions)
        for row in range(BATCH):
            rows = slice(row, row + 1)
            torch.testing.assert_close(build(rows)(states[rows], actions[rows]), whole[rows])
        assert len(set(whole.tolist())) == BATCH
    by_step = goals[:, None].expand(BATCH, HORIZON, 2)
    torch.testing.assert_close(
        Joystick(base, HISTORY, velocity=by_step)(states, actions),
        Joystick(base, HISTORY, velocity=goals)(states, actions),
    )


def turned(states, angle):
    """The world of a planar state rotated about the origin."""
    spin = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    parts = [states[..., 0:2] @ spin.T, states[..., 2:4] @ spin.T, states[..., 4:5] + angle, states[..., 5:]]
    return torch.cat(parts, dim=-1), spin


@pytest.mark.parametrize(
    "build",
    [
        lambda spin, angle: Joystick(base, HISTORY, velocity=spin @ torch.tensor([0.5, 0.1]).double(), yaw_rate=0.2),
        lambda spin, angle: Waypoint(base, HISTORY, goal=spin @ torch.tensor([0.5, 0.1]).double()),
        lambda spin, angle: Obstacles(
            base,
            HISTORY,
            discs=torch.cat([spin @ torch.tensor([0.5, 0.1]).double(), torch.tensor([0.2])])[None],
            boxes=torch.cat([spin @ torch.tensor([-0.5, 0.4]).double(), torch.tensor([0.3 + angle, 0.5, 0.1])])[None],
        ),
        lambda spin, angle: AgentAvoidance(base, HISTORY, distance=0.4),
    ],
)
def test_rotating_the_world_rotates_the_gradient(build):
    angle = 0.8
    states, actions = plans(base)
    other, spin = turned(states, angle)
    values, slopes = [], []
    for x, cost in ((states, build(torch.eye(2).double(), 0.0)), (other, build(spin, angle))):
        x = x.clone().requires_grad_()
        value = cost(x, actions)
        slopes.append(torch.autograd.grad(value.sum(), x)[0])
        values.append(value.detach())
    torch.testing.assert_close(*values)
    torch.testing.assert_close(slopes[1][..., :2], slopes[0][..., :2] @ spin.T)
    torch.testing.assert_close(slopes[1][..., 2:4], slopes[0][..., 2:4] @ spin.T)
    torch.testing.assert_close(slopes[1][..., 4:], slopes[0][..., 4:])


def test_bodies_keep_clear_where_they_are_in_the_character_frame():
    states, actions = plans(robot)
    sphere, radius = torch.tensor([0.3, 0.4, 0.2, 0.3], dtype=torch.float64), 0.05
    cost = Obstacles(robot, HISTORY, spheres=sphere[None], bodies=["foot"], radius=radius)
    foot = body_positions(states[:, HISTORY + 1 :], robot)[:, :, robot.body("foot")]
    clear = (foot - sphere[:3]).norm(dim=-1) - sphere[3] - radius
    torch.testing.assert_close(cost(states, actions), barrier(clear, 0.1).sum(dim=1))
    (slope,) = torch.autograd.grad(cost(states.requires_grad_(), actions).sum(), states)
    assert slope[..., robot.slice("body_pos/hand")].abs().max() == 0
    assert slope[..., robot.slice("root_rot")].abs().max() > 0


def test_each_pair_counts_half_in_both_rows():
    states, actions = (part.repeat(3, 1, 1) for part in still(base))
    states[:, :, 0] = torch.tensor([0.0, 1.0, 3.0])[:, None]
    one, two, three = (-math.log(apart - 0.4) * HORIZON / 2 for apart in (1, 2, 3))
    found = AgentAvoidance(base, HISTORY, distance=0.4)(states, actions)
    assert found.tolist() == pytest.approx([one + three, one + two, two + three])


def test_agents_push_one_another_with_equal_and_opposite_slopes():
    states, actions = plans(base)
    cost = AgentAvoidance(base, HISTORY, distance=0.4)
    (slope,) = torch.autograd.grad(cost(states.requires_grad_(), actions).sum(), states)
    torch.testing.assert_close(slope[..., :2].sum(dim=0), torch.zeros(WINDOW, 2).double(), atol=1e-12, rtol=0)
    pair, others = states[:1], states[1:, :, :2].detach()[None]
    fixed = AgentAvoidance(base, HISTORY, distance=0.4, paths=others)
    (alone,) = torch.autograd.grad(fixed(pair, actions[:1]).sum(), pair)
    torch.testing.assert_close(alone[0, :, :2], slope[0, :, :2])


def test_poses_bring_agents_into_one_frame():
    states, actions = plans(base)
    poses = normal(BATCH, 3, seed=9)
    rows = [turned(states[row : row + 1], poses[row, 2].item())[0] for row in range(BATCH)]
    together = torch.cat(rows)
    together[..., :2] += poses[:, None, :2]
    torch.testing.assert_close(
        AgentAvoidance(base, HISTORY, 0.4, poses=poses)(states, actions),
        AgentAvoidance(base, HISTORY, 0.4)(together, actions),
    )


def test_going_down_the_gradient_reaches_the_goal():
    states, actions = still(robot, root_pos=[0.0, 0.0, 0.8])
    states = torch.cat([states[:, : HISTORY + 1], normal(1, HORIZON, robot.state_size)], dim=1).requires_grad_()
    cost = make_costs(
        [{"cost": "keyframe", "columns": "body_pos/foot", "steps": [6], "values": [[0.1, 0.2, 0.3]]}], robot, HISTORY
    )
    (slope,) = torch.autograd.grad(cost(states, actions).sum(), states)
    reached = (states - slope / 2).detach()
    torch.testing.assert_close(reached[0, -1, robot.slice("body_pos/foot")].tolist(), [0.1, 0.2, 0.3])


def test_no_obstacles_cost_nothing():
    states, actions = plans(base)
    assert Obstacles(base, HISTORY, discs=torch.zeros(BATCH, 0, 3))(states, actions).tolist() == [0.0] * BATCH
    assert Sum(())(states, actions).tolist() == [0.0] * BATCH


@pytest.mark.parametrize("name", COSTS)
def test_every_cost_names_the_slice_that_is_missing(name):
    fields = {
        "joystick": {"velocity": [0, 0]},
        "waypoint": {"goal": [0, 0]},
        "obstacles": {"discs": [[0, 0, 1]]},
        "keyframe": {"columns": "root_pos", "steps": [1], "values": [[0, 0]]},
        "agent_avoidance": {"distance": 1.0},
    }[name]
    with pytest.raises(ValueError, match=rf"costs\[0\] \({name}\): the state has no columns 'root_.*observation"):
        make_costs([{"cost": name} | fields], bare, HISTORY)


@pytest.mark.parametrize(
    ("layout", "plain", "message"),
    [
        (base, {"cost": "joystik"}, r"costs\[0\]: cost='joystik' is unknown; did you mean 'joystick'"),
        (base, {"velocity": [0, 0]}, "cost=None"),
        (base, {"cost": "waypoint", "gaol": [0, 0]}, r"unknown key 'gaol'; did you mean 'goal'"),
        (base, {"cost": "waypoint"}, "lacks goal"),
        (base, {"cost": "waypoint", "goal": [0, 0], "history": 3}, "unknown key 'history'"),
        (base, {"cost": "waypoint", "goal": [0, 0, 1]}, r"goal has shape \(3,\); 2 numbers"),
        (base, {"cost": "waypoint", "goal": "home"}, "waypoint"),
        (base, {"cost": "joystick"}, "velocity, yaw_rate or both"),
        (base, {"cost": "obstacles"}, "discs, spheres or boxes"),
        (base, {"cost": "obstacles", "discs": [[0, 0]]}, "3 numbers"),
        (base, {"cost": "obstacles", "boxes": [[0] * 7]}, "5 numbers"),
        (base, {"cost": "obstacles", "spheres": [[0] * 4]}, "in space"),
        (robot, {"cost": "obstacles", "spheres": [[0] * 4], "bodies": ["feet"]}, "did you mean 'foot'"),
        (base, {"cost": "obstacles", "discs": [[0, 0, 1]], "delta": 0.0}, "delta=0.0"),
        (robot, {"cost": "keyframe", "columns": "join_pos", "steps": [1], "values": [[0]]}, "'joint_pos'"),
        (robot, {"cost": "keyframe", "columns": "joint_pos", "steps": [1, 2], "values": [[0] * 3]}, "each of the 2"),
        (robot, {"cost": "keyframe", "columns": "joint_pos", "steps": [0], "values": [[0] * 3]}, r"steps=\[0\]"),
        (base, {"cost": "agent_avoidance", "distance": 1.0, "paths": [[[0] * 3]]}, "2 numbers"),
        (base, {"cost": "agent_avoidance", "distance": 1.0, "delta": -1}, "delta=-1"),
    ],
)
def test_what_cannot_be_is_named(layout, plain, message):
    with pytest.raises(ValueError, match=message):
        make_costs([plain], layout, HISTORY)


def test_a_keyframe_beyond_the_horizon_is_named():
    cost = Keyframe(base, HISTORY, "root_pos", [HORIZON + 1], [[0.0, 0.0]])
    with pytest.raises(ValueError, match=rf"\[{HORIZON + 1}\] with a horizon of {HORIZON}"):
        cost(*plans(base))


def test_heading_enters_the_turn_of_a_robot():
    states, actions = still(robot)
    states[..., robot.slice("root_rot")] = torch.stack([torch.tensor([0.0, 0.0, 0.1 * t]) for t in range(WINDOW)])
    assert heading(states, robot)[0, -1].item() == pytest.approx(0.1 * (WINDOW - 1))
    assert Joystick(robot, HISTORY, yaw_rate=3.0)(states, actions).item() == pytest.approx(0, abs=1e-8)
