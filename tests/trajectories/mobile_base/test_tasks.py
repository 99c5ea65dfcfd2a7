"""The closed loop of the mobile base: scores, frames, seeds, splits, baselines."""

import math

import pytest
import torch

from datamodules.envs.mobile_base import DT, Motion, into_frame, pillar_gap, wall_gap
from datamodules.trajectories.mobile_base.policies import BASELINES, expert, random, zero
from datamodules.trajectories.mobile_base.scenes import TASKS, Scene
from datamodules.trajectories.mobile_base.tasks import COMMAND_ERROR, SECONDS, _Run, rollout
from litmotif.geometry.rotations import turned as rotated


def _towards_the_goal(history, task):
    """Straight on, whatever stands in the way; ignores where it looks."""
    way = task.velocity if task.velocity is not None else task.waypoint
    speed = 0.8 * way / way.norm(dim=-1, keepdim=True)
    return torch.cat((speed, torch.zeros(len(way), 1)), -1).unsqueeze(1).repeat(1, 4, 1)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_and_the_baselines_fail(task):
    assert rollout(expert, task, episodes=50).success.float().mean() >= 0.98
    assert not rollout(zero, task, episodes=50).success.any()
    lost = rollout(random, task, episodes=50)
    assert not lost.success.any()
    assert lost.falls.float().mean() > 0.9


def test_outcomes_agree_with_their_paths():
    r = rollout(_towards_the_goal, "forest", episodes=60, seed=1)
    assert r.collisions.any()
    assert r.success.any()
    assert not (r.success & (r.collisions | r.falls)).any()
    end, last = r.paths[:, -1, :2], (r.seconds / DT).round().long()
    before = r.paths[torch.arange(60), last - 1, :2]
    touched = torch.minimum(pillar_gap(before, end, r.scene.pillars), wall_gap(end, 4.0)) <= 0
    assert torch.equal(touched, r.collisions)
    assert torch.allclose((end - r.scene.goal).norm(dim=1), r.error, atol=1e-5)
    assert (r.error[r.success] <= 0.3).all()
    for row in range(60):  # nothing moves after the end, and nothing was touched before it
        path = r.paths[row]
        assert (path[last[row] :] == path[last[row]]).all()
        way = path[: last[row], :2]
        pillars = r.scene.pillars[row].expand(len(way) - 1, -1, -1)
        assert (pillar_gap(way[:-1], way[1:], pillars) > 0).all()


def test_a_goal_reached_with_a_touch_or_a_fall_is_not_solved():
    start, goal = torch.zeros(3, 3), torch.tensor([[0.2, 0.0]]).expand(3, 2)
    far, close = (9.0, 3.0, 0.2), (0.4, 0.0, 0.2)
    run = _Run(Scene("forest", start, goal, None, torch.tensor([[far], [close], [far]]), 4.0), 4)
    run.step(0, torch.tensor([[0.1, 0.0, 0.0], [0.1, 0.0, 0.0], [1.2, 0.8, 0.0]]))
    outcome = run.outcome()
    assert outcome.success.tolist() == [True, False, False]
    assert outcome.collisions.tolist() == [False, True, False]
    assert outcome.falls.tolist() == [False, False, True]


def test_a_waypoint_asks_for_a_second_of_standing():
    # one stands near the goal, one circles around it at 0.08 m with 0.12 m/s
    start, speed = torch.tensor([[0.05, 0.0, 0.0], [0.08, 0.0, math.pi / 2]]), torch.zeros(2, 3)
    speed[1] = torch.tensor([0.12, 0.0, 1.5])
    run = _Run(Scene("waypoint", start, torch.zeros(2, 2), None, torch.zeros(2, 0, 3), None), 4)
    run.motion = Motion(start, speed)
    for step in range(12):
        assert run.success.tolist() == [step >= 10, False]
        run.step(step, speed)
    assert run.outcome().error[1] < 0.09
    assert run.seconds.tolist() == pytest.approx([1.0, 15.0])


def test_a_waypoint_that_is_only_passed_is_not_solved():
    first = []

    def straight_on(history, task):
        first.append(_towards_the_goal(history, task))  # it never turns, so the frame keeps its axes
        return first[0]

    r = rollout(straight_on, "waypoint", episodes=50)
    assert ((r.paths[..., :2] - r.scene.goal.unsqueeze(1)).norm(dim=-1).amin(1) < 0.15).float().mean() > 0.5
    assert not r.success.any()
    assert (r.seconds == SECONDS["waypoint"]).all()


def test_the_joystick_error_is_the_mean_velocity_error_in_world_frame():
    slow = 0.9

    def lagging(history, task):
        return torch.cat((slow * task.velocity, torch.zeros(len(task.velocity), 1)), -1).unsqueeze(1).repeat(1, 2, 1)

    r = rollout(lagging, "joystick", episodes=50, replan_every=1)
    stood = ~r.falls  # the jump between two commands is too much for some
    assert 25 < stood.sum() < 50
    speed = r.scene.velocity.norm(dim=-1)
    assert torch.allclose(r.error[stood], (1 - slow) * speed.amax(1)[stood], atol=2e-3)
    assert torch.equal(r.success, stood & (r.error < COMMAND_ERROR))
    change = (r.paths[:, 1:, :2] - r.paths[:, :-1, :2]) / DT
    worst = torch.stack(
        [
            (change[:, stop - 20 : stop] - r.scene.velocity[:, index, None]).norm(dim=-1).mean(1)
            for index, stop in enumerate((50, 100))
        ]
    ).amax(0)
    assert torch.allclose(worst[stood], r.error[stood], atol=2e-3)


