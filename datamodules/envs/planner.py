"""The shortest way on a grid: the eikonal equation |grad u| = slowness, for many rooms at once.

``u`` is the cost of the cheapest way to the goal, in metres where the slowness is 1; the way is its steepest descent.
Unlike a shortest path in a graph, u converges to the geodesic distance, without a bias towards the grid's directions.
"""

import torch
from torch import Tensor

_FAR = 1e3  # m, before a sweep has reached the node
_ROUNDS = 40
_TOLERANCE = 1e-3  # m, the largest change of a last round


def travel_cost(slowness: Tensor, goal: Tensor, spacing: float, exact: float = 1.0) -> Tensor:
    """Fast sweeping (Zhao 2005) with the first-order upwind scheme of Godunov.

    The nodes of one diagonal do not depend on each other, so a sweep goes diagonal by diagonal, in all rooms at once.

    Args:
        slowness: (G, G, R) > 0, x first, of R rooms.
        goal: (2, R) in m.
        spacing: between two nodes, in m.
        exact: nodes that are nearer to the goal get the straight distance, in m; the slowness there must be 1.

    Returns:
        (G, G, R): u in m.
    """
    size, rooms = slowness.shape[0], slowness.shape[2]
    axis = torch.arange(size, device=slowness.device) * spacing
    distance = torch.hypot(axis.view(-1, 1, 1) - goal[0], axis.view(1, -1, 1) - goal[1])
    u, step = torch.full((2, size + 2, size + 2, rooms), _FAR, device=slowness.device)  # a border of far nodes
    u[1:-1, 1:-1] = torch.where(distance < exact, distance, _FAR)
    step[1:-1, 1:-1] = slowness * spacing
    u, step = u.view(-1, rooms), step.view(-1, rooms)
    active = torch.arange(rooms, device=slowness.device)
    for _ in range(_ROUNDS):
        part, costs = u[:, active], step[:, active]
        for diagonals in _sweeps(size):
            for nodes in diagonals:
                _relax(part, costs, nodes, size + 2)
        moved = (u[:, active] - part).amax(0) > _TOLERANCE
        u[:, active] = part
        active = active[moved]
        if len(active) == 0:
            break
    inner: Tensor = u.view(size + 2, size + 2, rooms)[1:-1, 1:-1]
    return inner


def _sweeps(size: int) -> tuple[list[slice], ...]:
    """The four orders in which a way may run, each as slices into the flat bordered grid."""
    width = size + 2
    rising, falling = [], []
    for d in range(2 * size - 1):
        first, last = max(0, d - size + 1), min(d, size - 1)  # rows of the diagonal
        start, count = (first + 1) * width + (d - first + 1), last - first + 1
        rising.append(slice(start, start + count * (width - 1) - (width - 2), width - 1))
        mirrored = (first + 1) * width + (size - (d - first))
        falling.append(slice(mirrored, mirrored + count * (width + 1) - width, width + 1))
    return rising, falling, rising[::-1], falling[::-1]


def _relax(u: Tensor, step: Tensor, nodes: slice, width: int) -> None:
    """Lower these nodes of ``u`` (flat, R), given their four neighbours."""

    def shifted(by: int) -> Tensor:
        return u[nodes.start + by : nodes.stop + by : nodes.step]

    along, across, cost = (
        torch.minimum(shifted(-1), shifted(1)),
        torch.minimum(shifted(-width), shifted(width)),
        step[nodes],
    )
    difference = (along - across).abs_()
    one = torch.minimum(along, across).add_(cost)
    both = (2.0 * cost.square()).sub_(difference.square()).clamp_(min=0.0).sqrt_().add_(along).add_(across).mul_(0.5)
    torch.minimum(u[nodes], torch.where(difference < cost, both, one), out=u[nodes])


def descent(u: Tensor, spacing: float) -> Tensor:
    """Unit vectors of steepest descent by central differences.

    Args:
        u: (G, G, R).
        spacing: in m.

    Returns:
        (2, G, G, R).
    """
    along_x, along_y = torch.gradient(u, spacing=spacing, dim=(0, 1))
    slope = torch.stack((along_x, along_y))
    return -slope / slope.square().sum(0).sqrt().clamp(min=1e-6)


def bilinear(table: Tensor, room: Tensor, position: Tensor, spacing: float) -> Tensor:
    """Values between the nodes of a grid.

    Args:
        table: (R, G, G, C), x before y.
        room: (n,) int64, index into R.
        position: (2, n) in m; outside of the grid the value at its border.
        spacing: in m.

    Returns:
        (C, n).
    """
    size, channels = table.shape[1], table.shape[3]
    scaled = (position * (1.0 / spacing)).clamp(0.0, size - 1.001)
    cell = scaled.long()
    fx, fy = scaled - cell
    corner = (room * size + cell[0]) * size + cell[1]  # (n,)
    flat = table.view(-1, channels)
    # the two nodes of one column lie side by side: one gather for the pair
    pairs = flat.as_strided((len(flat) - 1, 2 * channels), (channels, 1))
    low, high = pairs[corner], pairs[corner + size]  # (n, 2C) each
    mixed = torch.lerp(low, high, fx.unsqueeze(1)).view(-1, 2, channels)
    return torch.lerp(mixed[:, 0], mixed[:, 1], fy.unsqueeze(1)).T.contiguous()
