"""Plans tried out in the real environment, many episodes side by side."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litmotif.batches.plans import END, NUM_ACTIONS, Observation, Rollouts

from ..core import random_stream
from ..heartbeat import Heartbeat
from .envs import Start, View, make_env, observe, reset
from .generate import Recipe
from .table import Windows, word_ids

Policy = Callable[[Observation], Tensor]
"""Observation with B rows -> plans (B, L) int64."""

TOGETHER = 256
"""Episodes that run side by side."""


class Trace(NamedTuple):
    """One walked episode, for a picture."""

    picture: np.ndarray[Any, np.dtype[np.uint8]]
    cells: list[tuple[int, int]]
    size: tuple[int, int]
    heading: int
    solved: bool
    optimal: int


class _Walk:
    """One running episode."""

    def __init__(self, recipe: Recipe, start: Start) -> None:
        self.env = make_env(recipe.env, recipe.env_kwargs)
        reset(self.env, start)
        self.heading = int(self.env.agent_dir)
        self.cells = [self.place()]
        self.total, self.steps, self.running = 0.0, 0, True

    def place(self) -> tuple[int, int]:
        return int(self.env.agent_pos[0]), int(self.env.agent_pos[1])

    def step(self, action: int) -> None:
        _, reward, terminated, truncated, _ = self.env.step(action)
        self.total += float(reward)
        self.steps += 1
        self.running = not (terminated or truncated)
        self.cells.append(self.place())

    def follow(self, plan: Sequence[int], replan_every: int | None) -> None:
        """Execute a plan to its END, to the horizon, or up to a new plan; an END with the task unsolved ends it."""
        done = 0
        for action in plan:
            if not self.running or done == replan_every:
                return
            if action == END:
                break
            self.step(action)
            done += 1
        ended = done < len(plan) and (replan_every is None or done == 0)
        if ended:
            self.running = False


def roll_out(
    recipe: Recipe,
    starts: Sequence[Start],
    optimal: Tensor,
    policy: Policy,
    encode: Callable[[Sequence[Any], View], Observation],
    replan_every: int | None,
    keep: int = 0,
) -> tuple[Rollouts, list[Trace]]:
    """Execute the plans of ``policy`` from each start.

    Args:
        recipe: environment and view.
        starts: where the episodes begin.
        optimal: (N,) length of a shortest plan, -1 where unknown.
        policy: plans for the observations of all episodes that need one.
        encode: observations of running environments as tensors.
        replan_every: None executes a plan to its END, which ends the episode (open loop; a plan that fills the horizon
            without END is followed by another); h asks for a new plan after h actions or at END (closed loop; an
            empty plan ends the episode).
        keep: episodes to keep for a picture.

    Returns:
        Outcomes of N episodes, and traces of the first ``keep``.
    """
    walks: list[_Walk] = []
    progress = Heartbeat(recipe.env, len(starts), "episode")
    traces: list[Trace] = []
    for first in range(0, len(starts), TOGETHER):
        group = [_Walk(recipe, start) for start in starts[first : first + TOGETHER]]
        pictures = [walk.env.get_frame(highlight=False, tile_size=24) for walk in group[: max(0, keep - first)]]
        while running := [walk for walk in group if walk.running]:
            progress.beat(first + len(group) - len(running))
            plans = policy(encode([walk.env for walk in running], recipe.view)).tolist()
            for walk, plan in zip(running, plans, strict=True):
                walk.follow(plan, replan_every)
        for picture, walk, best in zip(pictures, group, optimal[first:].tolist(), strict=False):
            size = (walk.env.width, walk.env.height)
            traces.append(Trace(picture, walk.cells, size, walk.heading, walk.total > 0, best))
        walks += [_closed(walk) for walk in group]
    return _outcomes([(walk.total, walk.steps) for walk in walks], optimal), traces


def _closed(walk: _Walk) -> _Walk:
    walk.env.close()
    del walk.env
    return walk


def _outcomes(episodes: Sequence[tuple[float, int]], optimal: Tensor) -> Rollouts:
    returns = torch.tensor([total for total, _ in episodes], dtype=torch.float32)
    steps = torch.tensor([count for _, count in episodes], dtype=torch.int64)
    return Rollouts(returns > 0, steps, optimal, returns)


def encode_all(envs: Sequence[Any], view: View, words: Sequence[str], mission_length: int) -> Observation:
    """What running environments show, as one observation."""
    known = {word: index + 1 for index, word in enumerate(words)}
    images, directions, missions = zip(*(observe(env, view) for env in envs), strict=True)
    mission = torch.zeros(len(images), mission_length, dtype=torch.int64)
    for row, text in enumerate(missions):
        ids = word_ids(text, known)[:mission_length]
        mission[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
    return Observation(torch.from_numpy(np.stack(images)), torch.tensor(directions), mission)


def random_rollouts(recipe: Recipe, starts: Sequence[Start], optimal: Tensor) -> Rollouts:
    """Uniformly random actions to the end of each episode, seeded by its start."""
    outcomes = []
    for start in starts:
        walk = _Walk(recipe, start)
        actions = random_stream(*(key + 1 for key in start), 3).integers(NUM_ACTIONS, size=walk.env.max_steps)
        for action in actions.tolist():
            if not walk.running:
                break
            walk.step(action)
        outcomes.append((walk.total, walk.steps))
    return _outcomes(outcomes, optimal)


def copying_policy(windows: Windows) -> Policy:
    """A policy that knows nothing but the training set: the plan of the nearest observation, by cells that differ."""
    rows = windows.first.nonzero().flatten()
    known = _flat(windows.image[rows], windows.direction[rows], windows.mission[rows])
    plans = windows.plans[rows, 0].long()

    def policy(observation: Observation) -> Tensor:
        asked = _flat(*observation)
        nearest = [(known != row).sum(dim=1).argmin() for row in asked]
        return plans[torch.stack(nearest)]

    return policy


def _flat(image: Tensor, direction: Tensor, mission: Tensor) -> Tensor:
    return torch.cat([image.flatten(1), direction[:, None].byte(), mission.byte()], dim=1)
