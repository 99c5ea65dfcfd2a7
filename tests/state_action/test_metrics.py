import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lit_models.state_action.metrics import NAMES, TrajectoryMetrics

from .layouts import bare, base, robot

HISTORY, HORIZON, BATCH, SAMPLES = 2, 7, 5, 3
WINDOW = HISTORY + 1 + HORIZON
LAYOUTS = [robot, base, bare]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def truth(layout, batch=BATCH):
    """Smooth curves."""
    time = torch.linspace(0, 1, WINDOW, dtype=torch.float64)[None, :, None]
    states = torch.sin(time * normal(batch, 1, layout.state_size, seed=1) + normal(batch, 1, layout.state_size, seed=2))
    return states / 4, torch.cos(time * normal(batch, 1, layout.action_size, seed=3)) / 4


def case(layout, groups=None, noise=0.3):
    states, actions = truth(layout)
    shape = () if groups is None else (groups,)
    valid = torch.ones(BATCH, WINDOW, dtype=torch.bool)
    valid[1, -2:] = False
    valid[2, HISTORY + 4] = False
    valid[3, HISTORY + 2 :] = False
    feet = normal(*shape, BATCH, WINDOW, 2, 3, seed=6) * torch.tensor([0.008, 0.008, 0.03])
    return {
        "states": states + noise * normal(*shape, *states.shape, seed=4),
        "actions": actions + noise * normal(*shape, *actions.shape, seed=5),
        "true_states": states,
        "true_actions": actions,
        "valid": valid,
        "feet": feet,
    }


def measure(layout, batch, **kwargs):
    metric = TrajectoryMetrics(layout, HISTORY, **kwargs)
    metric.update(**batch)
    return metric.compute()


def places(layout, state):
    """Root, then bodies, in the character frame: a list of points, by SciPy's rotations."""
    if layout.root is None:
        return []
    points = [state[layout.slice("root_pos")]]
    if layout.root == "spatial":
        turn = Rotation.from_rotvec(state[layout.slice("root_rot")]).as_matrix()
        upright = Rotation.from_euler("z", math.atan2(turn[1, 0], turn[0, 0]))
        for body in layout.bodies:
            points.append(upright.apply(state[layout.slice(f"body_pos/{body}")]) + points[0] * [1, 1, 0])
    return points


