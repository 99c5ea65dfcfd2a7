"""The arm exoskeleton: energy, limits, reachable tasks, costs as documented, batch = alone, an assistant that helps."""

import math

import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from torch import Tensor

from datamodules.envs import arm_tasks
from datamodules.envs.arm_body import AXES, FOREARM, HAND, JOINTS, UPPER_ARM, ArmBody
from datamodules.envs.arm_tasks import MARGIN, MOUTH, TASKS, HandToMouth
from datamodules.envs.exoskeleton_arm import DT, LEVELS, SUPPORT, TOLERANCE, TORQUE_RATE, ExoskeletonArm


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def made(n: int = 4, **keys) -> ExoskeletonArm:
    env = ExoskeletonArm(n, **{"impairment": "none", "severity": 0.0} | keys)
    env.reset(seed=keys.get("seed", 0))
    return env


def at_all_levels(rows: int, **keys) -> ExoskeletonArm:
    env = made(rows * len(LEVELS), **keys)
    env.levels = torch.arange(len(LEVELS)).repeat_interleave(rows)
    env.reset(seed=1)
    return env


def constant(env: ExoskeletonArm, torque: float = 0.0, authority: float = 0.0) -> Tensor:
    action = torch.full((env.num_envs, 8), torque)
    action[:, -1] = authority
    return action


# ---------------------------------------------------------------------------------------------- mechanics
def free_arm(n: int) -> tuple[ArmBody, Tensor, Tensor]:
    """Arms of several people without damping, stops or drives, at rest somewhere."""
    body, g = ArmBody(), torch.Generator().manual_seed(1)
    body.damping, body.drive_damping, body.cuff_damping = (torch.zeros(7, 1) for _ in range(3))
    body.half = torch.full((7, 1), torch.inf)  # the ends of the range are never met
    angle = 0.4 * (body.low + (body.high - body.low) * torch.rand(7, n, generator=g))
    motion = torch.cat((angle, torch.zeros(7, n), angle, torch.zeros(7, n)))
    return (
        body,
        motion,
        body.inertia(*(0.9 + 0.2 * torch.rand(3, n, generator=g)) * torch.tensor([[1.0], [75.0], [0.5]])),
    )


def energy(body: ArmBody, motion: Tensor, inertia: Tensor) -> Tensor:
    """(n,) J: the arm's, the rotors' and the springs', above the arm hanging straight down."""
    angle, rate, rotor, rotor_rate = motion.double().chunk(4)
    links = body.links(inertia.double())
    exact = ArmBody(dtype=torch.float64)
    hanging = exact.chain.energy(links, exact.chain.pose(links, 0.0 * angle), rate)[1]
    total = exact.chain.energy(links, exact.chain.pose(links, angle), rate).sum(0) - hanging
    total = total + 0.5 * (exact.rotor * rotor_rate.square()).sum(0)
    return total + 0.5 * (body.cuff_stiffness.double() * (rotor - angle).square()).sum(0)


