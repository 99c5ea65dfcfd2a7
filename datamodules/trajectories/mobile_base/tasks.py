"""The closed loop of the mobile base: plans of any policy, executed and scored in N episodes of a task at once.

- ``joystick``: two velocity commands in WORLD frame, 5 s each. Solved when over the last 2 s of each the mean velocity
  error is below 0.15 m/s, without a fall.
- ``waypoint``: a goal 2 to 5 m away. Solved when the base has stood (below 0.1 m/s) within 0.1 m of it for 1 s before
  15 s are over, without a fall.
- ``forest``: 15 pillars between two walls, the goal about 9 m away. Solved when the base comes within 0.3 m of it
  before 30 s are over and has neither touched anything nor fallen.

An episode is a function of (seed, its number), whatever runs beside it; so is its outcome if the policy's rows do not
depend on each other.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.batches.trajectories import History, Policy, Task, TaskName
from litmotif.errors import ArgumentError
from litmotif.geometry.frames import to_character
from litmotif.geometry.rotations import turned

from ... import noise
from ...envs.mobile_base import (
    DT,
    TIPPING,
    Motion,
    advance,
    into_frame,
    pillar_gap,
    standing,
    wall_gap,
    within_limits,
)
from ...heartbeat import Heartbeat
from .recordings import ActionNoise, to_root
from .scenes import COMMANDS, Scene, draw, draw_scene, nearest_obstacles, polar

SECONDS: dict[TaskName, float] = {"joystick": 10.0, "waypoint": 15.0, "forest": 30.0}
OBSTACLES, REACH = 8, 4.0  # how many obstacles a policy sees; m, how far
COMMAND_ERROR, SETTLED = 0.15, 2.0  # m/s; s at the end of each command
STOP_RADIUS, STOP_SPEED, STOP_SECONDS = 0.1, 0.1, 1.0  # m, m/s, s: at the waypoint
GOAL_RADIUS = 0.3  # m, in the forest
PUSH_EVERY = 2.0  # s

_STREAM_PUSH = 1 << 18


class Rollouts(NamedTuple):
    """Outcomes of N episodes.

    Attributes:
        success: (N,) bool.
        seconds: (N,) until it was solved, fell or touched something; else the time that was allowed.
        falls: (N,) bool.
        collisions: (N,) bool.
        error: (N,): the larger mean velocity error of the commands in m/s, or the last distance to the goal in m.
        paths: (N, T + 1, 3), poses in world frame; once it has ended, as it ended.
        scene: what the episodes were.
    """

    success: Tensor
    seconds: Tensor
    falls: Tensor
    collisions: Tensor
    error: Tensor
    paths: Tensor
    scene: Scene


def rollout(
    policy: Policy,
    task: TaskName,
    episodes: int = 50,
    seed: int = 0,
    replan_every: int = 4,
    history: int = 4,
    action_noise: float = 0.0,
    push: float = 0.0,
    rank: int = 0,
    world_size: int = 1,
) -> Rollouts:
    """Let a policy act.

    Args:
        policy: called every ``replan_every`` steps with all rows, those that have ended included.
        task: which.
        episodes: in all processes together.
        seed: of the episodes.
        replan_every: actions executed of each plan.
        history: past steps N that the policy sees; before the start the base stood still.
        action_noise: sigma of the ``ActionNoise`` on what is executed; the recordings have 0.1.
        push: m/s, the largest of the kicks that change the velocity every 2 s.
        rank: of this process, which runs the episodes rank, rank + world_size, ...
        world_size: processes.

    Raises:
        ValueError: an unknown task, a number out of its range, or plans of a wrong shape or not finite.
    """
    if episodes < 1 or replan_every < 1 or history < 0 or not 0 <= rank < world_size:
        raise ArgumentError(
            f"episodes={episodes}, replan_every={replan_every}, history={history}, rank={rank} of {world_size}: they "
            "must be at least 1, 1 and 0, and the rank below the number of processes."
        )
    number = torch.arange(rank, episodes, world_size)
    key = noise.combine(seed, number)
    run, shaking, plan = _Run(draw_scene(task, key), history), ActionNoise(key, action_noise), torch.empty(0)
    progress = Heartbeat(task, run.steps, "step")
    for step in range(run.steps):
        if step % replan_every == 0:
            if run.ended.all():
                break
            progress.beat(step, f"{int(run.ended.sum())} of {len(number)} episodes ended")
            seen = History(*run.seen(step), number, step)
            plan = _checked(policy(seen, run.task(step)), len(number), replan_every)
        run.step(step, plan[:, step % replan_every] + shaking.step(step + 1))
        if push and (step + 1) % round(PUSH_EVERY / DT) == 0:
            u = draw(key, _STREAM_PUSH + step, 2)
            run.kick(step, polar(push * u[:, 0], 2 * math.pi * u[:, 1]))
    return run.outcome()


def _checked(plan: Tensor, rows: int, replan_every: int) -> Tensor:
    if plan.dim() != 3 or plan.shape[0] != rows or plan.shape[1] < replan_every or plan.shape[2] != 3:
        raise ArgumentError(
            f"The policy's plans {tuple(plan.shape)} must be ({rows}, K, 3) with K >= replan_every={replan_every}."
        )
    plan = plan.detach().to("cpu", torch.float32)
    if not plan.isfinite().all():
        row, step, column = (~plan.isfinite()).nonzero()[0].tolist()
        raise ArgumentError(
            f"The policy's plans: row {row}, step {step}, column {column} is {plan[row, step, column]}."
        )
    return plan


class _Run:
    """N running episodes and their score; moment i of the trace is step i - past."""

    def __init__(self, scene: Scene, past: int) -> None:
        self.scene, self.past, self.steps = scene, past, round(SECONDS[scene.task] / DT)
        self.motion = standing(scene.start)
        rows = len(scene.start)
        self.poses = scene.start.unsqueeze(1).repeat(1, past + self.steps + 1, 1)
        self.speeds, self.actions = torch.zeros_like(self.poses), torch.zeros_like(self.poses)
        self.falls, self.collisions, self.success, self.ended = torch.zeros(4, rows, dtype=torch.bool)
        self.seconds, self.held = torch.full((rows,), SECONDS[scene.task]), torch.zeros(rows, dtype=torch.int64)

    def seen(self, step: int) -> tuple[Tensor, Tensor]:
        """States (N, past + 1, 8) and actions (N, past, 3) up to now, as in ``History``."""
        window = slice(step, step + self.past + 1)
        root, _ = to_character(*to_root(self.poses[:, window], self.speeds[:, window]), self.past, planar=True)
        return torch.cat((root, self.speeds[:, window]), -1), self.actions[:, step : step + self.past].clone()

    def task(self, step: int) -> Task:
        """What is asked for now."""
        scene, pose = self.scene, self.motion.pose
        obstacles = None
        if scene.half_width is not None:
            obstacles = nearest_obstacles(scene, pose[:, :2], OBSTACLES, REACH)
            obstacles = torch.cat((into_frame(obstacles[..., :2], pose.unsqueeze(1)), obstacles[..., 2:]), -1)
        if scene.velocity is not None:
            return Task(scene.task, turned(scene.velocity[:, step * COMMANDS // self.steps], -pose[:, 2]))
        assert scene.goal is not None  # noqa: S101 (a scene has one or the other)
        return Task(scene.task, None, into_frame(scene.goal, pose), obstacles)

    def step(self, step: int, action: Tensor) -> None:
        """Execute one action (N, 3)."""
        before, running = self.motion, ~self.ended
        moved, peak = advance(before, action)
        self.falls |= running & (peak > TIPPING)
        if self.scene.half_width is not None:
            gap = pillar_gap(before.pose[:, :2], moved.pose[:, :2], self.scene.pillars)
            gap = torch.minimum(gap, wall_gap(moved.pose[:, :2], self.scene.half_width))
            self.collisions |= running & (gap <= 0.0)
        failed = self.falls | self.collisions
        if self.scene.goal is not None:
            self.held = torch.where(self._arrived(moved), self.held + 1, 0)
            needed = round(STOP_SECONDS / DT) if self.scene.task == "waypoint" else 1
            self.success |= running & ~failed & (self.held >= needed)
        self.ended = failed | self.success
        self.seconds[running & self.ended] = (step + 1) * DT
        self.motion = Motion(
            torch.where(running.unsqueeze(1), moved.pose, before.pose),
            torch.where(self.ended.unsqueeze(1), 0.0, moved.speed),
        )
        now = self.past + step + 1
        self.actions[:, now - 1] = within_limits(action)
        self.speeds[:, now] = self.motion.speed
        self.poses[:, now:] = self.motion.pose.unsqueeze(1)

    def kick(self, step: int, change: Tensor) -> None:
        """Change the velocities after ``step`` by (N, 2) m/s."""
        self.motion.speed[:, :2] += torch.where(self.ended.unsqueeze(1), 0.0, change)
        self.speeds[:, self.past + step + 1] = self.motion.speed

    def outcome(self) -> Rollouts:
        """The score."""
        paths = self.poses[:, self.past :]
        if self.scene.goal is not None:
            error = self._distance(self.motion)
        else:
            error = self._command_error()
            self.success = ~self.falls & (error < COMMAND_ERROR)
        return Rollouts(self.success, self.seconds, self.falls, self.collisions, error, paths, self.scene)

    # ------------------------------------------------------------------
    def _distance(self, motion: Motion) -> Tensor:
        assert self.scene.goal is not None  # noqa: S101
        off = self.scene.goal - motion.pose[:, :2]
        return torch.hypot(off[:, 0], off[:, 1])

    def _arrived(self, motion: Motion) -> Tensor:
        distance = self._distance(motion)
        if self.scene.task == "forest":
            return distance <= GOAL_RADIUS
        return (distance <= STOP_RADIUS) & (torch.hypot(motion.speed[:, 0], motion.speed[:, 1]) <= STOP_SPEED)

    def _command_error(self) -> Tensor:
        """The larger of the commands' mean velocity errors (N,) in m/s."""
        assert self.scene.velocity is not None  # noqa: S101
        velocity = turned(self.speeds[..., :2], self.poses[..., 2])[:, self.past + 1 :]
        velocity = velocity.reshape(len(velocity), COMMANDS, -1, 2)[:, :, -round(SETTLED / DT) :]
        off = velocity - self.scene.velocity.unsqueeze(2)
        return torch.hypot(off[..., 0], off[..., 1]).mean(2).amax(1)
