"""Experts: every shortest plan at once by breadth-first search, and BabyAI's own bot."""

import math
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from ..core import DataError, random_stream
from .envs import quiet
from .tasks import read_task
from .world import State, World

SEARCH_LIMIT = 2_000_000
"""States that a search may visit."""


class NoPlanError(DataError):
    """This episode has no plan: it cannot be solved, or its search is too large."""


class ShortestPlans(NamedTuple):
    """All shortest plans of an episode, as the graph of states that lie on one.

    Attributes:
        start: the state at which they begin.
        steps: (action, next state) that go on along a shortest plan, by state; the next state is None at the end.
        completions: natural logarithm of the number of shortest ways from a state to the end.
        length: actions of each plan.
    """

    start: State
    steps: dict[State, list[tuple[int, State | None]]]
    completions: dict[State | None, float]
    length: int

    def draw(self, stream: np.random.Generator) -> tuple[list[int], list[float]]:
        """One plan, each equally likely.

        Returns:
            Its actions, and the log number of completions before each action and at the end (0).
        """
        state: State | None = self.start
        actions: list[int] = []
        logs = [self.completions[state]]
        while state is not None:
            options = self.steps[state]
            weight = np.exp([self.completions[after] - self.completions[state] for _, after in options])
            action, state = options[int(stream.choice(len(options), p=weight / weight.sum()))]
            actions.append(action)
            logs.append(self.completions[state])
        return actions, logs

    def all(self, limit: int) -> list[list[int]]:
        """The first ``limit`` plans in the order of their actions."""
        found = []
        for plan in self._walk(self.start):
            found.append(plan)
            if len(found) == limit:
                break
        return found

    def _walk(self, state: State | None) -> Iterator[list[int]]:
        if state is None:
            yield []
            return
        for action, after in self.steps[state]:
            for rest in self._walk(after):
                yield [action, *rest]


def shortest_plans(env: Any, limit: int = SEARCH_LIMIT) -> ShortestPlans:
    """Search an environment that was just reset.

    Args:
        env: the environment; it is read, not stepped.
        limit: states that the search may visit.

    Raises:
        NoPlanError: it cannot be solved, or the limit was reached.
        DataError: no expert knows its task.
    """
    world = World(env)
    task = read_task(env, world)
    parents: dict[State, list[tuple[State, int]]] = {world.start: []}
    depth = {world.start: 0}
    level = [world.start]
    last: list[tuple[State, int]] = []
    while level and not last:
        after_level = []
        for state in level:
            for action, after in world.successors(state):
                verdict = task(state, action, after)
                if verdict:
                    last.append((state, action))
                elif verdict is False:
                    known = depth.get(after)
                    if known is None:
                        depth[after] = depth[state] + 1
                        parents[after] = [(state, action)]
                        after_level.append(after)
                    elif known == depth[state] + 1:
                        parents[after].append((state, action))
        level = after_level
        if len(depth) > limit:
            raise NoPlanError(f"{env.spec.id}: the search visited {len(depth):,} states without an end.")
    if not last:
        raise NoPlanError(f"{env.spec.id}: this episode cannot be solved.")
    return _count(world.start, parents, last, depth[last[0][0]] + 1)


def _count(
    start: State, parents: dict[State, list[tuple[State, int]]], last: list[tuple[State, int]], length: int
) -> ShortestPlans:
    steps: dict[State, list[tuple[int, State | None]]] = {}
    for state, action in last:
        steps.setdefault(state, []).append((action, None))
    completions: dict[State | None, float] = {None: 0.0}
    level = list(steps)
    while level:
        before: dict[State, None] = {}  # a set in order of arrival: the same run, the same plans
        for state in level:
            completions[state] = float(np.logaddexp.reduce([completions[after] for _, after in steps[state]]))
            for parent, action in parents[state]:
                steps.setdefault(parent, []).append((action, state))
                before[parent] = None
        level = list(before)
    return ShortestPlans(start, steps, completions, length)


def bot_plan(env: Any, step_limit: int = 1000) -> list[int]:
    """The plan of BabyAI's bot; steps the environment.

    Raises:
        NoPlanError: the bot gave up, or did not end.
    """
    bot_module = import_module("minigrid.utils.baby_ai_bot")
    with quiet():
        bot = bot_module.BabyAIBot(env)
    actions: list[int] = []
    taken = None
    while len(actions) < step_limit:
        try:
            taken = bot.replan(taken)
        except (AssertionError, bot_module.DisappearedBoxError, IndexError, AttributeError, TypeError) as error:
            raise NoPlanError(f"{env.spec.id}: the bot gave up ({error or type(error).__name__}).") from error
        actions.append(int(taken))
        _, _, terminated, truncated, _ = env.step(taken)
        if terminated or truncated:
            return actions
    raise NoPlanError(f"{env.spec.id}: the bot did not end within {step_limit} actions.")


def expert_plan(env: Any, seed: int) -> tuple[list[int], list[float]]:
    """The expert of an environment that was just reset; BabyAI's bot steps it.

    Args:
        env: the environment.
        seed: decides which of the shortest plans it is.

    Returns:
        Actions, and the log number of optimal completions before each and at the end; NaN for the bot.
    """
    if env.spec.id.startswith("BabyAI-"):
        plan = bot_plan(env)
        return plan, [math.nan] * (len(plan) + 1)
    return shortest_plans(env).draw(random_stream(seed, 2))
