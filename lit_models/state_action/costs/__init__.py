"""Guidance costs: what a plan shall do, differentiable, for guidance to take the gradient of.

A cost maps physical states (B, W, S) and actions (B, W, A) to (B,). It reads only what the model does not know: states
after the current step, actions from it on. Positions and velocities are those of the character frame of the window's
current step. Each field is a number or a list, as YAML writes it, or a tensor that may have the B samples as its first
axis; where a field belongs to steps, the H future steps may follow as the second. Guidance takes two derivatives, so
all have two wherever plans may be, at the points where distances vanish as well.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from litmotif.errors import ArgumentError, ArgumentTypeError

from ..layout import StateLayout, alternatives, checked
from .base import Cost, Values
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
    "Values",
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


def make_costs(plain: Sequence[Mapping[str, Any] | CostFunction], layout: StateLayout, history: int) -> Sum:
    """Build costs from what YAML can write.

    Args:
        plain: one mapping for each cost, such as ``{cost: joystick, velocity: [0.5, 0.0], weight: 1.0}``, or of a cost
            of one's own ``{class_path: my_project.costs.Low, init_args: {height: 0.3}}``; or the cost itself, where no
            YAML has to hold it.
        layout: of the columns.
        history: steps N before the current one.

    Raises:
        ValueError: an unknown cost or field, or a field that does not fit; names the entry and the likeliest name.
        TypeError: an entry is neither a mapping nor a cost.
    """
    return Sum(tuple(_make(entry, f"costs[{i}]", layout, history) for i, entry in enumerate(plain)))


def _make(entry: Mapping[str, Any] | CostFunction, where: str, layout: StateLayout, history: int) -> CostFunction:
    if not isinstance(entry, Mapping):
        if not callable(entry):
            raise ArgumentTypeError(
                f"{where}: {entry!r} is no cost: give {{cost: joystick, ...}}, {{class_path: ..., init_args: {{...}}}}"
                ", or a function of states and actions."
            )
        return entry
    fields = dict(entry)
    if "class_path" in fields:
        kind, name = _named(str(fields.pop("class_path")), where), str(entry["class_path"])
        fields = dict(fields.pop("init_args", None) or {}) | fields
    else:
        name = fields.pop("cost", None)
        if name not in COSTS:
            raise ArgumentError(
                f"{where}: cost={name!r} is unknown; {alternatives(str(name), COSTS)} One of your own has a class_path."
            )
        kind = COSTS[name]
    where = f"{where} ({name})"
    given = checked(kind, fields, where, without=("layout", "history"))
    try:
        return kind(layout, history, **given)
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"{where}: {error}") from error


def _named(path: str, where: str) -> type[Cost]:
    """The cost that a class path names; nothing else is called, for checkpoints name classes as well."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name, None) if module else None
    except ImportError as error:
        raise ArgumentError(
            f"{where}: class_path={path}: {error}. Run from the folder that holds {module.partition('.')[0]}, or "
            "put it on PYTHONPATH."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Cost) and is_dataclass(found)):
        raise ArgumentError(
            f"{where}: class_path={path} is no subclass of lit_models.state_action.costs.Cost. Derive it from Cost, as "
            "a @dataclass(frozen=True, eq=False) with a method of_future."
        )
    return found
