"""Gait, rigid bodies and robot of the leg exoskeleton, against independent derivations."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from datamodules.envs.exoskeleton_leg import DT
from datamodules.envs.gait import HIP_EVENTS, KNEE_EVENTS, SPEED_RANGE, Gait, stride_frequency
from datamodules.envs.leg_dynamics import (
    GRAVITY,
    LIMITS,
    acceleration,
    body,
    end_stops,
    energy,
    inverse_dynamics,
    mass_matrix,
)
from datamodules.envs.leg_robot import COSTS, PEAK_TORQUE, POWER_BUDGET, TORQUE_RATE, LegRobot

torch.set_num_threads(1)


# ------------------------------------------------------------------ gait
def walk(phase, speed):
    speed = torch.full_like(phase, speed)
    return Gait()(phase, speed, stride_frequency(speed))


@pytest.mark.parametrize("speed", SPEED_RANGE)
def test_gait_is_periodic_and_within_what_laboratories_measure(speed):
    phase = torch.linspace(0.0, 1.0, 401)
    hip, knee = torch.rad2deg(walk(phase, speed).angle)
    assert -12.0 < hip.min() < -4.0 < 22.0 < hip.max() < 34.0
    assert 0.0 < knee.min() < 6.0 < 50.0 < knee.max() < 65.0
    for here, later in zip(walk(phase, speed), walk(phase + 3.0, speed), strict=True):
        torch.testing.assert_close(here, later, atol=1e-3, rtol=1e-4)
    load = walk(phase, speed).load
    assert load[:, (phase > 0.1) & (phase < 0.2)].min() > 0.1  # flexes in early stance
    assert load[:, (phase > 0.7) & (phase < 0.85)].abs().max() < 0.15  # swing is nearly free
    assert load.abs().max() < 0.9  # Nm/kg


def test_gait_goes_through_its_events_and_grows_with_speed():
    for joint, events in enumerate((HIP_EVENTS, KNEE_EVENTS)):
        phases = torch.tensor([event[0] for event in events])
        for speed in (0.5, 1.2):
            wanted = torch.tensor([event[1] + event[2] * speed for event in events])
            torch.testing.assert_close(torch.rad2deg(walk(phases, speed).angle[joint]), wanted, atol=1.5, rtol=0.0)
    phase = torch.linspace(0.0, 1.0, 200)
    slow, fast = walk(phase, 0.4).angle, walk(phase, 1.4).angle
    assert ((fast.amax(1) - fast.amin(1)) > (slow.amax(1) - slow.amin(1))).all()


def test_rate_and_acceleration_are_the_derivatives_in_time():
    speed, h = 1.1, 1e-3
    frequency = stride_frequency(torch.tensor([speed])).item()
    phase = torch.linspace(0.0, 1.0, 301)
    before, here, after = (walk(phase + k * h * frequency, speed) for k in (-1, 0, 1))
    torch.testing.assert_close((after.angle - before.angle) / (2 * h), here.rate, atol=2e-3, rtol=0.0)
    torch.testing.assert_close((after.rate - before.rate) / (2 * h), here.acceleration, atol=2e-2, rtol=1e-3)


def test_stride_rate():
    assert stride_frequency(torch.tensor([1.45])).item() == pytest.approx(1.02)
    speed = torch.tensor([0.5, 1.0])
    length = speed / stride_frequency(speed)
    torch.testing.assert_close(*(length / stride_frequency(speed)))  # stride length over stride rate


# ------------------------------------------------------------------ rigid bodies
def leg_64(n=1):
    return body(torch.full((n,), 70.0, dtype=torch.float64), torch.full((n,), 1.75, dtype=torch.float64))


def cartesian_lagrangian(q, v, mass=70.0, height=1.75):
    """T - V of two rods with the segment table of Winter, from the velocities of their centres of mass."""
    l1, m1, m2 = 0.245 * height, 0.1 * mass, 0.061 * mass
    c1, c2 = 0.433 * l1, 0.606 * 0.246 * height
    a, b, a1, b1 = q[0], q[0] - q[1], v[0], v[0] - v[1]
    first = c1 * a1 * a.cos(), c1 * a1 * a.sin()
    second = l1 * a1 * a.cos() + c2 * b1 * b.cos(), l1 * a1 * a.sin() + c2 * b1 * b.sin()
    kinetic = 0.5 * m1 * (first[0] ** 2 + first[1] ** 2) + 0.5 * m2 * (second[0] ** 2 + second[1] ** 2)
    turning = 0.5 * m1 * (0.323 * l1 * a1) ** 2 + 0.5 * m2 * (0.416 * 0.246 * height * b1) ** 2
    heights = -c1 * a.cos(), -l1 * a.cos() - c2 * b.cos()
    return kinetic + turning - GRAVITY * (m1 * heights[0] + m2 * heights[1])


def euler_lagrange(q, v, torque):
    """Joint accelerations by automatic differentiation: M q'' = torque + dL/dq - d(dL/dv)/dq v."""
    q, v = q.clone().requires_grad_(), v.clone().requires_grad_()
    by_q, momentum = torch.autograd.grad(cartesian_lagrangian(q, v), (q, v), create_graph=True)
    rows = [torch.autograd.grad(p, (q, v), retain_graph=True) for p in momentum]
    mass, mixed = torch.stack([row[1] for row in rows]), torch.stack([row[0] for row in rows])
    return torch.linalg.solve(mass, torque + by_q - mixed @ v).detach(), mass


def test_equations_of_motion_as_automatic_differentiation_derives_them():
    g = torch.Generator().manual_seed(0)
    q, v, torque = (torch.randn(2, 30, generator=g, dtype=torch.float64) * s for s in (1.0, 3.0, 30.0))
    leg = leg_64(30)
    ours, masses = acceleration(leg, q, v, torque), mass_matrix(leg, q[1])
    for i in range(30):
        wanted, mass = euler_lagrange(q[:, i], v[:, i], torque[:, i])
        torch.testing.assert_close(ours[:, i], wanted)
        torch.testing.assert_close(masses[..., i], mass)
    torch.testing.assert_close(masses, masses.transpose(0, 1))
    assert torch.linalg.eigvalsh(masses.permute(2, 0, 1)).min() > 0.0
    torch.testing.assert_close(inverse_dynamics(leg, q, v, ours), torque)


def test_two_legs_are_two_single_legs():
    g = torch.Generator().manual_seed(1)
    q, v, torque = (torch.randn(4, 5, generator=g, dtype=torch.float64) for _ in range(3))
    both = acceleration(leg_64(5), q, v, torque)
    for side in (0, 1):
        single = acceleration(leg_64(5), *(x[side::2] for x in (q, v, torque)))
        torch.testing.assert_close(both[side::2], single)


def test_a_free_leg_keeps_its_energy():
    leg = leg_64()
    start = torch.tensor([[0.6], [0.4], [1.0], [-2.0]], dtype=torch.float64)

    def law(t, x):
        state = torch.from_numpy(x)[:, None]
        return torch.cat((state[2:], acceleration(leg, state[:2], state[2:], torch.zeros_like(state[:2])))).numpy()[
            :, 0
        ]

    path = torch.from_numpy(solve_ivp(law, (0.0, 5.0), start[:, 0].numpy(), rtol=1e-10, atol=1e-10).y)
    energies = energy(leg, path[:2], path[2:])
    torch.testing.assert_close(energies, energies[:, :1].expand_as(energies), atol=1e-6, rtol=0.0)


def test_the_simulators_own_steps_keep_the_energy_of_a_free_leg(monkeypatch):
    monkeypatch.setattr("datamodules.envs.leg_robot.CUFF_STIFFNESS", 0.0)
    monkeypatch.setattr("datamodules.envs.leg_robot.CUFF_DAMPING", 0.0)
    monkeypatch.setattr("datamodules.envs.leg_dynamics.STOP_TORQUE", 0.0)
    leg, robot, still = leg_64(3), LegRobot(1, DT, 4), torch.zeros(2, 3, dtype=torch.float64)
    joints = torch.zeros(6, 2, 3, dtype=torch.float64)
    joints[0] = torch.tensor([[0.6, 0.4, 0.5], [0.4, 0.5, 0.6]])
    joints[1] = torch.tensor([[1.0, 0.0, 2.0], [-2.0, 0.0, 3.0]])
    start = energy(leg, *joints[:2])
    swing = start - energy(leg, still, still)
    for _ in range(int(10.0 / DT)):
        joints, _ = robot.simulate(leg, joints, still, still, 0.0, torch.zeros(3, dtype=torch.float64))
        assert ((energy(leg, *joints[:2]) - start).abs() < 0.03 * swing).all()  # the rate is half a substep behind
    now = energy(leg, joints[0], joints[1] + joints[2] * DT / 8)
    assert ((now - start).abs() < 0.01 * swing).all()


def test_work_of_torques_is_the_change_of_energy():
    leg, torque = leg_64(), torch.tensor([[8.0], [-3.0]], dtype=torch.float64)

    def law(t, x):
        q, v = torch.from_numpy(x[:4])[:, None].split(2)
        return np.append(torch.cat((v, acceleration(leg, q, v, torque))).numpy()[:, 0], (torque * v).sum().item())

    path = torch.from_numpy(solve_ivp(law, (0.0, 1.0), [0.1, 0.3, 0.0, 0.0, 0.0], rtol=1e-10, atol=1e-10).y)
    energies = energy(leg, path[:2], path[2:4])[0]
    torch.testing.assert_close(energies - energies[0], path[4], atol=1e-6, rtol=0.0)


def test_end_stops_push_inward_and_grow_exponentially():
    robot = LegRobot(1, DT, 4)
    for joint, (low, high) in enumerate(LIMITS):
        angle = torch.tensor([low - 0.1, low, (low + high) / 2 + 0.01, high, high + 0.1, high + 0.15])
        both = angle.expand(2, -1)
        torque = end_stops(both, robot.middle, robot.width)[joint]
        assert torque[0] > torque[1] > 0.0 > torque[3] > torque[4]
        assert torque[2].abs() < 1e-4
        assert torque[4] / torque[3] == pytest.approx(math.exp(20.0 * 0.1), rel=1e-3)
        assert torque[5] / torque[4] == pytest.approx(math.exp(20.0 * 0.05), rel=1e-3)


# ------------------------------------------------------------------ robot
def test_motor_is_a_first_order_lag_with_a_limited_rate():
    robot = LegRobot(1, DT, 4)
    lag, motor = torch.tensor([0.05]), torch.zeros(2, 1)
    asked, path = torch.tensor([[5.0], [-5.0]]), []
    for _ in range(10):
        motor = motor + robot.motor_change(asked, motor, lag)
        path.append(motor)
    wanted = 1.0 - torch.exp(-torch.arange(1, 11) * DT / 0.05)
    torch.testing.assert_close(torch.stack(path)[:, 0, 0], 5.0 * wanted)
    torch.testing.assert_close(torch.stack(path)[:, 1, 0], -5.0 * wanted)
    jump = robot.motor_change(torch.full((2, 1), PEAK_TORQUE), torch.zeros(2, 1), torch.tensor([0.001]))
    assert jump.max() == pytest.approx(TORQUE_RATE * DT)


def test_cuffs_carry_the_motor_torque_to_a_leg_at_rest():
    robot, leg = LegRobot(1, DT, 4), body(torch.tensor([70.0]), torch.tensor([1.75]))
    joints = torch.zeros(6, 2, 1)
    joints[0] = joints[3] = torch.tensor([[0.2], [0.5]])
    joints[5] = 10.0
    damping, still = torch.tensor([20.0]), torch.zeros(2, 1)
    for _ in range(3000):
        joints, cuff = robot.simulate(leg, joints, still, still, 20.0, damping)
    torch.testing.assert_close(cuff, joints[5], atol=0.02, rtol=0.0)
    torch.testing.assert_close(joints[3] - joints[0], cuff / 800.0, atol=1e-4, rtol=0.0)
    holding = (
        inverse_dynamics(leg, joints[0], still, still)
        + 20.0 * joints[0]
        - end_stops(joints[0], robot.middle, robot.width)
    )
    torch.testing.assert_close(holding, cuff, atol=0.05, rtol=0.0)


def test_projection_of_torques_is_the_nearest_within_power_and_peak():
    robot, g = LegRobot(2, DT, 4), torch.Generator().manual_seed(0)
    asked, rate = 80.0 * torch.randn(4, 500, generator=g), 3.0 * torch.randn(4, 500, generator=g)
    within = robot.within_power(asked, rate)
    assert within.abs().max() <= PEAK_TORQUE * 1.001
    power = -(within * rate).reshape(2, 2, -1).sum(0)
    assert power.max() <= POWER_BUDGET * 1.01
    assert ((within - asked).abs() < 1e-4).all(0).any()
    torch.testing.assert_close(robot.within_power(within, rate), within, atol=1e-2, rtol=1e-3)


def test_each_cost_alone_and_its_two_ends():
    robot = LegRobot(1, DT, 4)
    middle, still = robot.middle.expand(2, 1), torch.zeros(2, 1)

    def costs(angle=middle, rate=still, motor=still, change=still, cuff=still):
        return dict(zip(COSTS, robot.costs(angle, rate, motor, change, cuff)[:, 0].tolist(), strict=True))

    assert set(costs().values()) == {0.0}
    end, five = robot.middle + robot.width, math.radians(5.0)
    hip = torch.tensor([[1.0], [0.0]])
    probes = {
        "joint_margin": [{"angle": end - five}, {"angle": end - five / 2}, {"angle": end}],
        "torque": [{"motor": -share * PEAK_TORQUE * hip} for share in (0.5, 0.75, 1.0)],
        "torque_rate": [{"change": share * TORQUE_RATE * DT * hip} for share in (0.5, 0.75, 1.0)],
        "joint_speed": [{"rate": speed * hip} for speed in (4.0, 5.0, 6.0)],
        "interaction_force": [{"cuff": -force * 0.3 * hip} for force in (60.0, 110.0, 160.0)],
    }
    for name, given in probes.items():
        for probe, wanted in zip(given, (0.0, 0.5, 1.0), strict=True):
            found = costs(**probe)
            assert found.pop(name) == pytest.approx(wanted, abs=1e-5), name
            assert set(found.values()) == {0.0}
    taking = costs(rate=2.0 * hip, cuff=-15.0 * hip)
    assert taking["resistive_power"] == pytest.approx((30.0 - 10.0) / 40.0)
    assert costs(rate=2.0 * hip, cuff=15.0 * hip)["resistive_power"] == 0.0  # help is free
