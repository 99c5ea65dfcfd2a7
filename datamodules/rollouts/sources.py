"""Environments by their id: ours, anybody's that Gymnasium knows or a module registers, and Safety-Gymnasium's."""

import importlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium

from litmotif.errors import ArgumentTypeError

from .. import envs as _ours  # noqa: F401 (registers them)
from ..core import DataError
from .gymnasium_source import GymnasiumSource as GymnasiumSource
from .source import BatchedSource
from .source import Source as Source

OURS = "litmotif/"


class SixthValue(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the cost that Safety-Gymnasium returns between reward and terminated into ``info["cost"]``."""

    def step(self, action: Any) -> Any:
        """Five values, from five or six."""
        told: Any = self.env.step(action)
        observation, reward, *cost, terminated, truncated, info = told
        return observation, reward, terminated, truncated, info | ({"cost": cost[0]} if cost else {})


def find(name: str) -> "gymnasium.envs.registration.EnvSpec | None":
    """The entry of an id in the registry; None where Safety-Gymnasium has to know it.

    Args:
        name: an id; ``module:id`` imports the module first, which registers it.

    Raises:
        ArgumentTypeError: no id, but an environment.
        DataError: a module that cannot be imported, or an id that nobody registered.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"data.env={name!r} ({type(name).__name__}) must be the id of a registered environment.",
            "Register it with gymnasium.register(id, entry_point), where the entry point may put wrappers around it, "
            "and give the id, or module:id; how many of them there are is data.num_envs.",
        )
    module, _, key = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise DataError(
                f"data.env={name!r}: module {module} cannot be imported: {error}.",
                "It is looked for in the current folder, among installed packages and in PYTHONPATH.",
            ) from error
    if key.startswith("Safety") and key not in gymnasium.registry:
        return None
    try:
        spec = gymnasium.spec(key)
    except gymnasium.error.Error as error:
        ours = sorted(known for known in gymnasium.registry if known.startswith(OURS))
        raise DataError(
            f"data.env={name!r}: {error} Ours are {ours}.",
            "An environment of your own is MODULE:ID, where importing MODULE registers ID.",
        ) from error
    if spec.entry_point is None:
        raise DataError(
            f"data.env={name!r} has a vector_entry_point only.", "Register an entry_point that makes one environment."
        )
    return spec


def make_one(spec: Any, name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None) -> Any:
    """One environment.

    Args:
        spec: its entry in the registry, so that a process whose registry does not hold it can make it too; None for
            Safety-Gymnasium.
        name: its id.
        kwargs: of the environment.
        max_episode_steps: in place of the registered limit; None leaves it.
    """
    if spec is not None:
        limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        return SixthValue(gymnasium.make(spec, **(dict(kwargs) | limit)))
    try:
        import safety_gymnasium
    except ImportError as error:
        raise DataError(
            f"data.env={name!r} needs Safety-Gymnasium, which has no release for this Python in the extras: "
            "see docs in lit_models/cpo/README.md, 'Safety-Gymnasium'."
        ) from error
    return SixthValue(safety_gymnasium.make(name, **kwargs))


def make_source(
    name: str,
    num_envs: int,
    kwargs: Mapping[str, Any],
    costs: Sequence[str] | None,
    max_episode_steps: int | None,
    processes: bool,
    sparse: bool = False,
) -> Source:
    """The environments by their Gymnasium id.

    Args:
        name: an id, or ``module:id``; those that begin with ``litmotif/`` are our batched simulators.
        num_envs: N.
        kwargs: of one environment.
        costs: keys of ``info`` that hold costs; None means ``cost``. Our simulators name their own.
        max_episode_steps: truncates; None takes the environment's own limit.
        processes: one process an environment, for scalar environments.
        sparse: costs may be absent for whole episodes: do not look for them.

    Raises:
        DataError: unknown id, spaces that cannot be learned on, or a cost that the environment does not tell.
    """
    spec = find(name)
    if spec is not None and spec.id.startswith(OURS):
        limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
        env: Any = gymnasium.make_vec(spec, num_envs, "vector_entry_point", **(dict(kwargs) | limit))
        return BatchedSource(env.unwrapped)
    keys = ["cost"] if costs is None else costs
    make = partial(make_one, spec, name, dict(kwargs), max_episode_steps)
    return GymnasiumSource(make, num_envs, keys, max_episode_steps, processes, require=not sparse)