@pytest.mark.parametrize("seconds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_the_undriven_undamped_arm_keeps_its_energy(seconds):
    """At the environment's own step, in its own precision; half of the arms with the drives on their springs."""
    n, still = 32, torch.zeros(7, 32)
    body, motion, inertia = free_arm(n)
    body.cuff_stiffness = body.cuff_stiffness * (torch.arange(n) % 2)
    before, worst, fastest = energy(body, motion, inertia), torch.zeros(n), torch.zeros(n)
    for step in range(round(seconds / DT)):
        motion = body.advance(motion, inertia, 0.0, still, still, DT)
        fastest = torch.maximum(fastest, motion[7:14].abs().amax(0))
        if step % 10 == 9:
            drift = (energy(body, motion, inertia) / before - 1.0).abs().float()
            worst = torch.maximum(worst, drift)
    assert (fastest > 2.5).all()  # it did swing
    assert worst.max() < 0.01


def test_damping_only_takes_energy():
    body, motion, inertia = free_arm(16)
    body.damping, body.drive_damping, body.cuff_damping = (getattr(ArmBody(), x) for x in
        ("damping", "drive_damping", "cuff_damping"))  # fmt: skip
    still, before = torch.zeros(7, 16), energy(body, motion, inertia)
    for _ in range(100):
        motion = body.advance(motion, inertia, 1.0, still, still, DT)
        after = energy(body, motion, inertia)
        assert (after < before + 1e-4).all()
        before = after


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_stops_hold_each_joint_against_its_drive(side):
    """Eight arms: the drives of all joints, or of one, at full torque for two seconds."""
    body = ArmBody()
    inertia = body.inertia(torch.ones(8), torch.full((8,), 75.0), torch.zeros(8))
    angle = torch.tensor(arm_tasks.REST).unsqueeze(1).expand(-1, 8)
    motion = torch.cat((angle, 0.0 * angle, angle, 0.0 * angle))
    motor = side * body.torque_limit * torch.cat((torch.eye(7), torch.ones(7, 1)), 1)
    for _ in range(200):
        motion = body.advance(motion, inertia, 1.0, torch.zeros(7, 8), motor, DT)
        assert ((motion[:7] - body.middle).abs() < body.half + 0.25).all()
    pushed = side * (motion[:7] - body.middle).diagonal() > body.half[:, 0] - 0.1
    assert pushed[[1, 3, 4, 5, 6]].all()  # these went to the end; gravity and the other joints may hold the others back


def test_stops_are_far_from_felt_inside_the_margin():
    body = ArmBody()
    for side in (-1.0, 1.0):
        inside, at = body.middle + side * (body.half - 0.25), body.middle + side * body.half
        assert (body.stop_torque(inside).abs() < 0.012 * body.torque_limit).all()
        torch.testing.assert_close(body.stop_torque(at), -side * body.stop)


def test_the_cuff_pulls_the_arm_towards_the_drive_and_nothing_else():
    """A drive held off the arm moves the arm its way; internal torques cancel: rotors get what the arm does not."""
    body, motion, inertia = free_arm(7)
    offset = 0.05 * torch.eye(7)
    motion[14:21] = motion[:7] + offset
    torch.testing.assert_close(body.cuff(motion), body.cuff_stiffness * offset, rtol=1e-4, atol=1e-5)
    links = body.links(inertia)
    pose = body.chain.pose(links, motion[:7])
    still = torch.zeros(7, 7)
    later = body.advance(motion, inertia, 0.0, body.chain.load(links, pose), still, 1e-4)  # gravity is held
    torch.testing.assert_close(later[21:] * body.rotor, -1e-4 * body.cuff_stiffness * offset, rtol=1e-2, atol=1e-6)
    gained = body.chain.inverse(links, pose, still, later[7:14] / 1e-4) - body.chain.load(links, pose)
    torch.testing.assert_close(gained, body.cuff_stiffness * offset, rtol=2e-2, atol=0.1)


def test_masses_are_those_of_the_segments():
    body = ArmBody()
    light, heavy = (body.inertia(torch.ones(1), torch.tensor([m]), torch.zeros(1))[0].sum() for m in (60.0, 80.0))
    assert float(heavy - light) == pytest.approx(20.0 * (0.028 + 0.016 + 0.006), rel=1e-4)
    one, two = (body.inertia(torch.ones(1), torch.tensor([75.0]), torch.tensor([p])) for p in (0.0, 0.5))
    assert float((two - one)[0].sum()) == pytest.approx(0.5, rel=1e-4)
    assert float((two - one)[0, 6]) == pytest.approx(0.5, rel=1e-4)
    small, large = (body.inertia(torch.tensor([s]), torch.tensor([75.0]), torch.zeros(1)) for s in (1.0, 1.1))
    for row, power in ((0, 0), (1, 1), (2, 1), (3, 2), (4, 2)):
        torch.testing.assert_close(large[row], small[row] * 1.1**power)


# ---------------------------------------------------------------------------------------------- tasks
def grip_by_scipy(angle: list[float]) -> list[float]:
    """Where the grip is, by rotations of another library."""
    turn, place = Rotation.identity(), torch.zeros(3).double().numpy()
    lengths = {2: UPPER_ARM, 4: FOREARM, 6: HAND}
    for i, (name, q) in enumerate(zip(AXES, angle, strict=True)):
        turn = turn * Rotation.from_euler(name[-1], -q if name[0] == "-" else q)
        place = place + turn.apply([0.0, 0.0, -lengths.get(i, 0.0)])
    return list(place)


def test_grip_is_that_of_rotations_of_another_library():
    g = torch.Generator().manual_seed(0)
    angle = torch.randn(7, 5, generator=g, dtype=torch.float64)
    grip = ArmBody(dtype=torch.float64).grip(angle)
    for row in range(5):
        assert grip[:, row].tolist() == pytest.approx(grip_by_scipy(angle[:, row].tolist()), abs=1e-12)


def test_the_mouth_is_in_reach_by_two_ways_of_inverse_kinematics():
    body = ArmBody()
    ours = HandToMouth(body).posture[:, 0]
    assert grip_by_scipy(ours.tolist()) == pytest.approx(MOUTH, abs=1e-4)
    low, high = (body.low + MARGIN)[:, 0], (body.high - MARGIN)[:, 0]
    assert ((ours > low) & (ours < high)).all()
    found = least_squares(
        lambda q: [a - b for a, b in zip(grip_by_scipy(q), MOUTH, strict=True)],
        arm_tasks.REST,
        bounds=(low.tolist(), high.tolist()),
    )
    assert math.sqrt(2.0 * found.cost) < 1e-4


def test_a_target_out_of_reach_is_named():
    body = ArmBody(dtype=torch.float64)
    with pytest.raises(ValueError, match="out of the arm's reach"):
        body.reach(torch.tensor([[0.0], [0.0], [0.9]], dtype=torch.float64), torch.zeros(7, 1, dtype=torch.float64))


@pytest.mark.parametrize("task", TASKS)
def test_every_goal_is_a_posture_inside_the_range_that_arm_and_device_can_hold(task):
    env = at_all_levels(100, task=task)
    state, body = env.state, env.body
    scale = state["traits"][0]
    links = body.links(state["links"])
    for moment in (0.0, 1.0, 2.3, 4.0):
        time = torch.full((env.num_envs,), moment)
        goal = env.task.aim(state["plan"], time) if env.task.ends else env.task.plan(state["plan"], time).angle
        assert (goal >= body.low + MARGIN - 1e-5).all()
        assert (goal <= body.high - MARGIN + 1e-5).all()
        pose = body.chain.pose(links, goal)
        target, _ = env.task.target(state["plan"], time)
        assert (pose.tip - scale * target).norm(dim=0).max() < 0.002
        load = body.chain.load(links, pose).abs()
        assert (load < 0.9 * body.torque_limit).all()  # the drives alone
        assert (load * (1.0 - 0.8 * SUPPORT) < 0.6 * body.strength).all()  # a healthy human, besides the least support
    assert target.isfinite().all()


@pytest.mark.parametrize("task", TASKS)
def test_episodes_begin_inside_all_margins(task):
    env = at_all_levels(100, task=task)
    angle = env.state["motion"][:7]
    assert ((angle - env.body.middle).abs() < env.body.half - 0.2).all()
    for _ in range(3):
        *_, info = env.step(constant(env))
        assert (info["costs"][:, [0, 2, 3, 4, 5]] == 0.0).all()


def test_the_human_holds_the_arm_when_an_episode_begins():
    """It does not sag before the first command arrives: the load is shared from the start."""
    env = made(64, task="reach")
    for _ in range(8):
        env.step(constant(env, 0.0, 1.0))
    assert env.state["motion"][10].abs().mean() < 0.1  # rad/s, of the elbow


def test_reach_targets_are_ahead_and_apart_and_spread_with_the_level():
    env = at_all_levels(300, task="reach")
    plan = env.state["plan"]
    start, target = env.body.grip(plan[:7]), plan[14:17]
    assert (target[0] > 0.1499).all()
    assert ((target - start).norm(dim=0) > 0.1499).all()
    spread = target.view(3, len(LEVELS), 300).std(2).sum(0)
    assert spread[4] > 1.2 * spread[0]


@pytest.mark.parametrize("task", TASKS)
def test_plans_are_smooth_and_their_rates_are_their_derivatives(task):
    body = ArmBody(dtype=torch.float64)
    plans, h = TASKS[task](body), 1e-4
    plan = plans.begin(torch.arange(5), torch.linspace(0.0, 1.0, 5), 1).double()
    for moment in (0.0, 0.2, 0.7, 2.0):
        time = torch.full((5,), moment, dtype=torch.float64)
        before, now, after = (plans.plan(plan, time + d) for d in (-h, 0.0, h))
        if moment > 0.0:
            torch.testing.assert_close(now.rate, (after.angle - before.angle) / (2 * h), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(now.acceleration, (after.rate - before.rate) / (2 * h), rtol=1e-4, atol=1e-3)
            aims, rate = [plans.target(plan, time + d)[0] for d in (-h, h)], plans.target(plan, time)[1]
            torch.testing.assert_close(rate, (aims[1] - aims[0]) / (2 * h), rtol=1e-4, atol=1e-5)
        else:
            assert (now.rate.abs() < 1e-6).all()
    if plans.ends:
        torch.testing.assert_close(now.angle, plan[7:14])
        assert (now.rate == 0.0).all()


# ---------------------------------------------------------------------------------------------- one step
def test_advance_is_a_function_of_the_state():
    env = made(6, impairment="mixed", severity=0.5, level=3)
    kept = {name: value.clone() for name, value in env.state.items()}
    action = torch.rand(8, 6) * 2.0 - 1.0
    (first, one), (second, two) = (env.advance(env.state, action) for _ in range(2))
    assert all(torch.equal(env.state[name], value) for name, value in kept.items())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(one.reward, two.reward)
    assert set(first) | {"key", "elapsed"} == set(kept)


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_its_rows_alone(task):
    keys = {"task": task, "impairment": "mixed", "severity": [0.2, 0.9], "level": 4, "max_episode_steps": 35}
    g = torch.Generator().manual_seed(0)
    together, alone = made(5, **keys), [made(1, **keys) for _ in range(2)]
    together.reset(seed=7)
    for i, env in enumerate(alone):
        env.reset(seed=7 + 3 * i)
    for _ in range(50):  # past the first episode
        action = torch.rand(5, 8, generator=g) * 2.0 - 1.0
        observation, reward, _, truncated, info = together.step(action)
        for i, env in zip((0, 3), alone, strict=True):
            one, gain, _, end, told = env.step(action[i : i + 1])
            torch.testing.assert_close(one[0], observation[i], rtol=0.0, atol=1e-5)
            torch.testing.assert_close(gain[0], reward[i], rtol=0.0, atol=1e-5)
            torch.testing.assert_close(told["costs"][0], info["costs"][i], rtol=0.0, atol=1e-5)
            assert bool(end[0]) == bool(truncated[i])


def test_without_authority_the_robot_is_not_heard_and_with_all_of_it_the_human_is_not_amplified():
    env = made(3, impairment="weakness", severity=0.5)
    for _ in range(40):
        env.step(constant(env))
    free = {torque: env.advance(env.state, constant(env, torque, -1.0).T)[0] for torque in (-1.0, 1.0)}
    assert torch.equal(free[-1.0]["motion"], free[1.0]["motion"])
    whole = {torque: env.advance(env.state, constant(env, torque, 1.0).T)[0] for torque in (-0.1, 0.0, 0.1)}
    step = [whole[t]["joints"][0] for t in (-0.1, 0.0, 0.1)]
    torch.testing.assert_close(step[2] - step[1], step[1] - step[0], rtol=1e-3, atol=1e-4)  # none of it is limited
    assert (step[2] > step[1]).all()
    lag = env.state["traits"][2]
    motor, *_, load = env.state["joints"].unbind()
    held = (env.state["traits"][4] * load - motor) * -torch.expm1(-DT / lag)
    torch.testing.assert_close(step[1], motor + held, rtol=1e-4, atol=1e-5)
    half = env.advance(env.state, constant(env, 0.0, 0.0).T)[0]
    assert ((half["joints"][0] - step[1]).sign() == half["joints"][2].sign()).all()  # follows the human's command


def test_motors_lag_and_keep_to_their_rate_and_their_limit():
    env = made(64, level=2)
    g, limit = torch.Generator().manual_seed(0), env.body.torque_limit
    before = env.state["joints"][0]
    for _ in range(50):
        env.step(torch.rand(64, 8, generator=g) * 2.0 - 1.0)
        motor = env.state["joints"][0]
        assert (motor.abs() <= limit * 1.0001).all()
        assert ((motor - before).abs() <= TORQUE_RATE * DT * limit * 1.001).all()
        before = motor
    for _ in range(40):
        env.step(constant(env, 1.0, 1.0))
    motor, *_, load = env.state["joints"].unbind()
    full = load > 0.1 * limit  # where support and command pull together
    assert full.sum() > 20
    torch.testing.assert_close(motor[full], limit.expand(-1, 64)[full], rtol=1e-2, atol=1e-2)


def test_costs_are_the_documented_hinges():
    env = made(1)
    body = env.body
    zero, limit, rate_limit = torch.zeros(7, 1), body.torque_limit, TORQUE_RATE * DT * body.torque_limit

    def costs(angle=body.middle, rate=zero, motor=zero, change=zero, cuff=zero, held=zero) -> list[float]:
        return env._costs(angle, rate, motor, change, cuff, held)[:, 0].tolist()

    assert costs() == [0.0] * 6
    one = torch.eye(7)
    for joint in range(7):
        only = one[:, joint : joint + 1]
        for share, cost in ((0.2, 1.0), (0.0, 1.0), (-0.05, 0.5), (-0.1, 0.0), (-0.3, 0.0)):
            for side in (-1.0, 1.0):
                angle = body.middle + side * only * (body.half + share)
                assert costs(angle=angle)[0] == pytest.approx(cost, abs=1e-4)
        for share, cost in ((0.5, 0.0), (0.75, 0.5), (-0.75, 0.5), (1.0, 1.0)):
            assert costs(motor=only * share * limit) == pytest.approx([0.0, cost, 0.0, 0.0, 0.0, 0.0], abs=1e-4)
            assert costs(change=only * share * rate_limit)[2] == pytest.approx(cost, abs=1e-4)
        for speed, cost in ((2.0, 0.0), (-3.0, 0.5), (4.0, 1.0), (9.0, 1.0)):
            assert costs(rate=only * speed) == pytest.approx([0.0, 0.0, 0.0, cost, 0.0, 0.0], abs=1e-4)
        for force, cost in ((60.0, 0.0), (-110.0, 0.5), (160.0, 1.0)):
            assert costs(cuff=only * force * body.cuff_lever)[4] == pytest.approx(cost, abs=1e-4)
    for torque, speed, cost in ((2.0, -1.0, 0.0), (11.0, -1.0, 0.5), (11.0, 1.0, 0.0), (-20.0, 1.0, 1.0)):
        assert costs(rate=speed * one[:, :1], cuff=torque * one[:, :1])[5] == pytest.approx(cost, abs=1e-4)
        assert costs(rate=speed * one[:, :1], cuff=torque * one[:, :1], held=torque * one[:, :1])[5] == 0.0


def test_a_drive_against_the_movement_costs_resistive_power_and_one_with_it_does_not():
    """Each joint in turn moves at 2 rad/s under a cuff that gives 10 W, or takes them."""
    env = made(7, impairment="weakness", severity=1.0)
    body, traits = env.body, env.state["traits"]
    for side in (-1.0, 1.0):
        state = {name: value.clone() for name, value in env.state.items()}
        angle, (motor, *_, load) = state["motion"][:7], state["joints"].unbind()
        rate, extra = 2.0 * torch.eye(7), side * 5.0 * torch.eye(7)
        rotor = angle + (traits[4] * load + extra) / body.cuff_stiffness
        state["motion"] = torch.cat((angle, rate, rotor, rate))
        state["joints"][0] = motor + extra
        action = torch.cat((extra / body.torque_limit, torch.ones(1, 7)))
        _, outcome = env.advance(state, action.clamp(-1.0, 1.0))
        proximal = outcome.costs[5, :4]
        assert (proximal > 0.05).all() if side < 0.0 else (proximal < 0.02).all(), (side, proximal)


def test_reward_is_the_progress_and_the_time():
    env = made(8, max_episode_steps=60, impairment="weakness", severity=0.8)
    env.autoreset = False
    first, gained, late = env.state["score"][0], torch.zeros(8), torch.zeros(8)
    for _ in range(60):
        _, reward, terminated, _, info = env.step(constant(env))
        assert not terminated.any()
        gained, distance = gained + reward, info["measures"]["distance"]
        late += 0.02 + 0.04 * (distance / 0.3).clamp(max=1.0)
    torch.testing.assert_close(gained, 8.0 * (first - distance) / first.clamp(min=0.3) - late, rtol=1e-4, atol=1e-4)


def test_success_is_a_stay_at_the_target():
    env = made(8)
    env.autoreset, inside, ended = False, torch.zeros(8), torch.zeros(8, dtype=torch.bool)
    for _ in range(250):
        _, reward, terminated, _, info = env.step(env.scripted(env.state).T)
        inside = torch.where(info["measures"]["distance"] <= TOLERANCE, inside + 1, 0)
        assert torch.equal(terminated, inside >= 20)
        assert torch.equal(info["success"], terminated)
        assert (reward[terminated & ~ended] > 4.0).all()
        ended |= terminated
    assert ended.all()


# ---------------------------------------------------------------------------------------------- levels, human, picture
def test_each_column_of_the_levels_changes_the_arm():
    env = at_all_levels(200)
    scale, friction, lag, dropout, support = env.state["traits"].view(5, len(LEVELS), 200).unbind()
    table = torch.tensor(LEVELS)
    for column, values in ((2, friction), (3, lag), (4, dropout)):
        torch.testing.assert_close(values.mean(1), table[:, column], rtol=1e-4, atol=1e-6)
    error = (support / SUPPORT - 1.0).abs().amax(1)
    assert (error <= table[:, 5] + 1e-6).all()
    assert (error[1:] > 0.9 * table[1:, 5]).all()
    bare = made(env.num_envs)
    bare.reset(seed=1)  # the same people, at level 0
    payload = (env.state["links"][0] - bare.state["links"][0]).view(7, len(LEVELS), 200)
    assert (payload[:6] == 0.0).all()
    assert (payload[6] <= table[:, 1:2] + 1e-6).all()
    torch.testing.assert_close(payload[6].amax(1), table[:, 1], rtol=0.05, atol=1e-6)
    assert scale.min() > 0.93
    assert scale.max() < 1.07


def test_a_curriculum_sets_the_level_of_the_next_episode():
    env = made(2, max_episode_steps=2)
    env.levels[1] = 4
    assert env.state["traits"][2].tolist() == pytest.approx([LEVELS[0][3]] * 2)
    for _ in range(2):
        env.step(constant(env))
    assert env.state["traits"][2].tolist() == pytest.approx([LEVELS[0][3], LEVELS[4][3]])


def test_sensors_that_drop_out_hold_their_last_value():
    env = made(400, level=4)
    held = total = 0
    for _ in range(20):
        before = env.state["measured"]
        env.step(constant(env, 0.3, 0.0))
        now, true = env.state["measured"], env.state["motion"][:14].view(2, 7, -1)
        same, right = ((now == other).all(0).all(0) for other in (before, true))
        assert (same | right).all()
        held, total = held + int((same & ~right).sum()), total + 400
    assert held / total == pytest.approx(LEVELS[4][4], abs=0.02)
    columns = [i for i, name in enumerate(env.observation_names) if name.endswith("elbow_flexion_rate")]
    torch.testing.assert_close(env.observe(env.state)[:, columns[0]] * 3.0, env.state["measured"][1, 3])


def test_observations_are_named_and_about_unit_scale():
    env = made(64, impairment="mixed", severity=[0.2, 0.8], level=2, task="tracking")
    assert env.single_observation_space.shape == (len(env.observation_names),) == (51,)
    assert len(set(env.observation_names)) == 51
    assert env.action_names == (*JOINTS, "authority")
    seen = []
    for _ in range(100):
        observation, *_ = env.step(env.scripted(env.state).T)
        seen.append(observation)
    values = torch.cat(seen)
    assert values.isfinite().all()
    assert values.abs().max() <= 5.0
    assert values.std() < 1.0


def test_an_impairment_is_felt_in_the_hand():
    paths = {}
    for impairment in ("none", "tremor", "weakness"):
        env = made(32, impairment=impairment, severity=0.8)
        env.autoreset = False
        paths[impairment] = torch.stack([env.step(constant(env, 0.0, -1.0)) and env.state["hand"] for _ in range(90)])
    jerk = {name: path.diff(dim=0).diff(dim=0).square().mean() for name, path in paths.items()}
    assert jerk["tremor"] > 10.0 * jerk["none"]
    assert (paths["weakness"][-1] - paths["none"][-1]).norm(dim=0).mean() > 0.02


def test_a_healthy_human_mostly_needs_no_robot():
    """And without weight on errors, or without learning, would stay off the target."""
    env = made(64, max_episode_steps=300)
    env.autoreset, ended = False, torch.zeros(64, dtype=torch.bool)
    for _ in range(300):
        _, _, terminated, *_ = env.step(constant(env, 0.0, -1.0))
        ended |= terminated
    assert ended.float().mean() > 0.7


@pytest.mark.parametrize("task", TASKS)
def test_feasibility_audit(task):
    """At each level the assistant succeeds where nothing and noise do not; return, cost and length show it."""
    rows, levels = 12, len(LEVELS)
    env = made(3 * levels * rows, task=task, impairment="mixed", severity=[0.5, 0.7], max_episode_steps=250)
    env.levels = torch.arange(levels).repeat_interleave(rows).repeat(3)
    env.reset(seed=[i % (levels * rows) for i in range(env.num_envs)])  # the same people for all three
    env.autoreset = False
    g, third = torch.Generator().manual_seed(0), levels * rows
    going = torch.ones(env.num_envs, dtype=torch.bool)
    total, cost, length, success = torch.zeros(4, env.num_envs).unbind()
    for _ in range(env.max_episode_steps):
        nothing, noise = torch.zeros(third, 8), torch.rand(third, 8, generator=g) * 2.0 - 1.0
        action = torch.cat((nothing, noise, env.scripted(env.state).T[2 * third :]))
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation.isfinite().all()
        assert ((info["costs"] >= 0.0) & (info["costs"] <= 1.0)).all()
        assert (reward[going & ~info["success"]].abs() <= 1.5).all()
        total, cost, length = total + reward * going, cost + info["cost"] * going, length + going
        success = success + (info["success"] & going)
        going = going & ~(terminated | truncated)
    figures = (x.view(3, levels, rows).mean(2) for x in (total, cost / length, length, success))
    (none, chance, helped), rate, steps, done = figures
    assert (done[2] >= 0.8).all(), done
    assert done[2].mean() >= 0.9, done
    assert (done[0] <= 0.7).all(), done
    assert done[0].mean() <= 0.5, done
    assert (done[1] <= 0.2).all(), done
    assert (helped > none + 4.0).all(), (none, helped)
    assert (helped > chance + 4.0).all(), (chance, helped)
    assert (rate[2] < 0.5 * rate[1]).all(), rate
    if task != "tracking":
        assert (steps[2] < 0.8 * steps[0]).all(), steps


def test_a_run_goes_on_where_it_was_kept():
    keys = {"impairment": "mixed", "severity": 0.6, "level": 3, "max_episode_steps": 15}
    env, g = made(4, **keys), torch.Generator().manual_seed(0)
    actions = torch.rand(30, 4, 8, generator=g) * 2.0 - 1.0
    for action in actions[:10]:
        env.step(action)
    kept = env.state_dict()
    first = [env.step(action)[0] for action in actions[10:]]
    other = made(4, **keys)
    other.load_state_dict(kept)
    assert all(torch.equal(x, other.step(action)[0]) for x, action in zip(first, actions[10:], strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_pictures_show_the_arm_and_what_moves(task):
    env = made(2, task=task, render_mode="rgb_array")
    first = env.render()
    assert first.shape == (480, 800, 3)
    assert first.dtype.name == "uint8"
    same = env.render()
    for _ in range(16):
        for _ in range(5):
            env.step(env.scripted(env.state).T)
        later = env.render()
    assert (first != same).mean() < 1e-3
    assert (first != later).mean() > 1e-3
    blue = (later[..., 2] > 150) & (later[..., 0] < 120)
    assert blue[:, :560].sum() > 10  # the trail
    red = (later[..., 0] > 180) & (later[..., 1] < 70) & (later[..., 2] < 70)
    skin = abs(later.astype(int) - [0xE8, 0xB4, 0x8F]).sum(2) < 12
    assert red[:, :560].sum() > 50
    assert skin[:, :560].sum() > 1000
    env.close()
    assert made(1).render() is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"task": "wave"}, "task: 'wave' is not known; use one of reach, tracking, adl"),
        ({"level": 5}, "level: 5 must be one of 0 to 4"),
        ({"impairment": "cold"}, "impairment: 'cold' is not known"),
    ],
)
def test_wrong_keys_are_named(keys, message):
    with pytest.raises(ValueError, match=message):
        ExoskeletonArm(**keys)
