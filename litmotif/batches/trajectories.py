"""Windows of trajectories, and what a policy is shown and asked for in a closed loop."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

TaskName = Literal["joystick", "waypoint", "forest"]
"""Tasks of a closed loop: hold a velocity, stop at a point, reach a point between obstacles."""


class Window(NamedTuple):
    """N past steps, the current step (index N) and H future ones, W = N + 1 + H; physical units.

    Attributes:
        states: (B, W, S) float32, columns as ``Trajectories.layout`` names them; what belongs to the root is in the
            character frame of the current step.
        actions: (B, W, A) float32; the one of index i is done at state i and leads to state i + 1.
        item: position of each row in its split (B,) int64.
    """

    states: Tensor
    actions: Tensor
    item: Tensor


class History(NamedTuple):
    """What has happened up to now, in the character frame of now: x ahead, y to the left, heading 0.

    Attributes:
        states: (B, N + 1, S), the last one now.
        actions: (B, N, A), as executed.
        episode: (B,) int64, the number of each row's episode, the same in every call of a rollout.
        step: actions executed so far.
    """

    states: Tensor
    actions: Tensor
    episode: Tensor
    step: int


class Task(NamedTuple):
    """What is asked for, in the character frame of now.

    Attributes:
        kind: ``joystick``, ``waypoint`` or ``forest``.
        velocity: (B, 2) m/s, or None.
        waypoint: (B, 2) m, or None.
        obstacles: (B, P, 3): x, y, radius in m, the nearest in reach, see ``nearest_obstacles``; None where there are
            none.
    """

    kind: TaskName
    velocity: Tensor | None = None
    waypoint: Tensor | None = None
    obstacles: Tensor | None = None


Policy = Callable[[History, Task], Tensor]
"""Plans (B, K, A), physical units, of which the first few are executed before the next call."""
