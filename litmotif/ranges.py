"""Ranges of numbers: a size is at least 1, a weight is not negative, a share lies in [0, 1]."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from types import NoneType
from typing import Any, get_args

from .errors import ArgumentError

OURS = ("lit_models", "datamodules")
"""Packages whose arguments are known; those of a user's own class may be what they like."""
FROM_ZERO = frozenset(
    {"audio_bands", "audio_layers", "audio_size", "backtracks", "corrections", "curriculum", "fold", "history", "made"}
    | {"mixtures", "num_workers", "patience", "reach", "recovery_patience", "repeats", "seed", "split_seed"}
    | {"task_episodes", "test", "train", "transpose", "val", "validation_levels", "warmup"}
)
"""Whole numbers that may be 0; all others are counted from 1."""
SHARES = frozenset(
    {
        "clean_share",
        "condition_dropout",
        "cost_gae_lambda",
        "cost_gamma",
        "dropout",
        "fisher_fraction",
        "floor",
        "gae_lambda",
    }
    | {"gamma", "label_smoothing", "lr_floor", "lr_gamma", "max_bad", "shrink"}
)
"""Fractions in [0, 1]."""
SIGNED = frozenset({"log_std", "margin"})
"""Numbers that may be negative."""


def require_in_range(values: Mapping[str, Any], owner: type) -> None:
    """Refuse a number that no constructor of ours can mean, before it becomes a fault somewhere inside.

    Args:
        values: arguments by name, those of options in groups below the name of the group.
        owner: the class that takes them.

    Raises:
        ArgumentError: names the argument, its value and its range.
    """
    for name, value, kind in _typed(values, owner):
        if wanted := _fault(name.rpartition(".")[2], value, kind):
            raise ArgumentError(f"{owner.__name__}: {name}={value} must be {wanted}.")


def _typed(values: Mapping[str, Any], owner: type) -> Iterator[tuple[str, Any, Any]]:
    """Name, value and annotation of each argument that a class of ours declares."""
    declared: dict[str, Any] = {}
    for base in owner.__mro__:
        if base.__module__.partition(".")[0] in OURS and "__init__" in vars(base):
            for parameter in signature(vars(base)["__init__"]).parameters.values():
                grouped = is_dataclass(parameter.default)
                declared.setdefault(parameter.name, type(parameter.default) if grouped else parameter.annotation)
    for name, kind in declared.items():
        value = values.get(name, kind)  # what is not there is its own kind
        if is_dataclass(kind) and value is not kind:
            inside = value if isinstance(value, Mapping) else vars(value) if is_dataclass(value) else {}
            yield from ((f"{name}.{f.name}", inside[f.name], f.type) for f in fields(kind) if f.name in inside)
        elif value is not kind:
            yield name, value, kind


def _fault(name: str, value: Any, kind: Any) -> str | None:
    """What an argument has to be; None where it is."""
    kinds = get_args(kind) or (kind,)
    if value is None:
        simple = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}
        return None if NoneType in kinds else simple.get(kinds[0], "one of its choices" if get_args(kind) else None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value):
        return "finite"
    if name in SHARES:
        return None if 0 <= value <= 1 else "in [0, 1]"
    if name in SIGNED or not {int, float} & set(kinds):
        return None
    if int in kinds and float not in kinds:
        least = int(name not in FROM_ZERO)
        return None if value >= least else f"at least {least}"
    return None if value >= 0 else "0 or more"
