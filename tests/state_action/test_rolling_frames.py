"""What is planned stays where it was planned, while the frame it is told in moves on with the robot."""

from dataclasses import replace
from itertools import pairwise

import pytest
import roma
import torch

from lit_models.diffusion.guidance import Guidance
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.costs import Waypoint
from lit_models.state_action.frames import moved_on, reframed
from lit_models.state_action.layout import StateLayout
from lit_models.state_action.normalizer import Normalizer
from lit_models.state_action.objective import known_tokens
from lit_models.state_action.planner import Plan, Planner, PlanSampling, row_noise
from litmotif.geometry.frames import to_character, to_frame, to_world
from litmotif.geometry.rotations import about

from ..trajectories.robots import normal, unit
from .layouts import BARE, ROBOT, bare, base, changed, robot

B, N, H, BY = 3, 3, 8, 2
W = N + 1 + H
CLOSE = {"rtol": 0, "atol": 1e-9}


def world(steps=W + 4):
    """Root motion (B, T, ...), as wild as can be."""
    return normal(B, steps, 3, seed=1), unit(B, steps, seed=2), normal(B, steps, 3, seed=3)


def turned(root, turn, shift):
    pos, quat, vel = root
    return roma.quat_action(turn, pos) + shift, roma.quat_product(turn, quat), roma.quat_action(turn, vel)


def part(root, first, count):
    return tuple(value[:, first : first + count] for value in root)


def states_of(root, current, rest=None):
    """States (B, T, S) of the robot's layout in the character frame of ``current``, and that frame."""
    found, frame = to_character(*root, current)
    rest = normal(*found.shape[:2], robot.state_size - 9, seed=4) if rest is None else rest
    return torch.cat([found, rest], dim=-1), frame


def planner_of(within_limits=False, denoise=None):
    normalizer = Normalizer(robot).double()
    sizes = (robot.state_size, robot.state_size, robot.action_size, robot.action_size)
    normalizer.fit(*(value * torch.ones(size) for value, size in zip((0.1, 0.7, 0.0, 0.5), sizes, strict=True)))
    diffusion = make_diffusion(20)

    def wild(x, levels):
        mixed = torch.cat([part.mean(1, keepdim=True) for part in x], dim=-1).sum(-1, keepdim=True)
        return tuple((part + mixed + 0.1 * level[..., None]).sin() for part, level in zip(x, levels, strict=True))

    known, sampling = known_tokens(N, W), PlanSampling(steps=10, within_limits=within_limits)
    return Planner(denoise or wild, normalizer, (diffusion, diffusion), known, sampling)


def noise(seed):
    return row_noise([torch.Generator().manual_seed(100 * seed + row) for row in range(B)])


@pytest.mark.parametrize("steps", [1, 3])
def test_a_plan_seen_from_a_later_step_is_the_window_of_that_step(steps):
    root = world()
    planned, _ = states_of(part(root, 0, W), N)
    past, _ = states_of(part(root, steps, N + 1), N)
    now, _ = to_character(*part(root, 0, W), N + steps)
    seen = moved_on(planned, robot, past, steps)
    torch.testing.assert_close(seen[..., :6], now[..., :6], **CLOSE)
    away = (seen[..., 6:9] - now[..., 6:9]).norm(dim=-1)
    full = (away - 2 * torch.pi).abs()  # a turn by pi has two rotation vectors
    assert torch.minimum(away, full).max() < 1e-6
    assert torch.equal(seen[..., 9:], planned[..., 9:])


def test_without_a_root_nothing_moves():
    states = torch.randn(2, 5, bare.state_size)
    assert moved_on(states, bare, states[:, :2], 1) is states


@pytest.mark.parametrize("root", ["robot", "bare"])
def test_other_columns_in_the_character_frame_are_refused(root):
    plain = ROBOT if root == "robot" else BARE
    lost = {"name": "ball_pos", "size": 3, "unit": "m", "frame": "character"}
    layout = StateLayout.from_plain(changed(plain, state=[*plain["state"], lost]))
    with pytest.raises(ValueError, match="ball_pos: in the character frame, yet not of the root"):
        reframed(torch.zeros(1, 2, layout.state_size), layout, torch.zeros(1, 2), torch.zeros(1))


@pytest.mark.parametrize("layout", [robot, base], ids=["spatial", "planar"])
def test_guidance_may_differentiate_the_way_into_another_frame(layout):
    states = normal(2, 3, layout.state_size).requires_grad_()
    states.data[..., 6:9] = 0
    moved = reframed(states, layout, normal(2, 2, seed=5), torch.tensor([0.3, -2.0]).double())
    (gradient,) = torch.autograd.grad(moved.sum(), states)
    assert gradient.isfinite().all()