def by_loops(layout, batch, action_horizon=None):
    """Every quantity, one number at a time."""
    data = {name: value.numpy() for name, value in batch.items()}
    if data["states"].ndim == 3:
        data |= {name: data[name][None] for name in ("states", "actions", "feet")}
    valid, fps = data["valid"], layout.fps
    last_action = WINDOW if action_horizon is None else min(WINDOW, HISTORY + action_horizon)
    terms = {name: [] for name in NAMES}
    for g in range(len(data["states"])):
        for b in range(BATCH):
            for stream, first, stop in (("state", HISTORY + 1, WINDOW), ("action", HISTORY, last_action)):
                x, y = data[f"{stream}s"][g, b], data[f"true_{stream}s"][b]
                for t in range(first, stop):
                    for d in range(x.shape[1]):
                        if valid[b, t]:
                            terms[f"{stream}_mse"].append((x[t, d] - y[t, d]) ** 2)
                            terms[f"{stream}_mae"].append(abs(x[t, d] - y[t, d]))
                for d in range(x.shape[1]):
                    moved = [x[t + 1, d] - x[t, d] for t in range(first, stop - 1) if valid[b, t] and valid[b, t + 1]]
                    if len(moved) > 1:
                        name = {"state": "trajectory", "action": "action"}[stream]
                        terms[f"{name}_smoothness"].append(np.var(moved))
                kind = {"state": "joint", "action": "action"}[stream]
                where = layout.slice("joint_pos") if stream == "state" and "joint_pos" in layout else slice(None)
                if layout.joint_limits:
                    for t in range(first, stop):
                        for q, (low, high) in zip(x[t, where], layout.joint_limits, strict=True):
                            if valid[b, t]:
                                terms[f"{kind}_limit_violations"].append(q < low - 1e-5 or q > high + 1e-5)
                                if terms[f"{kind}_limit_violations"][-1]:
                                    terms[f"{kind}_limit_overshoot"].append(low - q if q < low else q - high)
            x, y = data["states"][g, b], data["true_states"][b]
            for t in range(HISTORY + 1, WINDOW):
                now = all(valid[b, t : t + 2]) and t + 1 < WINDOW
                for d, name in enumerate(layout.state_names):
                    e = x[:, d] - y[:, d]
                    if name.startswith(("root_vel", "body_vel", "yaw_rate")):
                        continue
                    if now:
                        terms["velocity_error"].append(((e[t + 1] - e[t]) * fps) ** 2)
                    if t + 2 < WINDOW and all(valid[b, t : t + 3]):
                        terms["acceleration_error"].append(((e[t + 2] - 2 * e[t + 1] + e[t]) * fps**2) ** 2)
                if t + 3 < WINDOW and all(valid[b, t : t + 4]):
                    for p in range(len(places(layout, x[t]))):
                        e = [places(layout, x[t + i])[p] - places(layout, y[t + i])[p] for i in range(4)]
                        terms["jerk_error"].extend(((e[3] - 3 * e[2] + 3 * e[1] - e[0]) * fps**3) ** 2)
                for f in range(2):
                    feet = data["feet"][g, b, :, f]
                    if now and feet[t, 2] < 0.05 and feet[t + 1, 2] < 0.05:
                        speed = math.dist(feet[t, :2], feet[t + 1, :2]) * fps
                        terms["contact_violations"].append(speed > 0.3 or feet[t + 1, 2] < -0.01)
                        terms["foot_penetration"].append(max(0.0, -feet[t + 1, 2]))
                for other in range(g):
                    if valid[b, t]:
                        pair = data["states"][g, b, t], data["states"][other, b, t]
                        points = [places(layout, one) or [[value] for value in one] for one in pair]
                        terms["diversity"].extend(math.dist(p, q) for p, q in zip(*points, strict=True))
    for b in range(BATCH if places(layout, data["true_states"][0, 0]) else 0):
        steps = [t for t in range(HISTORY + 1, WINDOW) if valid[b, t]]
        of_plans = []
        for plan in data["states"][:, b]:
            pairs = [
                zip(places(layout, plan[t]), places(layout, data["true_states"][b, t]), strict=True) for t in steps
            ]
            of_plans.append([np.mean([math.dist(p, q) for p, q in pair]) for pair in pairs])
        if steps:
            for name, values in (("ade", [np.mean(apart) for apart in of_plans]), ("fde", [a[-1] for a in of_plans])):
                terms[name].extend(values)
                terms[f"min_{name}"].extend([min(values)] if len(values) > 1 else [])
    return {name: float(np.mean(values)) for name, values in terms.items() if values}


@pytest.mark.parametrize("action_horizon", [None, 4])
@pytest.mark.parametrize("groups", [None, SAMPLES])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_quantity_is_that_of_plain_loops(layout, groups, action_horizon):
    batch = case(layout, groups)
    found = measure(layout, batch, action_horizon=action_horizon)
    assert found == pytest.approx(by_loops(layout, batch, action_horizon), rel=1e-9)
    assert all(value > 0 for value in found.values())  # nothing here is a constant zero


def test_keys_are_those_that_the_layout_has():
    every = set(NAMES)
    assert set(measure(robot, case(robot, SAMPLES))) == every
    assert set(measure(robot, case(robot) | {"feet": None})) == every - {
        "diversity",
        "min_ade",
        "min_fde",
        "contact_violations",
        "foot_penetration",
    }
    joints = {name for name in NAMES if "limit" in name}
    assert set(measure(base, case(base, SAMPLES))) == every - joints
    assert set(measure(bare, case(bare, SAMPLES))) == every - joints - {
        "jerk_error",
        "ade",
        "fde",
        "min_ade",
        "min_fde",
    }
    assert TrajectoryMetrics(robot, HISTORY).sums.dtype == torch.float64


