"""Shared control: blending two commands, and the projection of a command onto a safe set."""

from itertools import combinations

import torch
from torch import Tensor

_SWEEPS = 1000  # of Dykstra's method, at most


def blend(human: Tensor, robot: Tensor, authority: Tensor) -> Tensor:
    """(1 - authority) * human + authority * robot.

    Args:
        human: (C, n), the command of the human.
        robot: (C, n), that of the robot.
        authority: (n,) in [0, 1], the robot's share.
    """
    return torch.lerp(human, robot, authority)


def project(command: Tensor, normals: Tensor, offsets: Tensor, tolerance: float = 1e-5) -> Tensor:
    """The nearest point of the polytope {x: normals_k . x <= offsets_k for all k}, in the Euclidean distance.

    A command within the polytope is returned as it is. For C = 2 exact: the nearest point is the command's foot on one
    of the K edges, or one of the vertices. For other C by the alternating projections of Dykstra (Boyle and Dykstra
    1986), to ``tolerance`` or 1,000 sweeps: at a corner of nearly parallel faces these can leave more. Of an empty
    polytope (C = 2) the one of these candidates whose largest violation, as a distance, is smallest; for other C the
    point where the sweeps end.

    Args:
        command: (C, n).
        normals: (K, C, n), not zero (a zero normal with an offset >= 0 constrains nothing, and is allowed).
        offsets: (K, n).
        tolerance: largest change of a last sweep, and largest violation left, for C other than 2.

    Returns:
        (C, n).
    """
    outside = (torch.einsum("kcn,cn->kn", normals, command) > offsets).any(0).nonzero().squeeze(1)
    if len(outside) == 0:
        return command
    result, problem = command.clone(), (command[:, outside], normals[..., outside], offsets[:, outside])
    result[:, outside] = _project_plane(*problem) if len(command) == 2 else _dykstra(*problem, tolerance)
    return result


def _project_plane(command: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    length = normals.square().sum(1).sqrt().clamp(min=1e-12)  # (K, n)
    a, b = normals / length.unsqueeze(1), offsets / length
    excess = torch.einsum("kcn,cn->kn", a, command) - b
    feet = command - a * excess.unsqueeze(1)  # (K, 2, n)
    i, j = torch.tensor(list(combinations(range(len(a)), 2)), dtype=torch.int64, device=a.device).reshape(-1, 2).T
    det = a[i, 0] * a[j, 1] - a[i, 1] * a[j, 0]  # (V, n)
    vertices = torch.stack((b[i] * a[j, 1] - b[j] * a[i, 1], b[j] * a[i, 0] - b[i] * a[j, 0]), 1) / det.unsqueeze(1)
    vertices = torch.where(det.abs().unsqueeze(1) < 1e-9, command, vertices)  # parallel edges have none
    points = torch.cat((command.unsqueeze(0), feet, vertices))  # (1 + K + V, 2, n)
    rounding = 64 * torch.finfo(b.dtype).eps * (1.0 + b.abs())  # (K, n)
    violation = (torch.einsum("kcn,pcn->pkn", a, points) - b - rounding).amax(1)  # (P, n)
    distance = (points - command).square().sum(1)
    feasible = violation <= 0.0
    nearest = torch.where(feasible, distance, torch.inf).argmin(0)
    best = torch.where(feasible.any(0), nearest, violation.argmin(0))
    return points.gather(0, best.expand(1, 2, -1)).squeeze(0)


def _dykstra(command: Tensor, normals: Tensor, offsets: Tensor, tolerance: float) -> Tensor:
    square = normals.square().sum(1).clamp(min=1e-24)  # (K, n)
    result, going = command.clone(), torch.arange(command.shape[1], device=command.device)
    x, push = command, torch.zeros_like(offsets)
    for _ in range(_SWEEPS):
        last, steps = x, []
        for a, b, size, old in zip(normals, offsets, square, push, strict=True):
            x = x + a * old  # undo what this face did in the last sweep, then project on it anew
            steps.append((((a * x).sum(0) - b) / size).clamp(min=0.0))
            x = x - a * steps[-1]
        push = torch.stack(steps)
        result[:, going] = x
        left = ((x - last).abs().amax(0) > tolerance) | (
            (torch.einsum("kcn,cn->kn", normals, x) - offsets) / square.sqrt() > tolerance
        ).any(0)
        if not left.any():
            break
        going, x, push = going[left], x[:, left], push[:, left]
        normals, offsets, square = normals[..., left], offsets[:, left], square[:, left]
    return result
