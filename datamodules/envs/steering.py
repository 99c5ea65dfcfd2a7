"""Steering of a wheelchair: the driver's intent, a hand-written robot, and the limits of what is safe."""

import torch
from torch import Tensor

from . import drive, lidar, rooms
from .base import State
from .shared_control import project

LATERAL_MAX = 1.5  # m/s^2

_PACE, _ROBOT_PACE = 1.0, 1.2  # m/s, what is comfortable in the open
_BRAKE, _MARGIN = 1.0, 0.10  # m/s^2, m, of the stopping distance
_PERSON_SPEED, _PERSON_RATE = 0.25, 0.6  # m/s where bodies touch, and more per m between them
_REACTION, _BRAKE_DELAY = 0.5, 0.2  # s, with which driver and robot reckon, and the projection
_TURN_RATE, _ANTICIPATION = 1.6, 0.35  # 1/s, s
_LOOK, _STRAIGHT = 0.9, 0.92  # m of free way that the robot looks for; cosine
_AUTHORITY = 0.6  # of the robot, on the scale of the action


def in_frame(facing: Tensor, vector: Tensor) -> Tensor:
    """A vector of the room as what lies ahead and to the left, (2, ..., n).

    Args:
        facing: (2, n): cosine and sine of the heading.
        vector: (2, ..., n).
    """
    cosine, sine = facing
    return torch.stack((cosine * vector[0] + sine * vector[1], cosine * vector[1] - sine * vector[0]))


def safe_speed(free: Tensor, person_gap: Tensor, reaction: float = 0.0) -> Tensor:
    """The speed ahead and behind that stops in time, and that is fit for the nearest person.

    Args:
        free: (2, n) m, ahead and behind, see ``lidar.free_way``.
        person_gap: (n,) m between the chair and the nearest person.
        reaction: s that pass before the chair brakes.

    Returns:
        (2, n) m/s: the v of v reaction + v^2 / (2 brake) = free - margin, or less near a person.
    """
    lost = _BRAKE * reaction
    stops = ((2.0 * _BRAKE) * (free - _MARGIN).clamp_(min=0.0) + lost**2).sqrt_() - lost
    return torch.minimum(stops, _PERSON_SPEED + _PERSON_RATE * person_gap.clamp(min=0.0))


def limit(state: State, command: Tensor) -> Tensor:
    """The nearest command (2, n) within the limits of speed, of lateral acceleration and of the wheels.

    The set is symmetric, and with a command it holds all of smaller size, so it is enough to project |command|. The
    hyperbola v w = a is replaced by its tangent at the present speed, which lies on the safe side of it.

    Args:
        state: of n episodes of ``Wheelchair``.
        command: (2, n) in [-1, 1].
    """
    ahead, behind = safe_speed(lidar.free_way(state["sensed"]), state["person_gap"], _BRAKE_DELAY)
    forward = command[0] > 0.0
    full = torch.where(forward, drive.SPEED_MAX, drive.REVERSE_MAX)
    v = state["speed"][0].abs().clamp(LATERAL_MAX / drive.YAW_MAX, drive.SPEED_MAX)
    turning = torch.stack((torch.zeros_like(v), drive.YAW_MAX * v, torch.full_like(v, drive.RIM_YAW_MAX)))
    normals = torch.stack((torch.stack((full, full * LATERAL_MAX / v, full)), turning), 1)  # (3, 2, n)
    lateral, rim = torch.full_like(v, 2.0 * LATERAL_MAX), torch.full_like(v, drive.WHEEL_SPEED_MAX)
    offsets = torch.stack((torch.where(forward, ahead, behind), lateral, rim))
    return torch.copysign(project(command.abs(), normals, offsets), command)


def intent(state: State) -> Tensor:
    """What a perfect driver would do with the joystick, (2, n): follow the way, round people, brake in time."""
    allowed = safe_speed(state["free"], state["person_gap"], _REACTION)[0]
    return _steer(state, _round_people(state), allowed.clamp(max=_PACE))


def scripted(state: State, rays: Tensor) -> Tensor:
    """A sensible robot, (3, n): of the rays' directions it takes the one nearest to the way that is free.

    A reactive choice of direction in the manner of the vector field histogram (Borenstein and Koren 1991).

    Args:
        state: of n episodes of ``Wheelchair``.
        rays: ``lidar.directions``.
    """
    turn = _round_people(state)
    ahead, left = turn.cos(), turn.sin()
    free = state["sensed"] - rooms.FOOTPRINT
    free = torch.minimum(free, torch.minimum(free.roll(1, 0), free.roll(-1, 0)))  # (16, n)
    need = state["way"][0].clamp(max=_LOOK)  # what lies behind the goal is in nobody's way
    # a little more for what lies ahead anyway: no dithering between two ways round
    score = rays[0] * (ahead + 0.3) + rays[1] * left - 2.0 * ((need - free) / _LOOK).clamp(0.0, 1.0)
    best = rays[:, score.argmax(0), 0]
    straight = best[0] * ahead + best[1] * left > _STRAIGHT  # the way itself, not the ray beside it
    turn = torch.where(straight, turn, torch.atan2(best[1], best[0]))
    allowed = safe_speed(lidar.free_way(state["sensed"]), state["person_gap"], _REACTION)[0]
    speed, yaw = _steer(state, turn, allowed.clamp(max=_ROBOT_PACE))
    speed = torch.minimum(speed, state["reference"][0] / drive.SPEED_MAX + 0.05)  # gently
    return torch.stack((speed, yaw, torch.full_like(speed, _AUTHORITY)))


def _round_people(state: State) -> Tensor:
    """(n,) rad to turn to follow the way, on the free side past a person who stands in it."""
    ahead, left = in_frame(state["facing"], state["way"][1:])
    x, y = state["person"][:2]
    along, beside = x * ahead + y * left, y * ahead - x * left  # of the way
    in_way = (along > 0.0) & (beside.abs() < rooms.PERSON + rooms.FOOTPRINT + 0.15)
    close = (1.2 - state["person_gap"]).clamp(0.0, 1.0)
    return torch.atan2(left, ahead) - torch.copysign(1.5 * close * in_way, beside)


def _steer(state: State, turn: Tensor, pace: Tensor) -> Tensor:
    """A command (2, n) that turns by ``turn`` rad and then drives; slower in narrow places and near the goal."""
    narrow = (0.3 + 1.5 * state["gap"]).clamp(max=1.0)
    home = (0.3 + state["way"][0]).clamp(max=1.0)
    speed = pace * narrow * home * turn.cos().clamp(min=0.0).square() / drive.SPEED_MAX
    yaw = _TURN_RATE * (turn - _ANTICIPATION * state["speed"][1])
    return torch.stack((speed, (yaw / drive.YAW_MAX).clamp(-1.0, 1.0)))