def drive(root, planner, rest, goal=None, ticks=3, keep=False):
    """Plans in the world, tick after tick, for a robot that goes its own way: root (B, W, ...) of each."""
    rolling, last, found = planner.rolling(rest, BY), None, []
    if keep:
        rolling = replace(rolling, rest=tuple(torch.where(rest == 1, 0, rest) for rest in rolling.rest))
    for tick in range(ticks):
        past, frame = states_of(part(root, tick * BY, N + 1), N, normal(B, N + 1, robot.state_size - 9, seed=tick))
        cost = None if goal is None else Guidance(Waypoint(robot, N, goal=to_frame(frame, goal)[:, :2]))
        last = planner.tick(past, normal(B, N, robot.action_size, seed=tick), noise(tick), cost, rolling, last)
        found.append(to_world(last.plan.states[..., :9], frame))
    return found


def test_what_is_not_denoised_again_stays_where_it_was_planned():
    """Plans whose tokens are kept as they are lie in the world as they did, however the robot turns below them."""
    first, second = drive(world(), planner_of(), (1, 1), ticks=2, keep=True)
    pos, quat, vel = part(first, N + 1 + BY, H - BY)
    new_pos, new_quat, new_vel = part(second, N + 1, H - BY)
    torch.testing.assert_close(new_pos, pos, **CLOSE)
    torch.testing.assert_close(new_vel, vel, **CLOSE)
    torch.testing.assert_close((quat * new_quat).sum(-1).abs(), torch.ones(B, H - BY).double(), **CLOSE)


@pytest.mark.parametrize("rest", ["ramp", (14, 4)], ids=str)
def test_planning_in_a_moved_world_gives_the_moved_plan(rest):
    root, goal = world(), torch.tensor([2.0, -1.0, 0.0]).double().expand(B, 3)
    turn, shift = about("z", normal(B, 1, seed=5)), normal(B, 1, 3, seed=6) * torch.tensor([1.0, 1.0, 0.0])
    plans = drive(root, planner_of(), rest, goal)
    moved = drive(turned(root, turn, shift), planner_of(), rest, roma.quat_action(turn[:, 0], goal) + shift[:, 0])
    for plan, expected in zip(moved, (turned(plan, turn, shift) for plan in plans), strict=True):
        torch.testing.assert_close(plan[0], expected[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(plan[2], expected[2], rtol=0, atol=1e-6)
        torch.testing.assert_close((plan[1] * expected[1]).sum(-1).abs(), torch.ones(B, W).double(), rtol=0, atol=1e-6)


def test_a_ramp_leaves_what_lies_far_ahead_in_noise():
    planner, root = planner_of(within_limits=True), world()
    rolling = planner.rolling("ramp", BY)
    past, _ = states_of(part(root, 0, N + 1), N)
    actions = normal(B, N, robot.action_size)
    made = planner.tick(past, actions, noise(0), None, rolling)
    for stream, (over, stop, known) in enumerate(zip(made.noise, rolling.stop, planner.known, strict=True)):
        first = int(known.sum())
        assert (stop[: first + BY] == 0).all()
        assert (over[:, : first + BY] == 0).all()  # what is executed is clean
        scale = (
            over[:, first + BY :].square().mean((0, 2)).sqrt()
            / planner.diffusions[stream].scales(stop[first + BY :], torch.float64)[1][:, 0]
        )
        assert ((scale > 0.3) & (scale < 3)).all()
        assert (stop[first:].diff() >= 0).all()
    lower, upper = torch.tensor(robot.joint_limits).unbind(-1)
    angles = made.plan.states[:, N + 1 :, robot.slice("joint_pos")]
    assert ((angles >= lower - 1e-5) & (angles <= upper + 1e-5)).all()
    assert isinstance(made.plan, Plan)
    assert planner.tick(past, actions, noise(0)).noise is None


def test_a_token_keeps_its_noise_from_tick_to_tick_until_it_is_clean():
    """A model that always says 0.3 takes the straight way there: what is left of a token is always the same draw."""
    seen = []

    def denoise(x, levels):
        seen.append((x, levels))
        return tuple(torch.full_like(part, 0.3) for part in x)

    planner, root, last = planner_of(denoise=denoise), world(), None
    rolling, begins = planner.rolling("ramp", BY), []
    for tick in range(3):
        begins.append(len(seen))
        past, _ = states_of(part(root, tick * BY, N + 1), N)
        last = planner.tick(past, normal(B, N, robot.action_size), noise(tick), None, rolling, last)
    for one, two in pairwise(begins):
        for stream, diffusion in enumerate(planner.diffusions):
            drawn = []
            for x, levels in (seen[one], seen[two]):
                signal, sigma = diffusion.scales(levels[stream], torch.float64)
                drawn.append((x[stream] - 0.3 * signal) / sigma)
            first = N + 1 - stream
            kept = slice(9 if stream == 0 else 0, None)  # the root's columns: 0.3 is elsewhere in another frame
            before, after = drawn[0][:, first + BY :, kept], drawn[1][:, first:-BY, kept]
            torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
            assert before.std() > 0.5


def test_a_past_that_does_not_reach_back_to_the_last_plan_is_refused():
    with pytest.raises(ValueError, match="rolling by 4 steps a tick needs as many steps of the past; there are 3"):
        planner_of().rolling("ramp", N + 1)
