"""One environment of anybody's as plain numbers: a vector seen, a vector done, one row of numbers told a step."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core import DataError
from .spaces import Observations, actions_of

TOLD = ("reward", "terminated", "truncated", "success")
"""Columns of ``info["told"]`` before the costs."""
SEARCH_STEPS, SEARCH_MOST = 1_000, 10_000
"""Steps of random actions after which a cost counts as missing: at least, and while no episode has ended."""


class Plain(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows vectors, takes actions of a policy, and tells ``info["told"]``: ``TOLD`` and the costs, (4 + M,) float64.

    Whatever the environment says at an end stands in ``told`` only, and what follows an end until the next reset does
    nothing: so the environments of a vector stay together while some of them wait.

    Args:
        env: the environment.
        costs: keys of ``info`` that hold costs; ``a/b`` is ``info["a"]["b"]``. A key that is absent costs 0.
        max_episode_steps: truncates; None leaves it to the environment.
    """

    def __init__(
        self, env: "gymnasium.Env[Any, Any]", costs: Sequence[str], max_episode_steps: int | None = None
    ) -> None:
        super().__init__(env)
        self.costs, self.limit, self.label = list(costs), max_episode_steps, label(env)
        self.observe = Observations(env.observation_space, self.label)
        self.actions = actions_of(env.action_space, self.label)
        self.observation_space = spaces.Box(-np.inf, np.inf, (self.observe.size,), np.float32)
        self.action_space = self.actions.policy_space
        self.keys: set[str] = set()
        """Of all that ``info`` has held so far."""
        self.over, self.elapsed = True, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        observation, _ = self.env.reset(seed=seed, options=options)
        self.over, self.elapsed, self.last = False, 0, self.observe(observation)
        return self.last, {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step, or nothing where the episode is over.

        Raises:
            DataError: a reward, a cost or a success that is no single number.
        """
        told = np.zeros(len(TOLD) + len(self.costs))
        if self.over:
            return self.last, 0.0, False, False, {"told": told}
        observation, reward, terminated, truncated, info = self.env.step(self.actions.to_environment(action))
        self.elapsed += 1
        self.last = self.observe(observation)
        self.keys |= names(info)
        told[0] = self._number(reward, "reward")
        told[1] = self._number(terminated, "terminated") != 0.0
        told[2] = self._number(truncated, "truncated") != 0.0 or self.elapsed == self.limit
        success = next((info[key] for key in ("is_success", "success") if info.get(key) is not None), 0.0)
        told[3] = self._number(success, "info['is_success'] or info['success']") != 0.0
        for place, key in enumerate(self.costs, len(TOLD)):
            value = lookup(info, key)
            if value is not None:
                told[place] = self._number(value, f"info[{key!r}]")
        self.over = bool(told[1] or told[2])
        return self.last, 0.0, False, False, {"told": told}

    @property
    def missing(self) -> list[str]:
        """Keys of ``costs`` that the environment has not told yet."""
        return [key for key in self.costs if key not in self.keys]

    def _number(self, value: Any, name: str) -> float:
        """A number of any type, or an array of one."""
        given = value.detach().cpu() if hasattr(value, "detach") else value
        array = np.asarray(given)
        if array.dtype.kind == "O" and array.size == 1:
            array = np.asarray(array.item())
        if array.dtype.kind not in "biuf" or array.size != 1:
            inside = f" Its entries are named {name[6:-2]}/KEY in data.costs." if isinstance(value, Mapping) else ""
            raise DataError(
                f"{self.label} gives {name} = {value!r} ({type(value).__name__}), which is no single number.{inside}"
            )
        return float(array.item())


def label(env: Any) -> str:
    """The id of an environment, or its class."""
    spec = getattr(env, "spec", None)
    return spec.id if spec is not None else type(getattr(env, "unwrapped", env)).__name__


def lookup(info: Mapping[str, Any], key: str) -> Any:
    """``info[key]``, or ``info["a"]["b"]`` for ``a/b``; None where it is absent."""
    if key in info:
        return info[key]
    outer, _, inner = key.partition("/")
    nested = info.get(outer)
    return lookup(nested, inner) if inner and isinstance(nested, Mapping) else None


def names(info: Mapping[str, Any]) -> set[str]:
    """The keys of an info, those of nested ones as ``a/b``."""
    found = set()
    for key, value in info.items():
        nested = names(value) if isinstance(value, Mapping) else set()
        found |= {f"{key}/{inner}" for inner in nested} or {str(key)}
    return found


def require_costs(env: Plain) -> None:
    """Play random actions until every cost has been seen.

    Raises:
        DataError: a cost that never shows; the message says what the environment tells instead.
    """
    rng, steps, ends = np.random.default_rng(0), 0, 0
    env.action_space.seed(0)
    while env.missing and (steps < SEARCH_STEPS or (not ends and steps < SEARCH_MOST)):
        if env.over:
            env.reset(seed=int(rng.integers(2**31)))
        env.step(env.action_space.sample())
        steps, ends = steps + 1, ends + env.over
    if env.missing:
        raise DataError(
            f"{env.label} gives no info[{env.missing[0]!r}] in {steps} steps of random actions; it gives "
            f"{sorted(env.keys)}.",
            "Name the keys that hold costs in data.costs, set data.costs to [] for a task without costs, or "
            "data.sparse_costs to true where a cost is rare.",
        )
