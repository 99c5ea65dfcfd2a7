"""A small model of MiniGrid's rules: states that can be hashed, and what each useful action makes of them.

A state is (cell, heading, places, doors): the agent's cell (index y * W + x) and heading; the cell of each movable
object, CARRIED, or GONE (inside a box, or an opened box); and each door's 0 open, 1 closed, 2 locked.
"""

from collections.abc import Iterator
from typing import Any

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)
CARRIED, GONE = -1, -2
OPEN, CLOSED, LOCKED = 0, 1, 2

State = tuple[int, int, tuple[int, ...], tuple[int, ...]]

MOVABLE = ("key", "ball", "box")


class World:
    """The layout of one episode, read from the real grid.

    Attributes:
        width: columns of the grid.
        ground: type of the fixed thing in each cell: None, ``wall``, ``floor``, ``goal``, ``lava`` or ``door``.
        things: the movable objects; state.places says where each is.
        doors: the doors; state.doors says how each is.
        start: the state at which the episode begins.
    """

    def __init__(self, env: Any) -> None:
        self.width: int = env.width
        self.steps = (1, self.width, -1, -self.width)
        self.ground: list[str | None] = [None] * (env.width * env.height)
        self.things: list[Any] = []
        self.doors: list[Any] = []
        self.door_at: dict[int, int] = {}
        places, states = [], []
        for cell, thing in enumerate(env.grid.grid):
            if thing is None:
                continue
            if thing.type in MOVABLE:
                self.things.append(thing)
                places.append(cell)
                continue
            self.ground[cell] = thing.type
            if thing.type == "door":
                self.door_at[cell] = len(self.doors)
                self.doors.append(thing)
                states.append(LOCKED if thing.is_locked else OPEN if thing.is_open else CLOSED)
        self._add_contents(places)
        if env.carrying is not None:
            self.things.append(env.carrying)
            places.append(CARRIED)
        self.content = [self._index(thing.contains) for thing in self.things]
        self.start: State = (self.cell(env.agent_pos), int(env.agent_dir), tuple(places), tuple(states))

    def _add_contents(self, places: list[int]) -> None:
        for box in self.things:  # grows while it is walked: a box may hold a box
            if box.contains is not None:
                self.things.append(box.contains)
                places.append(GONE)

    def _index(self, thing: Any) -> int | None:
        return next((index for index, other in enumerate(self.things) if other is thing), None) if thing else None

    def cell(self, position: Any) -> int:
        """Index of a position (x, y)."""
        return int(position[1]) * self.width + int(position[0])

    def front(self, state: State) -> int:
        """The cell before the agent."""
        return state[0] + self.steps[state[1]]

    def carried(self, state: State) -> int | None:
        """Index of the carried thing."""
        return state[2].index(CARRIED) if CARRIED in state[2] else None

    def successors(self, state: State) -> Iterator[tuple[int, State]]:
        """Every action that changes the state, and ``done``, with what comes of it."""
        cell, heading, places, doors = state
        front = cell + self.steps[heading]
        yield LEFT, (cell, (heading - 1) % 4, places, doors)
        yield RIGHT, (cell, (heading + 1) % 4, places, doors)
        if front in places:
            yield from self._handle(state, front)
        else:
            ground = self.ground[front]
            if ground == "door":
                yield from self._door(state, self.door_at[front], front)
            elif ground != "wall":
                yield FORWARD, (front, heading, places, doors)
            if ground is None and CARRIED in places:
                yield DROP, (cell, heading, _replaced(places, places.index(CARRIED), front), doors)
        yield DONE, state

    def _handle(self, state: State, front: int) -> Iterator[tuple[int, State]]:
        cell, heading, places, doors = state
        thing = places.index(front)
        if CARRIED not in places:
            yield PICKUP, (cell, heading, _replaced(places, thing, CARRIED), doors)
        if self.things[thing].type == "box":
            opened, content = _replaced(places, thing, GONE), self.content[thing]
            yield TOGGLE, (cell, heading, opened if content is None else _replaced(opened, content, front), doors)

    def _door(self, state: State, door: int, front: int) -> Iterator[tuple[int, State]]:
        cell, heading, places, doors = state
        if doors[door] == OPEN:
            yield FORWARD, (front, heading, places, doors)
        if doors[door] != LOCKED:
            yield TOGGLE, (cell, heading, places, _replaced(doors, door, CLOSED - doors[door]))
            return
        carried = self.carried(state)
        if carried is not None:
            key = self.things[carried]
            if key.type == "key" and key.color == self.doors[door].color:
                yield TOGGLE, (cell, heading, places, _replaced(doors, door, OPEN))


def _replaced(values: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*values[:index], value, *values[index + 1 :])
