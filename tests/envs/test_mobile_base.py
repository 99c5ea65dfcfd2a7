"""The mobile base against closed forms and against the integrals of its own trace."""

import math

import pytest
import torch

from datamodules.envs import mobile_base as base
from datamodules.envs.mobile_base import DT, LAG, RADIUS, TIPPING, Motion, advance
from litmotif.geometry.rotations import turned

_FAST = (1.2, 0.0, 1.5)


def _drive(speed: tuple[float, ...], action: tuple[float, ...], steps: int, pose=(0.0, 0.0, 0.0)):
    """Poses and speeds (steps + 1, 3), and peaks (steps,), in float64."""
    motion = Motion(torch.tensor([pose]).double(), torch.tensor([speed]).double())
    trace, peaks = [motion], []
    for _ in range(steps):
        motion, peak = advance(motion, torch.tensor([action]).double())
        trace.append(motion)
        peaks.append(peak)
    return torch.cat([m.pose for m in trace]), torch.cat([m.speed for m in trace]), torch.cat(peaks)


def test_small_steps_follow_the_first_order_response_exactly():
    action = (0.6, -0.4, 0.9)  # below ACCELERATION * LAG: no limit is reached
    _, speed, _ = _drive((0.0, 0.0, 0.0), action, 30)
    seconds = DT * torch.arange(31).double()
    expected = torch.tensor(action).double() * (1 - torch.exp(-seconds / LAG)).unsqueeze(1)
    assert (speed - expected).abs().max() < 1e-7


def test_the_way_is_the_integral_of_the_response():
    pose, _, _ = _drive((0.0, 0.0, 0.0), (0.7, 0.0, 0.0), 20)
    seconds = DT * torch.arange(21).double()
    way = 0.7 * (seconds - LAG * (1 - torch.exp(-seconds / LAG)))
    assert (pose[:, 0] - way).abs().max() < 1e-3
    assert (pose[:, 1:] == 0).all()


def test_a_steady_turn_is_a_circle_with_its_centripetal_acceleration():
    v, w = 0.9, 1.2
    pose, _, peaks = _drive((v, 0.0, w), (v, 0.0, w), 60)
    angle = w * DT * torch.arange(61).double()
    circle = v / w * torch.stack((angle.sin(), 1 - angle.cos()), 1)
    assert (pose[:, :2] - circle).abs().max() < 1e-4
    assert (pose[:, 2] - angle).abs().max() < 1e-6
    assert (peaks - v * w).abs().max() < 1e-6


def test_each_axis_keeps_its_limits():
    _, speed, _ = _drive((-1.2, -0.8, -1.5), (9.0, 9.0, 9.0), 40)
    change = (speed[1:] - speed[:-1]) / DT
    most = torch.tensor(base.ACCELERATION).double()
    assert (change <= most + 1e-5).all()
    assert (change[0] - most).abs().max() < 1e-5  # the first step is all at the limit
    assert (speed[-1] - torch.tensor(base.LIMITS).double()).abs().max() < 1e-5


def test_acceleration_in_world_frame_is_what_the_peak_says():
    pose, speed, peaks = _drive((0.5, 0.3, 1.0), (0.8, 0.1, 1.0), 1)
    velocity = turned(speed[:, :2], pose[:, 2])
    mean = ((velocity[1] - velocity[0]) / DT).norm()
    assert mean < peaks[0] < 1.5 * mean  # it decays within the step


@pytest.mark.parametrize("share", [0.999, 1.001])
def test_it_falls_where_the_zero_moment_point_leaves_the_foot(share):
    # a jump whose first substep, where the response is steepest, accelerates by share of g times support over height
    h = DT / base.SUBSTEPS
    size = share * 9.81 * 0.25 / 0.75
    acceleration = torch.tensor([[math.sqrt(size**2 - 2.4**2), 2.4, 0.0]]).double()
    jump = acceleration * h / (1 - math.exp(-h / LAG))
    assert (jump <= torch.tensor(base.LIMITS)).all()
    _, peak = advance(base.standing(torch.zeros(1, 3).double()), jump)
    assert peak.item() == pytest.approx(size)
    assert (peak.item() > TIPPING) == (share > 1)


