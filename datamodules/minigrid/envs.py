"""The real environments: made by id, started where asked, observed as arrays."""

import contextlib
import io
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Literal, NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from litmotif.errors import MissingExtraError
from litmotif.names import did_you_mean

from ..core import DataError

View = Literal["full", "partial"]
FREE: dict[str, Any] = {"agent_start_pos": None}
"""Arguments that let the agent start anywhere, where an environment takes them."""
Image = NDArray[np.uint8]


class Start(NamedTuple):
    """Where an episode begins: the seed of its layout, and a pose where that is not the layout's own (x >= 0)."""

    seed: int
    x: int = -1
    y: int = -1
    heading: int = 0


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what BabyAI's level generator prints when it rejects a draw."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def make_env(env: str, env_kwargs: Mapping[str, Any] | None = None) -> Any:
    """Make a MiniGrid or BabyAI environment, without wrappers.

    Args:
        env: its id, e.g. ``MiniGrid-Empty-8x8-v0``.
        env_kwargs: arguments of its constructor.

    Raises:
        ModuleNotFoundError: minigrid is not installed; names the extra.
        DataError: no such id (names the nearest), or arguments that it does not take.
    """
    gymnasium = _registered()
    if env not in gymnasium.registry:
        known = [name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-"))]
        raise DataError(f"data.env: there is no environment {env!r}.{did_you_mean(env, known, cutoff=0.4)}")
    spec = gymnasium.registry[env]
    try:
        with quiet():
            made = gymnasium.make(spec, disable_env_checker=True, **dict(env_kwargs or {})).unwrapped
    except TypeError as error:
        raise DataError(
            f"data.env_kwargs: {env} does not take {dict(env_kwargs or {})}: {error}. Leave data.env_kwargs out for "
            "its own defaults."
        ) from error
    made.gen_obs = dict  # each step would draw a view that nobody reads: most of its cost; ``observe`` draws on demand
    return made


def _registered() -> Any:
    try:
        import_module("minigrid")
        return import_module("gymnasium")
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{error.name} is not installed. Remedy: pip install 'litmotif[minigrid]'") from error


def reset(env: Any, start: Start) -> None:
    """Begin an episode at ``start``."""
    with quiet():
        env.reset(seed=start.seed)
    if start.x >= 0:
        env.agent_pos, env.agent_dir = (start.x, start.y), start.heading


def observe(env: Any, view: View) -> tuple[Image, int, str]:
    """What the agent is shown now.

    Args:
        env: a running environment.
        view: ``full``: the whole grid with the agent drawn in; ``partial``: the cells before the agent.

    Returns:
        Image (W, H, 3) uint8, heading, mission.
    """
    if view == "partial":
        shown = type(env).gen_obs(env)
        return shown["image"], int(shown["direction"]), str(shown["mission"])
    image = env.grid.encode()
    image[env.agent_pos[0], env.agent_pos[1]] = (10, 0, env.agent_dir)  # object 10: the agent, its state the heading
    return image, int(env.agent_dir), str(env.mission)


def free_poses(env: Any) -> list[tuple[int, int, int]]:
    """Every pose in which the agent can stand on an empty cell, as (x, y, heading)."""
    cells = [(x, y) for x in range(env.width) for y in range(env.height) if env.grid.get(x, y) is None]
    return [(x, y, heading) for x, y in cells for heading in range(4)]


def own_kwargs(env: str, layouts: int = 16) -> dict[str, Any]:
    """Arguments of an environment where nobody gives any: none, but that a start which never varies is freed.

    Args:
        env: its id.
        layouts: seeds that are tried.
    """
    if len({_sight(made, seed) for made in [make_env(env)] for seed in range(layouts)}) > 1:
        return {}
    with contextlib.suppress(DataError):
        make_env(env, FREE)
        rank_zero_info(f"{env} always begins alike: data.env_kwargs is {FREE}, any start.")
        return FREE
    return {}


def _sight(env: Any, seed: int) -> tuple[Any, ...]:
    reset(env, Start(seed))
    return env.grid.encode().tobytes(), tuple(env.agent_pos), int(env.agent_dir), str(env.mission)


def enumerable(env: Any, layouts: int = 16) -> bool:
    """Whether the pose of the agent is all that differs between episodes.

    True where the constructor lets the agent start anywhere (``agent_start_pos`` is None) and ``layouts`` seeds give
    the same grid.
    """
    if getattr(env, "agent_start_pos", ()) is not None:
        return False
    grids = set()
    for seed in range(layouts):
        reset(env, Start(seed))
        grids.add(env.grid.encode().tobytes())
    return len(grids) == 1
