"""Goal conditions of MiniGrid environments, by class: a verdict on each transition of the model."""

from collections.abc import Callable
from typing import Any

from ..core import DataError
from .world import CARRIED, DONE, DROP, FORWARD, OPEN, PICKUP, TOGGLE, State, World

Verdict = bool | None
"""True: solved. False: goes on. None: the episode ends without reward."""
Task = Callable[[State, int, State], Verdict]

FAMILIES = "a goal square, an object to pick up, a door to open, Fetch, GoTo, Memory, PutNear or RedBlueDoors"


def read_task(env: Any, world: World) -> Task:
    """The task of an environment that was just reset.

    Raises:
        DataError: no rule for this class; names the families that have one.
    """
    for owner in type(env).__mro__:
        if owner.__name__ in _BY_CLASS:
            return _BY_CLASS[owner.__name__](env, world)
    if "goal" in world.ground and not hasattr(env, "n_obstacles"):
        return _goal(env, world)
    raise DataError(
        f"data.env: no expert knows how to solve {env.spec.id if env.spec else type(env).__name__}. There is one for "
        f"MiniGrid ids with {FAMILIES}, and for every BabyAI id."
    )


def _goal(env: Any, world: World) -> Task:
    def verdict(before: State, action: int, after: State) -> Verdict:
        if action != FORWARD:
            return False
        ground = world.ground[after[0]]
        return True if ground == "goal" else None if ground == "lava" else False

    return verdict


def _pickup(env: Any, world: World) -> Task:
    wanted = next(index for index, thing in enumerate(world.things) if thing is env.obj)
    return lambda before, action, after: after[2][wanted] == CARRIED


def _fetch(env: Any, world: World) -> Task:
    def verdict(before: State, action: int, after: State) -> Verdict:
        carried = world.carried(after)
        if carried is None:
            return False
        thing = world.things[carried]
        return (thing.type == env.targetType and thing.color == env.targetColor) or None

    return verdict


def _unlock(env: Any, world: World) -> Task:
    door = next(index for index, thing in enumerate(world.doors) if thing is env.door)
    return lambda before, action, after: action == TOGGLE and after[3][door] == OPEN


def _beside(world: World, target: int, cell: int) -> bool:
    return abs(target - cell) in (1, world.width)  # walls keep neighbours in one row from wrapping around


def _go_to(env: Any, world: World) -> Task:
    target = world.cell(env.target_pos)

    def verdict(before: State, action: int, after: State) -> Verdict:
        if action == DONE:
            return _beside(world, target, after[0]) or None
        return None if action == TOGGLE else False

    return verdict


def _memory(env: Any, world: World) -> Task:
    success, failure = world.cell(env.success_pos), world.cell(env.failure_pos)

    def verdict(before: State, action: int, after: State) -> Verdict:
        if action == PICKUP:  # the environment turns it into a toggle
            return None
        return True if after[0] == success else None if after[0] == failure else False

    return verdict


def _put_near(env: Any, world: World) -> Task:
    x, y = int(env.target_pos[0]), int(env.target_pos[1])

    def verdict(before: State, action: int, after: State) -> Verdict:
        if action == PICKUP:
            thing = world.things[after[2].index(CARRIED)]
            return False if thing.type == env.move_type and thing.color == env.moveColor else None
        if action != DROP:
            return False
        row, column = divmod(world.front(before), world.width)
        return (abs(column - x) <= 1 and abs(row - y) <= 1) or None

    return verdict


def _red_blue(env: Any, world: World) -> Task:
    red, blue = (next(i for i, door in enumerate(world.doors) if door is d) for d in (env.red_door, env.blue_door))

    def verdict(before: State, action: int, after: State) -> Verdict:
        if after[3][blue] == OPEN:
            return before[3][red] == OPEN or None
        return False

    return verdict


_BY_CLASS: dict[str, Callable[[Any, World], Task]] = {
    "KeyCorridorEnv": _pickup,
    "UnlockPickupEnv": _pickup,
    "BlockedUnlockPickupEnv": _pickup,
    "ObstructedMazeEnv": _pickup,
    "FetchEnv": _fetch,
    "UnlockEnv": _unlock,
    "GoToDoorEnv": _go_to,
    "GoToObjectEnv": _go_to,
    "MemoryEnv": _memory,
    "PutNearEnv": _put_near,
    "RedBlueDoorEnv": _red_blue,
}
