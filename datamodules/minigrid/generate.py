"""Expert episodes in bulk: planned, tried in the real environment, and kept only where it paid."""

import math
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from ..core import random_stream
from .envs import Start, View, make_env, observe, reset
from .expert import NoPlanError, bot_plan, shortest_plans

CHUNK = 50
"""Episodes of one piece of work."""
SMALL_JOB = 1500
"""Up to so many episodes one process is done before a second one has started."""


class Recipe(NamedTuple):
    """What an episode depends on besides its start."""

    env: str
    env_kwargs: dict[str, Any]
    view: View
    max_optimal_plans: int


class Episode(NamedTuple):
    """One solved episode of n actions.

    Attributes:
        start: where it began.
        actions: (n,) the expert's actions, uniform among the shortest plans.
        logs: (n + 1,) log number of shortest completions before each action and at the end; NaN for a bot.
        images: (n, W, H, 3) what was shown before each action.
        directions: (n,) headings before each action.
        mission: the task in words.
        reward: that the environment gave for them, all together.
        alternatives: up to ``max_optimal_plans`` shortest plans, the expert's own among them.
    """

    start: Start
    actions: NDArray[np.int64]
    logs: NDArray[np.float64]
    images: NDArray[np.uint8]
    directions: NDArray[np.int64]
    mission: str
    reward: float
    alternatives: list[list[int]]


def generate(
    recipe: Recipe, starts: Sequence[Start], workers: int | None = None, progress: bool = True
) -> list[Episode]:
    """Solve an episode from each start.

    Args:
        recipe: environment, view and number of alternatives.
        starts: where to begin.
        workers: processes; None takes what the job is worth. The result does not depend on it.
        progress: show a bar, where a person is looking.

    Returns:
        The solved episodes, in the order of ``starts``; those without a plan, or whose plan earned nothing, are left
        out.
    """
    chunks = [starts[i : i + CHUNK] for i in range(0, len(starts), CHUNK)]
    if workers is None:
        workers = 1 if len(starts) <= SMALL_JOB else min(os.cpu_count() or 1, len(chunks))
    episodes: list[Episode] = []
    with Progress(console=Console(stderr=True), disable=not (progress and sys.stderr.isatty()), transient=True) as bar:
        task = bar.add_task(f"expert plans of {recipe.env}", total=len(starts))
        for solved in _solve_all(recipe, chunks, workers):
            episodes += solved
            bar.advance(task, CHUNK)
    return episodes


def _solve_all(recipe: Recipe, chunks: Sequence[Sequence[Start]], workers: int) -> Iterator[list[Episode]]:
    if workers <= 1:
        yield from (_solve_chunk(recipe, chunk) for chunk in chunks)
        return
    # never fork a process whose threads may hold a lock of PyTorch's
    context = multiprocessing.get_context("forkserver" if sys.platform != "win32" else "spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_solve_chunk, [recipe] * len(chunks), chunks)


def _solve_chunk(recipe: Recipe, starts: Sequence[Start]) -> list[Episode]:
    env = make_env(recipe.env, recipe.env_kwargs)
    solved = (_solve(recipe, env, start) for start in starts)
    return [episode for episode in solved if episode is not None]


def _solve(recipe: Recipe, env: Any, start: Start) -> Episode | None:
    reset(env, start)
    alternatives: list[list[int]] = []
    try:
        if recipe.env.startswith("BabyAI-"):
            actions = bot_plan(env)
            logs = [math.nan] * (len(actions) + 1)
        else:
            plans = shortest_plans(env)
            actions, logs = plans.draw(random_stream(*(key + 1 for key in start)))
            if recipe.max_optimal_plans > 1:
                alternatives = plans.all(recipe.max_optimal_plans)
    except NoPlanError:
        return None
    reset(env, start)
    shown = []
    reward = 0.0
    for action in actions:
        shown.append(observe(env, recipe.view))
        reward += float(env.step(action)[1])
    if reward <= 0 or not actions:
        return None
    images, directions, missions = zip(*shown, strict=True)
    if actions not in alternatives:
        alternatives = [actions, *alternatives][: max(1, recipe.max_optimal_plans)]
    return Episode(
        start,
        np.array(actions),
        np.array(logs),
        np.stack(images),
        np.array(directions),
        missions[0],
        reward,
        alternatives,
    )
