from dataclasses import replace

import pytest
import torch

from lit_models.diffusion.guidance import Guidance
from lit_models.diffusion.sampler_names import make_sampler
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.costs import Joystick
from lit_models.state_action.frames import reframed
from lit_models.state_action.normalizer import Normalizer
from lit_models.state_action.objective import known_tokens
from lit_models.state_action.planner import Plan, Planner, PlanSampling, Tick, row_noise

from .layouts import base, robot

N, W = 2, 6


def make(denoise=None, sampler="ddim", steps=None, emphasis=None, options=None):
    layout = base
    normalizer = Normalizer(layout, emphasis)
    source = torch.Generator().manual_seed(0)
    statistics = [
        torch.rand(size, generator=source) + 0.5 for size in (layout.state_size,) * 2 + (layout.action_size,) * 2
    ]
    normalizer.fit(*statistics)
    diffusion = make_diffusion(20)
    denoise = denoise or (lambda x, levels: tuple(0.5 * part for part in x))
    return layout, Planner(
        denoise, normalizer, (diffusion, diffusion), known_tokens(N, W), PlanSampling(sampler, options, steps)
    )


def past(layout, rows=3, steps=W):
    source = torch.Generator().manual_seed(7)
    sizes = (layout.state_size, layout.action_size)
    return tuple(torch.randn(rows, steps, size, generator=source) for size in sizes)


def noise(*keys):
    return row_noise([torch.Generator().manual_seed(key) for key in keys])


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm_solver"])
@pytest.mark.parametrize("emphasis", [None, 6.0])
def test_what_is_known_comes_back_bit_for_bit(sampler, emphasis):
    layout, planner = make(sampler=sampler, emphasis=emphasis)
    states, actions = past(layout)
    plan = planner.plan(states, actions, noise(1, 2, 3))
    assert plan.states.shape == states.shape
    assert plan.actions.shape == actions.shape
    assert torch.equal(plan.states[:, : N + 1], states[:, : N + 1])
    assert torch.equal(plan.actions[:, :N], actions[:, :N])
    assert not torch.isclose(plan.states[:, N + 1 :], states[:, N + 1 :]).any()
    assert not torch.isclose(plan.actions[:, N:], actions[:, N:]).any()


def test_the_model_sees_the_past_clean_and_what_it_says_is_what_comes_out():
    seen = []

    def denoise(x, levels):
        seen.append((x, levels))
        return tuple(torch.full_like(part, 2.0) for part in x)

    layout, planner = make(denoise)
    states, actions = past(layout)
    plan = planner.plan(states, actions, noise(1, 2, 3))
    assert len(seen) == 20
    clean = planner.normalizer.normalise(states, actions)
    for x, levels in seen:
        assert torch.equal(x[0][:, : N + 1], clean[0][:, : N + 1])
        assert torch.equal(x[1][:, :N], clean[1][:, :N])
        assert (levels[0][:, : N + 1] == 0).all()
        assert (levels[0][:, N + 1 :] == levels[1][:, N:][:, :1]).all()
    told = planner.normalizer.states.mean + 2 * planner.normalizer.states.std
    torch.testing.assert_close(plan.states[:, N + 1 :], told.expand_as(plan.states[:, N + 1 :]))


def test_a_row_does_not_depend_on_its_neighbours():
    layout, planner = make(sampler="ddpm")
    states, actions = past(layout)
    whole = planner.plan(states, actions, noise(1, 2, 3))
    alone = planner.plan(states[1:2], actions[1:2], noise(2))
    torch.testing.assert_close(whole.states[1:2], alone.states)
    torch.testing.assert_close(whole.actions[1:2], alone.actions)
    other = planner.plan(states[1:2], actions[1:2], noise(4))
    assert (other.states - alone.states).abs().max() > 1e-2


def test_fewer_steps_call_the_model_less_often():
    calls = []

    def denoise(x, levels):
        calls.append(1)
        return x

    layout, planner = make(denoise, steps=4)
    planner.plan(*past(layout), noise(1, 2, 3))
    assert len(calls) == 4


def test_guidance_lowers_the_cost():
    layout, planner = make()
    states, actions = past(layout)
    cost = Joystick(layout, N, velocity=[3.0, 0.0])
    free = planner.plan(states, actions, noise(1, 2, 3))
    guided = planner.plan(states, actions, noise(1, 2, 3), Guidance(cost))
    assert (cost(*guided) < 0.9 * cost(*free)).all()
    assert torch.equal(guided.states[:, : N + 1], states[:, : N + 1])


