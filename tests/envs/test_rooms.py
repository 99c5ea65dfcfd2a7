"""Rooms, the planner, the lidar and the people of the wheelchair, each against something independent."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from datamodules import noise
from datamodules.envs import lidar, people, planner, rooms

COUNT = 24
LEVELS = len(rooms.OBSTACLES)


@pytest.fixture(scope="module")
def bank() -> rooms.Rooms:
    return rooms.build(7, COUNT)


def _footprint_gap(bank: rooms.Rooms, room: int, points: np.ndarray) -> np.ndarray:
    """Float64, by definition: distance of points (J, 2) to the nearest fixed thing, less the chair's radius."""
    gap = np.minimum(points, rooms.SIZE - points).min(1)
    for x, y, radius in bank.discs[..., room].T.double().numpy():
        gap = np.minimum(gap, np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
    for wall in _wall_points(bank, room):
        gap = np.minimum(gap, np.hypot(*(points - wall).T))
    return gap - rooms.FOOTPRINT


def _wall_points(bank: rooms.Rooms, room: int, spacing: float = 0.02) -> np.ndarray:
    """Points of the partition, the doorway left out."""
    normal_x, _, offset, middle, half = bank.partition[:, room].double().numpy()
    along = np.arange(0.0, rooms.SIZE + spacing, spacing)
    along = along[np.abs(along - middle) >= half]
    across = np.full_like(along, offset)
    return np.stack((across, along) if normal_x == 1.0 else (along, across), 1)


# ---------------------------------------------------------------------- planner
def test_in_an_empty_room_the_way_is_the_straight_distance():
    goal = torch.tensor([[2.3, 8.1], [5.2, 1.7]])
    u = planner.travel_cost(torch.ones(rooms.GRID, rooms.GRID, 2), goal, rooms.SPACING)
    axis = torch.arange(rooms.GRID) * rooms.SPACING
    distance = torch.hypot(axis.view(-1, 1, 1) - goal[0], axis.view(1, -1, 1) - goal[1])
    assert (u - distance).abs().max() < 0.2  # one spacing: the scheme is of first order
    assert (u >= distance - 1e-4).all()
    towards = (goal.view(2, 1, 1, 2) - torch.stack(torch.meshgrid(axis, axis, indexing="ij")).unsqueeze(3)) / distance
    cosine = (planner.descent(u, rooms.SPACING) * towards).sum(0)
    assert cosine[distance > 0.5].min() > math.cos(math.radians(8))


def test_the_way_solves_the_eikonal_equation(bank):
    nodes = torch.stack(torch.meshgrid(*[torch.arange(rooms.GRID) * rooms.SPACING] * 2, indexing="ij")).view(2, -1, 1)
    gap = rooms._gap(bank.discs, bank.partition, nodes) - rooms.FOOTPRINT
    slowness = rooms.slowness(gap).view(rooms.GRID, rooms.GRID, -1)
    u = bank.field[..., 0].permute(1, 2, 0)
    # Godunov: the upwind differences of each axis, squared and summed, are the slowness squared
    padded = torch.nn.functional.pad(u.permute(2, 0, 1), (1, 1, 1, 1), value=1e6).permute(1, 2, 0)
    x = (u - torch.minimum(padded[:-2, 1:-1], padded[2:, 1:-1])).clamp(min=0) / rooms.SPACING
    y = (u - torch.minimum(padded[1:-1, :-2], padded[1:-1, 2:])).clamp(min=0) / rooms.SPACING
    error = (torch.hypot(x, y) - slowness).abs()[u > 1.0]
    assert error.max() < 0.1
    assert error.mean() < 1e-3


def test_the_way_is_as_long_as_that_of_dijkstra(bank):
    room, size = 3 * COUNT + 1, rooms.GRID
    axis = np.arange(size) * rooms.SPACING
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    slowness = rooms.slowness(torch.tensor(_footprint_gap(bank, room, points))).numpy().reshape(size, size)
    index = np.arange(size * size).reshape(size, size)
    ends, costs = [], []
    moves = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if math.gcd(a, b) == 1]
    for dx, dy in moves:
        a = np.s_[max(0, -dx) : size - max(0, dx), max(0, -dy) : size - max(0, dy)]
        b = np.s_[max(0, dx) : size + min(0, dx), max(0, dy) : size + min(0, dy)]
        ends.append((index[a].ravel(), index[b].ravel()))
        costs.append(0.5 * (slowness[a] + slowness[b]).ravel() * math.hypot(dx, dy) * rooms.SPACING)
    graph = coo_array((np.concatenate(costs), np.concatenate(ends, 1)), (size**2, size**2)).tocsr()
    goal = bank.goal[:, room].double().numpy()
    nearest = index[tuple(np.rint(goal / rooms.SPACING).astype(int))]
    reference = dijkstra(graph, indices=nearest)
    cost = bank.field[room, ..., 0].numpy().ravel()
    free = _footprint_gap(bank, room, points) > 0.3
    far = free & (reference > 1.0)
    ratio = cost[far] / reference[far]
    # both err: the scheme is of first order, and an edge of the graph sees the slowness at its ends only
    assert ratio.min() > 0.95
    assert ratio.max() < 1.2
    assert abs(ratio.mean() - 1.0) < 0.08
    assert np.corrcoef(cost[far], reference[far])[0, 1] > 0.998