@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_processes_add_up_to_one(layout):
    batch = case(layout, SAMPLES)
    parts = [TrajectoryMetrics(layout, HISTORY) for _ in range(2)]
    for metric, rows in zip(parts, (slice(0, 2), slice(2, None)), strict=True):
        metric.update(
            **{
                name: value[rows] if name.startswith(("true", "valid")) else value[:, rows]
                for name, value in batch.items()
            }
        )
    parts[0].merge_state(parts[1])
    assert parts[0].compute() == pytest.approx(measure(layout, batch), rel=1e-12)


def test_updates_add_up_and_reset_forgets():
    batch = case(robot)
    metric = TrajectoryMetrics(robot, HISTORY)
    metric.update(**batch)
    once = metric.compute()
    metric.update(**batch)
    assert metric.compute() == pytest.approx(once, rel=1e-12)
    metric.reset()
    metric.update(**case(robot, noise=0.0))
    assert metric.compute()["state_mse"] == 0


def test_the_truth_has_no_errors_but_is_not_smooth_and_noise_is_worse():
    right, wrong, worse = (measure(robot, case(robot, noise=noise)) for noise in (0.0, 0.1, 1.0))
    errors = [name for name in right if name.endswith(("mse", "mae", "error"))]
    assert len(errors) == 7
    assert all(right[name] == 0 for name in errors)
    for name in ("trajectory_smoothness", "action_smoothness"):
        assert 0 < right[name] < wrong[name] < worse[name]
    for name in (*errors, "joint_limit_violations", "joint_limit_overshoot", "action_limit_violations"):
        assert right[name] <= wrong[name] < worse[name]


def test_what_is_known_does_not_count():
    batch = case(robot, SAMPLES)
    found = measure(robot, batch)
    other = dict(batch)
    for name, known in (("states", HISTORY + 1), ("actions", HISTORY), ("feet", HISTORY + 1)):
        axis = -2 if name != "feet" else -3
        shaken = batch[name].clone()
        shaken.narrow(axis, 0, known).fill_(torch.nan)
        other[name] = shaken
    assert measure(robot, other) == found
    moved = {**batch, "states": batch["states"].clone(), "actions": batch["actions"].clone()}
    moved["states"][:, 0, HISTORY + 1] += 1
    moved["actions"][:, 0, HISTORY] += 1
    assert measure(robot, moved)["state_mse"] > found["state_mse"]
    assert measure(robot, moved)["action_mse"] != found["action_mse"]


def test_what_does_not_exist_does_not_count():
    batch = case(robot, SAMPLES)
    shaken = {name: batch[name].clone() for name in ("states", "actions", "feet")}
    for value in shaken.values():
        value[:, ~batch["valid"]] = torch.nan
    assert measure(robot, batch | shaken) == measure(robot, batch)
    assert measure(robot, batch | {"valid": None}) != measure(robot, batch)
    nothing = measure(robot, batch | {"valid": torch.zeros_like(batch["valid"])})
    assert nothing == {}


def still(layout, **columns):
    states = torch.zeros(1, WINDOW, layout.state_size)
    for name, value in columns.items():
        states[..., layout.slice(name)] = torch.tensor(value)
    actions = torch.tensor([[0.0, 1.0, 0.0]]).expand(1, WINDOW, 3)
    return {"states": states, "actions": actions, "true_states": states, "true_actions": actions}


def test_limits_count_shares_and_how_far():
    at = measure(robot, still(robot, joint_pos=[1.0, 0.0, 0.25]))  # on the limits is within them
    assert (at["joint_limit_violations"], at["joint_limit_overshoot"]) == (0, 0)
    over = measure(robot, still(robot, joint_pos=[1.5, 0.0, -0.6]))
    assert over["joint_limit_violations"] == pytest.approx(2 / 3)
    assert over["joint_limit_overshoot"] == pytest.approx((0.5 + 0.1) / 2, rel=1e-6)
    assert over["action_limit_violations"] == 0


