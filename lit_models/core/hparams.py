"""Hyper-parameters: typed groups of options in the constructors, plain values in the checkpoints.

A group is a frozen dataclass that is the default of a parameter, such as ``optimizer=Optimizer(lr=1e-3)``; the same in
plain values, ``optimizer={"lr": 1e-3}``, is what YAML writes and a checkpoint holds.
"""

import inspect
from argparse import ArgumentError as ParserError
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from litmotif.bounds import DEPTH
from litmotif.errors import ArgumentError, ArgumentTypeError
from litmotif.names import nearest

PLAIN = (bool, int, float, str, type(None))
RENAMED = {
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "shard_optimizer": "optimizer.sharded",
    "lr_schedule": "schedule.name",
    "lr_interval": "schedule.interval",
    "lr_floor": "schedule.floor",
    "lr_gamma": "schedule.gamma",
    "sampling_steps": "sampling.steps",
    "sampler_options": "sampling.options",
    "text_encoder": "text.encoder",
    "text_size": "text.size",
    "margin_lr": "margin.lr",
    "critic_passes": "critics.passes",
    "critic_batch": "critics.batch",
    "policy_lr": "policy_steps.lr",
    "policy_passes": "policy_steps.passes",
    "policy_batch": "policy_steps.batch",
    "multiplier_lr": "multipliers.lr",
    "multiplier_start": "multipliers.start",
    "distil_weight": "distil.weight",
}
"""Keys of earlier versions that have another last name now; a field that has kept its name is found without."""


def parameters(owner: type) -> dict[str, inspect.Parameter]:
    """What a constructor takes, by itself or by what it hands on to its bases."""
    found: dict[str, inspect.Parameter] = {}
    for own in _signatures(owner):
        found |= {name: each for name, each in own.items() if each.kind in _NAMED and name not in found}
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in own.values()):
            break
    return {name: each for name, each in found.items() if name != "self"}


def groups(owner: type) -> dict[str, type]:
    """The groups among what a class and its bases take, by name."""
    defaults = {name: each.default for own in reversed(_signatures(owner)) for name, each in own.items()}
    return {name: type(default) for name, default in defaults.items() if is_dataclass(default)}


_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _signatures(owner: type) -> list[Mapping[str, inspect.Parameter]]:
    """The parameters of each constructor, those of the class before those of its bases."""
    own = [vars(base)["__init__"] for base in owner.__mro__ if "__init__" in vars(base) and base is not object]
    return [inspect.signature(each).parameters for each in own]


def keys(owner: type) -> list[str]:
    """What a constructor takes, as one writes it on the command line: ``seed``, ``optimizer.lr``."""
    inside = {name: [f"{name}.{field.name}" for field in fields(kind)] for name, kind in groups(owner).items()}
    return [key for name in parameters(owner) for key in inside.get(name, [name])]


def current(name: str, known: Sequence[str]) -> str | None:
    """What a key of an earlier version is called now; None for one that never was.

    Args:
        name: without a group before it.
        known: see ``keys``.
    """
    same = next((key for key in known if key.rpartition(".")[2] == name), None)
    return RENAMED[name] if RENAMED.get(name) in known else same


def hint(name: str, known: Sequence[str]) -> str:
    """A sentence with what an unknown key is called now, or was probably meant by it, with a blank before it."""
    if now := current(name, known):
        return f" It is {now!r} now."
    by_last_name = {key.rpartition(".")[2]: key for key in reversed(known)}
    near = nearest(name, by_last_name, count=1)
    return f" Did you mean {by_last_name[near[0]]!r}?" if near else f" There are: {', '.join(sorted(known))}."


def strangers(owner: type, names: Iterable[str]) -> str:
    """A sentence for each keyword that a constructor does not take, with what it is called now; empty for none."""
    unknown = [name for name in names if name not in parameters(owner)]
    return " ".join(f"{owner.__name__} has no {name!r}.{hint(name, keys(owner))}" for name in unknown)


def flat(owner: type, hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Plain hyper-parameters by ``keys``: the options of groups beside those that stand alone."""
    inside = {name: hparams[name] for name in groups(owner).keys() & hparams.keys()}
    options = {f"{name}.{key}": value for name, group in inside.items() for key, value in group.items()}
    return {name: value for name, value in hparams.items() if name not in inside} | options


def as_group(kind: type, value: Any, where: str) -> Any:
    """A group of options, from itself or from plain values; options that are left out have their defaults.

    Args:
        kind: its dataclass.
        value: an object of it, or a mapping.
        where: what it is called, for messages.

    Raises:
        TypeError: neither of both, or an unknown option.
        ValueError: a value that an option does not take.
    """
    if isinstance(value, kind):
        return value
    known = [field.name for field in fields(kind)]
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"{where}={value!r}: a group of options now. Give {known[0]} and the like inside it.")
    for name in value:
        if name not in known:
            raise ArgumentTypeError(f"{where} has no {name!r}.{hint(str(name), known)}")
    from jsonargparse import ArgumentParser  # only a group in plain values needs it

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--group", type=kind)
    try:
        return parser.instantiate(parser.parse_object({"group": dict(value)})).group
    except ParserError as error:
        raise ArgumentError(" ".join(str(error).split()).replace('Parser key "group', f'"{where}')) from error


def require_plain(hparams: Mapping[str, Any], owner: str) -> None:
    """Refuse any hyper-parameter that YAML could not write.

    A path, a NumPy number, a class or a module inside the hyper-parameters makes a checkpoint that
    ``torch.load(..., weights_only=True)`` cannot read.

    Args:
        hparams: names and values, nested at will.
        owner: the class that takes them, for the message.

    Raises:
        TypeError: names the offender, its type and the remedy.
    """
    for name, value in hparams.items():
        offender = _offender(value, str(name))
        if offender is not None:
            where, bad = offender
            raise ArgumentTypeError(
                f"{owner}({where}=...): {type(bad).__module__}.{type(bad).__qualname__} is no plain value. "
                "Give numbers, strings, bools, None, lists or dicts of these (e.g. str(path), float(x))."
            )


def _offender(value: Any, where: str) -> tuple[str, Any] | None:
    if isinstance(value, Mapping):
        pairs = [(f"{where}.{key}", item) for key, item in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        pairs = [(f"{where}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None if type(value) in PLAIN else (where, value)
    return next((found for name, item in pairs if (found := _offender(item, name))), None)


def unplain(value: Any) -> str:
    """What keeps a value from being plain, in words; empty where nothing does.

    A class that a parser would make of ``{"class_path": ...}`` is none either.
    """
    level = [value]
    for _ in range(DEPTH):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                if "class_path" in item:
                    return f"a class to be made ({str(item['class_path'])[:80]!r})"
                if bad := next((key for key in item if type(key) not in PLAIN), None):
                    return f"the key {str(bad)[:80]!r}"
                inside += item.values()
            elif isinstance(item, list | tuple):
                inside += item
            elif type(item) not in PLAIN:
                return f"a {type(item).__qualname__}"
        level = inside
    return "too many levels" if level else ""
