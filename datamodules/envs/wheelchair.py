"""Shared control of a powered wheelchair: a robot helps an impaired driver through an occupied room.

The driver's joystick and the robot's command are blended by an authority that the robot chooses; the chair is a rigid
body on two driven wheels (``drive``); the room has walls, a doorway, obstacles and people (``rooms``, ``people``); the
robot sees 16 rays (``lidar``) and the planned way. The reward is the task; what it may cost is kept apart, by name.

Randomness: counter = 16 * elapsed + stream; stream 0 what an episode is, 1 the lidar's dropout; 14 and 15 the human.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .. import noise
from . import drive, lidar, people, planner, rooms, steering
from .base import BatchedEnv, Outcome, State
from .human import Human
from .shared_control import blend
from .steering import in_frame, safe_speed

LEVELS: dict[str, tuple[float, ...]] = {
    "dropout": (0.0, 0.01, 0.03, 0.06, 0.10),  # chance of a ray to be lost
    "friction": (0.8, 0.7, 0.6, 0.5, 0.4),
    "mass_spread": (0.0, 0.1, 0.15, 0.2, 0.3),  # largest relative deviation
    "lag": (0.10, 0.12, 0.15, 0.18, 0.22),  # s, of the motors
    "slope": (0.0, 0.01, 0.02, 0.035, 0.05),  # rad, the steepest floor
}
"""By level; obstacles, people and doorways are in ``rooms``."""

_STREAM_EPISODE, _STREAM_DROPOUT = 0, 1
_DT = 0.05  # s
_CLEARANCE = 0.3  # m
_JERK = 2.5  # m/s^3
_PREVIEW = 0.4  # s, how far ahead the way's direction is looked up
_PROGRESS, _TIME, _ASSISTANCE, _GOAL, _COLLISION = 0.3, 0.03, 0.02, 10.0, 10.0  # of the reward


class Wheelchair(BatchedEnv):
    """N powered wheelchairs with a driver each, at 20 Hz.

    Action of the robot, each in [-1, 1]: speed (1: 1.67 m/s, -1: 0.6 m/s backwards), yaw rate (1: 1.5 rad/s to the
    left), authority (-1: the driver alone, 1: the robot alone).

    An episode ends well within ``goal_tolerance`` of the goal and badly when the chair touches something.

    Reward per step: 0.3 x the way come nearer to the goal, per way at full speed, - 0.03 - 0.02 authority^2, + 10 at
    the goal, - 10 at a collision.

    Costs per step, each in [0, 1]:

    - ``clearance``: 0 from 0.3 m to the nearest surface on, 1 at contact
    - ``speed_margin``: speed above what stops (1 m/s^2) before the nearest lidar return in the chair's way, or above
      0.25 m/s + 0.6/s x the gap to the nearest person; 1 at 0.5 m/s too much
    - ``lateral_acceleration``: |v w| above 1.5 m/s^2, 1 at 2.5
    - ``jerk``: of v above 2.5 m/s^3, 1 at 12.5
    - ``override``: deflection of the joystick x (1 - cosine to the executed command), above ``override_budget``; 1 at 1
      above it

    Args:
        num_envs: N.
        impairment: of the driver, see ``human.IMPAIRMENTS``, or ``mixed``.
        severity: of the impairment in [0, 1], or [low, high], drawn per episode.
        projection: project the blended command on what is safe: stopping distance, lateral acceleration, wheel speed.
        goal_tolerance: m.
        override_budget: in [0, 1).
        rooms_seed: another seed, other rooms: evaluate in rooms that were not trained in.
        rooms_per_level: how many rooms there are of each level.
        **options: ``seed``, ``level``, ``max_episode_steps``, ``device`` and ``render_mode``: see ``BatchedEnv``.

    Raises:
        ValueError: a level, tolerance, budget or number of rooms out of its range, an unknown render mode, or what
            ``Human`` refuses.
    """

    view = "datamodules.envs.wheelchair_view:WheelchairView"
    cost_names: ClassVar[tuple[str, ...]] = ("clearance", "speed_margin", "lateral_acceleration", "jerk", "override")
    action_names = ("speed", "yaw_rate", "authority")
    observation_names = (
        *("speed", "yaw_rate", "acceleration", "command_speed", "command_yaw", "joystick_speed", "joystick_yaw"),
        *("way_ahead", "way_left", "way_left_to_go", "authority", "elapsed"),
        *("person_ahead", "person_left", "person_velocity_ahead", "person_velocity_left"),
        *(f"lidar_{i}" for i in range(lidar.RAYS)),
    )
    metadata: dict[str, Any] = BatchedEnv.metadata | {"render_fps": round(1.0 / _DT)}

    def __init__(
        self,
        num_envs: int = 1,
        impairment: str = "none",
        severity: float | Sequence[float] = 0.0,
        projection: bool = False,
        goal_tolerance: float = 0.3,
        override_budget: float = 0.25,
        rooms_seed: int = 0,
        rooms_per_level: int = 256,
        **options: Any,
    ) -> None:
        if not 0.05 <= goal_tolerance <= 1.0:
            raise ArgumentError(f"goal_tolerance: {goal_tolerance} m must be in [0.05, 1].")
        if not 0.0 <= override_budget < 1.0:
            raise ArgumentError(f"override_budget: {override_budget} must be in [0, 1).")
        if rooms_per_level < 1:
            raise ArgumentError(f"rooms_per_level: {rooms_per_level} must be at least 1.")
        super().__init__(num_envs, **options)
        self.projection, self.goal_tolerance, self.override_budget = projection, goal_tolerance, override_budget
        # one hand holds the joystick: hemiplegia weakens both of its axes
        self.human = Human(2, _DT, impairment, severity, sides=(0, 0))
        self.rooms_per_level, self.bank = rooms_per_level, rooms.build(rooms_seed, rooms_per_level).to(self.device)
        self._table = torch.tensor(tuple(LEVELS.values()), device=self.device)  # (5, levels)
        self._rays = lidar.directions(self.device)
        self._radii = torch.full((max(rooms.PEOPLE), 1), rooms.PERSON, device=self.device)

    # ------------------------------------------------------------------ an episode
    def begin(self, key: Tensor, rows: Tensor) -> State:
        """New episodes: a room of the row's level, a place in it, a chair, a driver."""
        level, crowd = self.levels[rows], len(self._radii)
        u = noise.uniform(key, torch.full_like(key, _STREAM_EPISODE), 6 + 2 * crowd)
        room = level * self.rooms_per_level + (u[0] * self.rooms_per_level).long()
        drop, friction, spread, lag, slope = self._table[:, level]
        n = len(key)
        place = self.bank.starts[:, (u[1] * rooms.STARTS).long(), room]
        heading = (2.0 * u[2:3] - 1.0) * torch.pi
        tilt, downhill = drive.GRAVITY * torch.sin(slope * u[3]), 2.0 * torch.pi * u[4]
        walk = people.walk_of(self.bank.walks[..., room], 0.4 + 0.5 * u[6 : 6 + crowd])
        zeros = torch.zeros(2, n, device=self.device)
        state = {
            "room": room,
            "pose": torch.cat((place, heading)),
            "speed": zeros,
            "torque": zeros.clone(),
            "reference": zeros.clone(),
            "acceleration": zeros[0].clone(),
            "command": zeros.clone(),
            "joystick": zeros.clone(),
            "authority": zeros[0].clone(),
            "costs": torch.zeros(len(self.cost_names), n, device=self.device),
            "chair": torch.stack((drive.MASS * (1.0 + spread * (2.0 * u[5] - 1.0)), friction, lag)),
            "slope": torch.stack((tilt * downhill.cos(), tilt * downhill.sin())),
            "dropout": drop,
            "discs": self.bank.discs[..., room],
            "partition": self.bank.partition[:, room],
            "goal": self.bank.goal[:, room],
            "walk": walk,
            "people": self._place_people(walk, u[6 + crowd :], place),
        }
        state |= self._sense(state, key, torch.full_like(key, _STREAM_DROPOUT))
        return state | self.human.begin(key)

    def _place_people(self, walk: Tensor, share: Tensor, chair: Tensor) -> Tensor:
        """Somewhere on their walks; whoever would stand in the chair's place begins at the farther end."""
        zeros = torch.zeros_like(share)
        still = torch.stack((walk[4] * share, zeros, torch.ones_like(share), zeros, zeros))
        to_chair = chair.unsqueeze(1) - walk[:2]
        abreast = (to_chair * walk[2:4]).sum(0)
        near = torch.hypot(*(people.position(walk, still) - chair.unsqueeze(1))) < 1.5
        still[0] = torch.where(near, torch.where(abreast > 0.5 * walk[4], 0.0, walk[4]), still[0])
        return still

    def advance(self, state: State, action: Tensor) -> tuple[State, Outcome]:
        """One step of 0.05 s: blend, limit, drive, then sense what has become of the room."""
        joystick, authority = state["joystick"], 0.5 * (action[2] + 1.0)
        command = blend(joystick, action[:2], authority)
        if self.projection:
            command = steering.limit(state, command)
        mass, friction, lag = state["chair"]
        chair = drive.Chair(mass, friction, lag, state["slope"])
        motion = drive.Motion(state["pose"], state["speed"], state["torque"], state["reference"])
        motion, slip = drive.advance(chair, motion, drive.to_speeds(command), _DT)
        acceleration = (motion.speed[0] - state["speed"][0]) * (1.0 / _DT)
        new = state | {
            **motion._asdict(),
            "acceleration": acceleration,
            "command": command,
            "authority": authority,
            "people": people.advance(state["walk"], state["people"], motion.pose[:2], _DT),
        }
        elapsed = state["elapsed"] + 1
        new |= self._sense(new, state["key"], elapsed * 16 + _STREAM_DROPOUT)
        new["joystick"], human = self.human.act(new | {"elapsed": elapsed}, steering.intent(new), authority)
        new |= human
        jerk = (acceleration - state["acceleration"]) * (1.0 / _DT)
        costs = new["costs"] = self._costs(new, joystick, jerk)
        collision, success = new["gap"] <= 0.0, torch.hypot(*(new["goal"] - new["pose"][:2])) < self.goal_tolerance
        success = success & ~collision
        progress = ((state["way"][0] - new["way"][0]) * (1.0 / (drive.SPEED_MAX * _DT))).clamp_(-1.0, 1.0)
        reward = _PROGRESS * progress - _TIME - _ASSISTANCE * authority.square()
        reward = reward + _GOAL * success - _COLLISION * collision
        measures = {
            "effort": joystick.square().sum(0),
            "override": (costs[4] > 0.0).float(),
            "authority": authority,
            "assistance": torch.hypot(*(command - joystick)),
            "speed": motion.speed[0].abs(),
            "gap": new["gap"],
            "slip": slip,
            "collision": collision.float(),
        }
        return new, Outcome(reward, costs, collision | success, success, measures)

    def observe(self, state: State) -> Tensor:
        """(n, 32) in the order of ``observation_names``; lengths in the chair's frame."""
        x, y, vx, vy = state["person"]
        distance = torch.hypot(x, y).clamp(min=1e-3)
        closeness = (1.0 - distance / lidar.RANGE).clamp(min=0.0)  # 0: nobody within 5 m
        toward, there = closeness / distance, (closeness > 0.0).float()
        ahead, left = in_frame(state["facing"], state["way"][1:])
        rows = (
            state["speed"][0] / drive.SPEED_MAX,
            state["speed"][1] / drive.YAW_MAX,
            0.5 * state["acceleration"],
            *state["command"],
            *state["joystick"],
            ahead,
            left,
            0.1 * state["way"][0],
            state["authority"],
            state["elapsed"] / self.max_episode_steps if "elapsed" in state else torch.zeros_like(x),
            x * toward,
            y * toward,
            vx * there,
            vy * there,
        )
        return torch.cat((torch.stack(rows), state["sensed"] * (1.0 / lidar.RANGE))).T.contiguous()

    # ------------------------------------------------------------------ what is where
    def _sense(self, state: State, key: Tensor, counter: Tensor) -> State:
        """All that follows from where the chair and the people are."""
        position = state["pose"][:2]
        facing = torch.stack((state["pose"][2].cos(), state["pose"][2].sin()))
        walkers = people.position(state["walk"], state["people"])
        fixed = state["discs"][:2].shape[1]
        centres = torch.cat((state["discs"][:2], walkers), 1) - position.unsqueeze(1)  # (2, K + P, n)
        radii = torch.cat((state["discs"][2], self._radii.expand(-1, len(key))))
        gaps = torch.hypot(centres[0], centres[1]) - radii
        to_person, nearest = gaps[fixed:].min(0)
        still = torch.minimum(rooms.wall_gap(position), rooms.partition_gap(state["partition"], position))
        gap = torch.minimum(gaps.amin(0), still) - rooms.FOOTPRINT
        centres = in_frame(facing, centres)
        ranges = lidar.cast(self._rays, position, facing, centres, radii, state["partition"])
        moving = in_frame(facing, people.velocity(state["walk"], state["people"]))
        person = torch.cat((centres[:, fixed:], moving)).gather(1, nearest.expand(4, 1, -1)).squeeze(1)
        return {
            "facing": facing,
            "ranges": ranges,
            "sensed": lidar.dropout(ranges, key, counter, state["dropout"]),
            "gap": gap,
            "person_gap": to_person - rooms.FOOTPRINT,
            "person": person,
            "free": lidar.free_way(ranges),
            "way": self._way(state, position, facing),
        }

    def _way(self, state: State, position: Tensor, facing: Tensor) -> Tensor:
        """(3, n): cost of the way to the goal in m, and the unit vector of its direction a moment ahead."""
        soon = torch.addcmul(position, facing, _PREVIEW * state["speed"][0])
        both = torch.stack((position, soon), 1).view(2, -1)
        cost, x, y = planner.bilinear(self.bank.field, state["room"].repeat(2), both, rooms.SPACING)
        n = len(state["room"])
        cost, x, y = cost[:n], x[n:], y[n:]
        to_goal = state["goal"] - position
        near = torch.hypot(to_goal[0], to_goal[1]) < 0.8  # nothing lies between, and the grid is too coarse
        x, y = torch.where(near, to_goal[0], x), torch.where(near, to_goal[1], y)
        length = torch.hypot(x, y).clamp(min=1e-6)
        return torch.stack((cost, x / length, y / length))

    # ------------------------------------------------------------------ limits and costs
    def _costs(self, state: State, joystick: Tensor, jerk: Tensor) -> Tensor:
        v, w = state["speed"]
        ahead, behind = safe_speed(state["free"], state["person_gap"])
        command = state["command"]
        size, executed = torch.hypot(joystick[0], joystick[1]), torch.hypot(command[0], command[1])
        cosine = (joystick * command).sum(0) / (size * executed).clamp(min=1e-6)
        override = size.clamp(max=1.0) * (1.0 - cosine) - self.override_budget
        excess = torch.stack(
            (
                (_CLEARANCE - state["gap"]) / _CLEARANCE,
                2.0 * torch.maximum(v - ahead, -v - behind),
                (v * w).abs() - steering.LATERAL_MAX,
                0.1 * (jerk.abs() - _JERK),
                override,
            )
        )
        return excess.clamp_(0.0, 1.0)

    def scripted(self, state: State) -> Tensor:
        """The action (3, n) of a sensible hand-written robot, see ``steering.scripted``."""
        return steering.scripted(state, self._rays)