def test_a_full_turn_at_full_speed_stands_and_a_jump_in_it_falls():
    _, _, steady = _drive(_FAST, _FAST, 10)
    _, _, jump = _drive(_FAST, (-1.2, 0.0, 1.5), 10)
    assert steady.max().item() == pytest.approx(1.2 * 1.5)
    assert steady.max() < TIPPING < jump.max()


def test_neither_axis_alone_makes_it_fall_but_both_do():
    _, _, forward = _drive((-1.2, 0.0, 0.0), (1.2, 0.0, 0.0), 5)
    _, _, sideways = _drive((0.0, -0.8, 0.0), (0.0, 0.8, 0.0), 5)
    _, _, both = _drive((-1.2, -0.8, 0.0), (1.2, 0.8, 0.0), 5)
    assert forward.max() == pytest.approx(base.ACCELERATION[0])
    assert max(forward.max(), sideways.max()) < TIPPING < both.max()


def test_the_gap_to_a_pillar_is_that_to_the_whole_way():
    start, end = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 1.0]]), torch.tensor([[4.0, 0.0], [1.0, 0.0], [2.0, 1.0]])
    pillars = torch.tensor([[2.0, 1.0, 0.2], [9.0, 9.0, 0.1]]).expand(3, 2, 3)
    expected = torch.tensor([0.8, math.sqrt(2) - 0.2, -0.2]) - RADIUS  # beside, ahead, inside
    assert torch.allclose(base.pillar_gap(start, end, pillars), expected, atol=1e-6)
    assert base.pillar_gap(start, end, pillars[:, :0]).isinf().all()


def test_the_gap_to_the_pillars_equals_a_fine_sampling_of_the_way():
    generator = torch.Generator().manual_seed(0)
    start, end = torch.rand(2, 40, 2, generator=generator) * 6
    pillars = torch.rand(40, 7, 3, generator=generator) * torch.tensor([6.0, 6.0, 0.3])
    ways = torch.lerp(start.unsqueeze(1), end.unsqueeze(1), torch.linspace(0, 1, 2001).view(1, -1, 1))
    brute = (torch.cdist(ways, pillars[..., :2]) - pillars[:, None, :, 2]).amin((1, 2)) - RADIUS
    assert (base.pillar_gap(start, end, pillars) - brute).abs().max() < 2e-3


def test_the_gap_to_a_wall_is_to_the_nearer_one():
    place = torch.tensor([[5.0, 3.0], [-1.0, -3.9], [0.0, 0.0]])
    assert torch.allclose(base.wall_gap(place, 4.0), torch.tensor([1.0, 0.1, 4.0]) - RADIUS, atol=1e-6)


def test_frames_there_and_back():
    generator = torch.Generator().manual_seed(1)
    points, origin = torch.randn(9, 2, generator=generator), torch.randn(9, 3, generator=generator)
    there = base.into_frame(points, origin)
    assert torch.allclose(turned(there, origin[..., 2]) + origin[..., :2], points, atol=1e-6)
    ahead = origin[:, :2] + torch.stack((origin[:, 2].cos(), origin[:, 2].sin()), 1)
    assert torch.allclose(base.into_frame(ahead, origin), torch.tensor([1.0, 0.0]).expand(9, 2), atol=1e-6)


def test_the_motion_does_not_depend_on_where_the_world_begins():
    turned, _, _ = _drive((0.2, 0.1, 0.3), (0.9, -0.3, 1.0), 20, (3.0, -2.0, 2.5))
    straight, _, _ = _drive((0.2, 0.1, 0.3), (0.9, -0.3, 1.0), 20)
    assert torch.allclose(base.into_frame(turned[:, :2], turned[:1]), straight[:, :2], atol=1e-9)