def test_a_history_that_is_too_short_is_refused():
    layout, planner = make()
    states, actions = past(layout, steps=2)
    with pytest.raises(ValueError, match="2 states and 2 actions; this model reads 3 states"):
        planner.plan(states, actions, noise(1, 2, 3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [("euler", None, "sampler='euler'.*dpm_solver"), ("ddim", {"etta": 1.0}, "sampler='ddim'.*etta")],
)
def test_unknown_samplers_and_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_sampler(name, options)


def test_a_rolled_plan_goes_on_where_it_was():
    layout, planner = make()
    states, actions = past(layout)
    old = Tick(Plan(*past(layout)))
    states_path, actions_path = planner.paths(planner.rolling((14, 4), 2), old)
    assert states_path[0].tolist() == [0, 0, 0, 14, 20, 20]  # known, raised, pushed
    assert actions_path[0].tolist() == [0, 0, 4, 4, 20, 20]
    assert len(states_path) == 14 + 1  # 20 levels in 20 steps, so 14 in 14
    kept = planner.tick(states, actions, noise(1, 2, 3), None, unraised(planner, 2), old).plan
    torch.testing.assert_close(kept.states[:, 3:4, 5:], old.plan.states[:, 5:6, 5:])  # what is in no frame: as it was
    torch.testing.assert_close(kept.actions[:, 2:4], old.plan.actions[:, 4:6])
    assert torch.equal(kept.states[:, :3], states[:, :3])


def unraised(planner, shift_by):
    """Rolling that leaves what the last plan reaches."""
    rolling = planner.rolling((1, 1), shift_by)
    return replace(rolling, rest=tuple(torch.where(rest == 1, 0, rest) for rest in rolling.rest))


def test_rolling_moves_a_plan_by_what_was_executed():
    """A base that drives a circle as planned: the plan, moved on, lies on the same circle seen from now."""
    (_, planner), steps = make(), 2

    def circle(start):
        """States (1, W, 8) of a drive at 1 m/s and 0.5 rad/s, in the frame of step ``start`` + N."""
        t = 0.1 * (torch.arange(W) - N)
        turn = 0.5 * t
        columns = [turn.sin() / 0.5, (1 - turn.cos()) / 0.5, turn.cos(), turn.sin(), turn]
        rest = torch.tensor([1.0, 0.0, 0.5]).expand(W, 3)
        return torch.cat([torch.stack(columns, dim=-1), rest], dim=-1)[None]

    plan = Plan(circle(0), torch.arange(W).float()[None, :, None].expand(1, W, 3))
    now, actions = circle(steps)[:, : N + 1], plan.actions[:, steps : steps + N]
    rolled = planner.tick(now, actions, noise(1), None, unraised(planner, steps), Tick(plan)).plan
    torch.testing.assert_close(rolled.states[:, : W - steps], circle(steps)[:, : W - steps], rtol=0, atol=1e-5)
    torch.testing.assert_close(rolled.actions[0, : W - steps, 0], torch.tensor([2.0, 3.0, 4.0, 5.0]))


def test_another_frame_and_back():
    states = past(base)[0]
    place, angle = torch.randn(3, 2), torch.tensor([0.3, -2.0, 1.0])
    moved = reframed(states, base, place, angle)
    back = reframed(moved, base, -_turned(place, -angle), -angle)
    torch.testing.assert_close(back, states, rtol=1e-4, atol=1e-5)


def _turned(place, angle):
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * place[:, 0] - sin * place[:, 1], sin * place[:, 0] + cos * place[:, 1]], dim=-1)


@pytest.mark.parametrize("emphasis", [None, 6.0])
def test_joints_stay_within_their_limits(emphasis):
    normalizer = Normalizer(robot, emphasis)
    sizes = (robot.state_size, robot.state_size, robot.action_size, robot.action_size)
    normalizer.fit(*(value * torch.ones(size) for value, size in zip((0.1, 0.7, 0.0, 0.5), sizes, strict=True)))
    diffusion = make_diffusion(20)
    plans = {}
    for within in (True, False):
        planner = Planner(
            lambda x, levels: tuple(3 * part for part in x),
            normalizer,
            (diffusion, diffusion),
            known_tokens(N, W),
            PlanSampling(within_limits=within),
        )
        cost = Joystick(robot, N, velocity=[1.0, 0.0])
        plans[within] = planner.plan(*(torch.zeros(2, W, size) for size in sizes[1:3]), noise(1, 2), Guidance(cost))
    lower, upper = torch.tensor(robot.joint_limits).unbind(-1)
    for within, (states, actions) in plans.items():
        for angles in (states[:, N + 1 :, robot.slice("joint_pos")], actions[:, N:]):
            inside = (angles >= lower - 1e-5) & (angles <= upper + 1e-5)
            assert inside.all() == within
    assert (plans[True].states[:, N + 1 :, :3].abs() > 1).any()  # nothing else is clamped