def walk(height, speed):
    """Feet (1, W, 1, 3) at one height and one speed over the ground."""
    x = torch.arange(WINDOW) * speed / robot.fps
    return torch.stack([x, torch.zeros(WINDOW), torch.full((WINDOW,), height)], dim=-1)[None, :, None]


@pytest.mark.parametrize(
    ("height", "speed", "share", "depth"),
    [
        (0.02, 0.1, 0.0, 0.0),  # stands
        (0.02, 0.6, 1.0, 0.0),  # slides
        (-0.005, 0.0, 0.0, 0.005),  # within what rounding of a floor may do
        (-0.03, 0.0, 1.0, 0.03),  # sinks in
    ],
)
def test_feet_that_slide_or_sink_violate_their_contact(height, speed, share, depth):
    found = measure(robot, still(robot) | {"feet": walk(height, speed)})
    assert found["contact_violations"] == share
    assert found["foot_penetration"] == pytest.approx(depth, abs=1e-8)


def test_a_foot_in_the_air_may_move():
    found = measure(robot, still(robot) | {"feet": walk(0.3, 2.0)})
    assert "contact_violations" not in found
    assert measure(robot, still(robot) | {"feet": walk(0.3, 2.0)}, contact_height=0.5)["contact_violations"] == 1.0
    slow = measure(robot, still(robot) | {"feet": walk(0.0, 0.2)}, contact_speed=0.1)
    assert slow["contact_violations"] == 1.0


def test_a_constant_acceleration_has_its_value():
    batch = still(robot)
    time = torch.arange(WINDOW, dtype=torch.float64) / robot.fps
    moved = batch["states"].double().clone()
    moved[..., 0] = 2.0 * time**2 / 2
    found = measure(robot, batch | {"states": moved})
    assert found["acceleration_error"] == pytest.approx(2.0**2 / (3 + 3 + 6 + 3))
    assert found["jerk_error"] == pytest.approx(0.0, abs=1e-12)
    moved[..., 0] = 6.0 * time**3 / 6  # root and both bodies move along x, one of three axes
    assert measure(robot, batch | {"states": moved})["jerk_error"] == pytest.approx(6.0**2 / 3)


def test_equal_plans_have_no_diversity_and_a_shift_has_its_length():
    states, actions = truth(base)
    pair = torch.stack([states, states])
    both = torch.stack([actions, actions])
    same = {"states": pair, "actions": both, "true_states": states, "true_actions": actions}
    assert measure(base, same)["diversity"] == 0
    moved = pair.clone()
    moved[1, ..., :2] += torch.tensor([3.0, 4.0])
    assert measure(base, same | {"states": moved})["diversity"] == pytest.approx(5.0)


@pytest.mark.parametrize("horizon", [0, 1, 2])
def test_short_horizons_count_what_they_can(horizon):
    states, actions = truth(base)
    cut = slice(0, HISTORY + 1 + horizon)
    metric = TrajectoryMetrics(base, HISTORY)
    metric.update(states[:, cut], actions[:, cut], states[:, cut], actions[:, cut])
    found = metric.compute()
    assert ("state_mse" in found) == (horizon > 0)
    assert ("velocity_error" in found) == (horizon > 1)
    assert "jerk_error" not in found


def test_shapes_that_do_not_match_are_named():
    metric = TrajectoryMetrics(base, HISTORY)
    states, actions = truth(base)
    with pytest.raises(ValueError, match=r"\(5, 10, 8\).*\(5, 9, 8\)"):
        metric.update(states, actions, states[:, 1:], actions)
    with pytest.raises(ValueError, match=r"\(B, W, 3\)"):
        metric.update(states, actions[..., :2], states, actions[..., :2])