def test_a_bilinear_function_is_read_exactly():
    axis = torch.arange(11) * 0.5
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    table = torch.stack((1.0 + 2.0 * x - y, 0.5 * x * y), 2)
    table = torch.stack((table, 3.0 * table))  # (R, G, G, C)
    at = 5.0 * torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    room = torch.arange(50) % 2
    read = planner.bilinear(table, room, at, 0.5)
    expected = torch.stack((1.0 + 2.0 * at[0] - at[1], 0.5 * at[0] * at[1])) * (1.0 + 2.0 * room)
    torch.testing.assert_close(read, expected, rtol=1e-5, atol=1e-4)
    beyond = planner.bilinear(table, room[:1], torch.tensor([[-3.0], [99.0]]), 0.5)
    torch.testing.assert_close(beyond[:, 0], table[0, 0, -1], rtol=1e-2, atol=1e-2)


# ---------------------------------------------------------------------- rooms
def test_the_same_seed_builds_the_same_rooms_and_another_seed_others(bank):
    rooms.build.cache_clear()
    again, other = rooms.build(7, COUNT), rooms.build(8, COUNT)
    assert all(torch.equal(a, b) for a, b in zip(bank, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(bank, other, strict=True))


def test_levels_grow_fuller(bank):
    obstacles = (bank.discs[2] > 0).sum(0).view(LEVELS, COUNT).float().mean(1)
    crowd = (bank.walks[0] < rooms.ABSENT / 2).sum(0).view(LEVELS, COUNT).float().mean(1)
    assert (obstacles.diff() > 0.5).all()
    assert crowd[:2].tolist() == [0.0, 0.0]
    assert (crowd[1:].diff() > 0.3).all()
    doorway = 2.0 * bank.partition[4].view(LEVELS, COUNT)
    torch.testing.assert_close(doorway[2:], torch.tensor(rooms.DOORWAY[2:]).unsqueeze(1).expand(-1, COUNT))


def test_gaps_are_closed_or_wide_enough(bank):
    for room in range(LEVELS * COUNT):
        discs = bank.discs[..., room].T
        discs = discs[discs[:, 2] > 0]
        apart = torch.cdist(discs[:, :2], discs[:, :2]) - discs[:, 2] - discs[:, 2:]
        apart.fill_diagonal_(9.0)
        assert apart.min() > rooms.PASSAGE
        to_walls = torch.cat((discs[:, :2], rooms.SIZE - discs[:, :2]), 1) - discs[:, 2:]
        assert ((to_walls < 0) | (to_walls > rooms.PASSAGE)).all()


def test_every_start_can_reach_the_goal(bank):
    fine = np.arange(0.05, rooms.SIZE, 0.1)
    points = np.stack(np.meshgrid(fine, fine, indexing="ij"), -1).reshape(-1, 2)
    for room in range(0, LEVELS * COUNT, 2):
        free = (_footprint_gap(bank, room, points) > 0.0).reshape(len(fine), -1)
        label, _ = ndimage.label(free)
        cells = np.concatenate((bank.goal[:, room : room + 1], bank.starts[..., room]), 1)
        i, j = (cells / 0.1).astype(int)
        assert (label[i, j] == label[i[0], j[0]]).all()
        assert label[i[0], j[0]] > 0


def test_going_down_the_field_leads_to_the_goal_without_a_touch(bank):
    room = torch.arange(LEVELS * COUNT)
    place, least = bank.starts[:, 0].clone(), torch.full((len(room),), 9.0)
    begun = planner.bilinear(bank.field, room, place, rooms.SPACING)[0]
    assert ((begun > rooms.WAY[0]) & (begun < rooms.WAY[1])).all()
    for _ in range(450):
        _, x, y = planner.bilinear(bank.field, room, place, rooms.SPACING)
        far = torch.hypot(*(bank.goal - place)) > 0.3
        place = place + 0.03 * far * torch.stack((x, y)) / torch.hypot(x, y)
        gap = torch.minimum(rooms.disc_gap(bank.discs, place), rooms.wall_gap(place))
        least = torch.minimum(least, torch.minimum(gap, rooms.partition_gap(bank.partition, place)) - rooms.FOOTPRINT)
    assert not far.any()
    assert least.min() > 0.1


def test_the_gap_to_the_partition_is_that_to_its_nearest_point(bank):
    at = 0.2 + 9.6 * torch.rand(2, LEVELS * COUNT, generator=torch.Generator().manual_seed(1))
    gap = rooms.partition_gap(bank.partition, at)
    assert (gap[: 2 * COUNT] > 100.0).all()  # no partition
    for room in range(2 * COUNT, LEVELS * COUNT):
        wall = _wall_points(bank, room, 0.002)
        nearest = np.hypot(*(at[:, room].numpy() - wall).T).min()
        assert abs(float(gap[room]) - nearest) < 3e-3


# ---------------------------------------------------------------------- lidar
def test_a_ray_is_as_long_as_the_way_that_can_be_gone_along_it(bank):
    n = LEVELS * COUNT
    generator = torch.Generator().manual_seed(2)
    position, heading = bank.starts[:, 3], 6.28 * torch.rand(n, generator=generator)
    facing = torch.stack((heading.cos(), heading.sin()))
    rays = lidar.directions(torch.device("cpu"))
    relative = bank.discs[:2] - position.unsqueeze(1)
    turned = torch.stack(
        (facing[0] * relative[0] + facing[1] * relative[1], facing[0] * relative[1] - facing[1] * relative[0])
    )
    ranges = lidar.cast(rays, position, facing, turned, bank.discs[2], bank.partition)
    # sphere tracing: no thing is nearer than the gap, so a step of its size is safe
    angle = heading + torch.tensor(lidar.ANGLES).unsqueeze(1)
    traced = torch.zeros(lidar.RAYS, n)
    for _ in range(400):
        x, y = position[0] + traced * angle.cos(), position[1] + traced * angle.sin()
        point = torch.stack((x, y))
        gap = torch.minimum(rooms.wall_gap(point), rooms.partition_gap(bank.partition, point))
        for k in range(bank.discs.shape[1]):
            cx, cy, radius = bank.discs[:, k]
            gap = torch.minimum(gap, torch.hypot(x - cx, y - cy) - radius)
        traced = (traced + torch.where(gap > 1e-4, gap, 0.0)).clamp(max=lidar.RANGE)  # not through a thin wall
    torch.testing.assert_close(ranges, traced, rtol=0.0, atol=5e-3)
    assert (ranges < lidar.RANGE).float().mean() > 0.5


def test_dropout_loses_rays_at_its_rate_and_touches_no_other():
    n, rate = 20_000, torch.tensor([0.0, 0.1]).repeat_interleave(10_000)
    key = noise.combine(3, torch.arange(n))
    ranges = torch.rand(lidar.RAYS, n)
    seen = lidar.dropout(ranges, key, torch.ones_like(key), rate)
    lost = seen == lidar.RANGE
    assert not lost[:, :10_000].any()
    assert abs(float(lost[:, 10_000:].float().mean()) - 0.1) < 4 * math.sqrt(0.09 / 160_000)
    assert torch.equal(seen[~lost], ranges[~lost])


def test_free_way_counts_what_stands_in_the_corridor_only():
    ranges = torch.full((lidar.RAYS, 4), lidar.RANGE)
    ranges[0, 0] = 2.0  # straight ahead
    ranges[4, 1] = ranges[12, 1] = 0.6  # beside: in nobody's way
    ranges[1, 2] = 1.0  # 22.5 degrees to the left, 0.38 m off the axis
    ranges[15, 3], ranges[7, 3] = 1.5, 1.2  # 0.57 m off the axis; behind, 0.46 m off it
    ahead, behind = lidar.free_way(ranges)
    far = lidar.RANGE - rooms.FOOTPRINT
    expected = [2.0 - rooms.FOOTPRINT, far, math.cos(math.pi / 8) - rooms.FOOTPRINT, far]
    torch.testing.assert_close(ahead, torch.tensor(expected))
    torch.testing.assert_close(behind, torch.tensor([far, far, far, 1.2 * math.cos(math.pi / 8) - rooms.FOOTPRINT]))


# ---------------------------------------------------------------------- people
def test_people_walk_to_and_fro_at_their_pace():
    walk = people.walk_of(torch.tensor([[[1.0]], [[1.0]], [[4.0]], [[5.0]]]), torch.tensor([[0.8]]))  # 5 m long
    crowd, chair = torch.zeros(5, 1, 1), torch.tensor([[100.0], [100.0]])
    crowd[2] = 1.0
    places = []
    for _ in range(260):  # 13 s at 0.05 s
        crowd = people.advance(walk, crowd, chair, 0.05)
        places.append(people.position(walk, crowd)[:, 0, 0])
    track = torch.stack(places)
    torch.testing.assert_close(track[99], torch.tensor([1.0 + 0.6 * 4.0, 1.0 + 0.8 * 4.0]))  # 4 m in 5 s
    assert torch.hypot(*(track[125] - torch.tensor([4.0, 5.0]))) < 0.1  # 6.25 s: the end
    assert torch.hypot(*(track[250] - torch.tensor([1.0, 1.0]))) < 0.15  # and back
    assert torch.hypot(*track.diff(dim=0).T).max() < 0.8 * 0.05 + 1e-5


def test_nobody_walks_into_a_chair_that_stands_still():
    n = 400
    u = torch.rand(7, 1, n, generator=torch.Generator().manual_seed(4))
    ends = torch.stack((u[0] * 2 + 1, u[1] * 8 + 1, u[2] * 2 + 7, u[3] * 8 + 1))
    walk = people.walk_of(ends, 0.4 + 0.6 * u[4])
    chair = torch.lerp(ends[:2, 0], ends[2:, 0], 0.5) + u[5] * 1.0 - 0.5
    crowd = torch.zeros(5, 1, n)
    crowd[2] = 1.0
    least, travelled = torch.full((n,), 9.0), torch.zeros(n)
    for _ in range(600):
        before = crowd[0, 0]
        crowd = people.advance(walk, crowd, chair, 0.05)
        gap = torch.hypot(*(people.position(walk, crowd)[:, 0] - chair)) - rooms.PERSON - rooms.FOOTPRINT
        least, travelled = torch.minimum(least, gap), travelled + (crowd[0, 0] - before).abs()
    assert least.min() > 0.05
    assert (travelled > 3.0).all()  # and nobody stands there for ever