# ---------------------------------------------------------------------- what a policy sees
def test_history_and_task_are_in_the_character_frame_of_now():
    seen = []

    def watched(history, task):
        seen.append((history, task))
        return expert(history, task)

    r = rollout(watched, "forest", episodes=5, replan_every=3, history=4, action_noise=0.1)
    history, task = seen[0]  # before the start it stood still
    assert history.states.shape == (5, 5, 8)
    assert history.actions.shape == (5, 4, 3)
    assert history.states.abs().max() < 1e-6
    assert not history.actions.any()
    call = 9
    history, task = seen[call]
    assert history.step == 3 * call
    assert torch.equal(history.episode, torch.arange(5))
    now = r.paths[:, history.step]
    assert (history.states[:, -1, [0, 1, 4]]).abs().max() < 1e-5
    past = r.paths[:, history.step - 4 : history.step + 1]
    assert torch.allclose(history.states[..., :2], into_frame(past[..., :2], now.unsqueeze(1)), atol=1e-4)
    assert torch.allclose(history.states[..., 4], past[..., 2] - now[:, 2:], atol=1e-4)
    turned = rotated(history.states[..., 5:7], history.states[..., 4])  # own velocity, seen from now
    assert torch.allclose(history.states[..., 2:4], turned, atol=1e-4)
    assert torch.allclose(task.waypoint, into_frame(r.scene.goal, now), atol=1e-5)
    discs = task.obstacles[0][task.obstacles[0, :, 2] < 1]
    near = discs[discs[:, :2].norm(dim=1) < 10]
    world = into_frame(r.scene.pillars[0, :, :2], now[:1].expand(15, 3))
    assert len(near) > 0
    assert torch.cdist(near[:, :2], world).amin(1).max() < 1e-4


def test_the_actions_of_the_history_are_those_that_were_executed():
    seen = []

    def steady(history, task):
        seen.append(history)
        return torch.tensor([0.5, 0.1, 9.0]).expand(3, 6, 3)

    rollout(steady, "joystick", episodes=3, replan_every=6)
    assert torch.allclose(seen[1].actions, torch.tensor([0.5, 0.1, 1.5]).expand(3, 4, 3))  # within the limits
    shaken = []
    rollout(lambda h, t: (shaken.append(h), zero(h, t))[1], "joystick", episodes=3, action_noise=0.1)
    assert shaken[1].actions.abs().amin() > 0


def test_only_the_first_actions_of_a_plan_are_executed():
    def then_backwards(history, task):
        plan = torch.zeros(4, 5, 3)
        plan[:, :2, 0], plan[:, 2:, 0] = 0.4, -1.2
        return plan

    r = rollout(then_backwards, "joystick", episodes=4, replan_every=2)
    assert (r.paths[:, -1, :2].norm(dim=1) > 3.5).all()


# ---------------------------------------------------------------------- seeds, splits, disturbances
@pytest.mark.parametrize("task", TASKS)
def test_outcomes_do_not_depend_on_the_split(task):
    settings = {"episodes": 11, "seed": 7, "action_noise": 0.1, "push": 0.2, "replan_every": 8}
    whole = rollout(expert, task, **settings)
    for rank in range(3):
        part = rollout(expert, task, rank=rank, world_size=3, **settings)
        for name in ("success", "seconds", "falls", "collisions", "error", "paths"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rank::3]), name


def test_the_random_policy_does_not_depend_on_the_split():
    whole, part = rollout(random, "forest", episodes=6), rollout(random, "forest", episodes=6, rank=1, world_size=2)
    assert torch.equal(part.paths, whole.paths[1::2])


def test_seeds_differ_and_disturbances_disturb():
    def paths(**settings):
        return rollout(expert, "waypoint", episodes=4, **settings).paths

    plain = paths()
    assert torch.equal(plain, paths())
    assert not torch.equal(plain, paths(seed=1))
    assert torch.equal(plain[:, 1], paths(push=0.3)[:, 1])
    for settings in ({"action_noise": 0.1}, {"push": 0.3}):
        assert (paths(**settings) - plain).abs().max() > 0.01


def test_bad_plans_and_numbers_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 3\) must be \(2, K, 3\) with K >= replan_every=4"):
        rollout(lambda h, t: torch.zeros(2, 3, 3), "forest", episodes=2)
    broken = torch.zeros(2, 4, 3)
    broken[1, 0, 2] = torch.nan
    with pytest.raises(ValueError, match="row 1, step 0, column 2 is nan"):
        rollout(lambda h, t: broken, "forest", episodes=2)
    with pytest.raises(ValueError, match="task='swim': choose one of joystick, waypoint, forest"):
        rollout(zero, "swim")
    with pytest.raises(ValueError, match="rank=2 of 2"):
        rollout(zero, "forest", rank=2, world_size=2)
    assert set(BASELINES) == {"expert", "zero", "random"}
