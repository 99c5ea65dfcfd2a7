"""Guidance costs: what a plan shall do, differentiable, for guidance to take the gradient of.

A cost maps physical states (B, W, S) and actions (B, W, A) to (B,). It reads only what the model does not know: states
after the current step, actions from it on. Positions and velocities are those of the character frame of the window's
current step. Each field is a number or a list, as YAML writes it, or a tensor that may have the B samples as its first
axis; where a field belongs to steps, the H future steps may follow as the second. Guidance takes two derivatives, so
all have two wherever plans may be, at the points where distances vanish as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from litmotif.errors import ArgumentError

from ..layout import StateLayout, alternatives, checked
from .base import Cost
from .clearance import AgentAvoidance, Obstacles
from .goals import Joystick, Keyframe, Waypoint

__all__ = [
    "COSTS",
    "AgentAvoidance",
    "Cost",
    "CostFunction",
    "Joystick",
    "Keyframe",
    "Obstacles",
    "Sum",
    "Waypoint",
    "make_costs",
]

CostFunction = Callable[[Tensor, Tensor], Tensor]
"""(physical states (B, W, S), physical actions (B, W, A)) -> (B,)."""


@dataclass(frozen=True)
class Sum:
    """Several costs at once.

    Attributes:
        costs: the parts, each with its own weight.
    """

    costs: tuple[CostFunction, ...]

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """The sum (B,) of all parts."""
        total = states.new_zeros(len(states))
        for cost in self.costs:
            total = total + cost(states, actions)
        return total


COSTS: dict[str, type[Cost]] = {
    "joystick": Joystick,
    "waypoint": Waypoint,
    "obstacles": Obstacles,
    "keyframe": Keyframe,
    "agent_avoidance": AgentAvoidance,
}
"""Costs by the name that YAML gives them."""


def make_costs(plain: Sequence[Mapping[str, Any]], layout: StateLayout, history: int) -> Sum:
    """Build costs from what YAML can write.

    Args:
        plain: one mapping for each cost, such as ``{cost: joystick, velocity: [0.5, 0.0], weight: 1.0}``.
        layout: of the columns.
        history: steps N before the current one.

    Raises:
        ValueError: an unknown cost or field, or a field that does not fit; names the entry and the likeliest name.
    """
    return Sum(tuple(_make(dict(entry), f"costs[{i}]", layout, history) for i, entry in enumerate(plain)))


def _make(entry: dict[str, Any], where: str, layout: StateLayout, history: int) -> Cost:
    name = entry.pop("cost", None)
    if name not in COSTS:
        raise ArgumentError(f"{where}: cost={name!r} is unknown; {alternatives(str(name), COSTS)}")
    where = f"{where} ({name})"
    given = checked(COSTS[name], entry, where, without=("layout", "history"))
    try:
        return COSTS[name](layout, history, **given)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{where}: {error}") from error
