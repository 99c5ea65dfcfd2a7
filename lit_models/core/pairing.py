"""Pairing of a module with its data: what it is built for, and whether the data in hand is still that."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from litmotif.batches.given import as_batch
from litmotif.errors import ArgumentError, ArgumentTypeError

from .checkpoint import plain
from .hparams import parameters, strangers

STEPS = frozenset({"training_step", "validation_step", "test_step", "predict_step"})


class Described(type):
    """A class whose signature shows all that it takes, also what its bases do, and that says what it lacks."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """The arguments of the class and of its bases, those without a default first."""
        known = sorted(parameters(cls).values(), key=lambda each: each.default is not each.empty)
        return inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in known])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build one.

        Raises:
            ArgumentTypeError: an argument without a default is missing.
        """
        missing = [] if args else sorted(required(cls) - kwargs.keys())
        if missing:
            raise ArgumentTypeError(
                f"{cls.__name__}() needs {', '.join(missing)}.",
                f"{cls.__name__}.for_data(data) takes what it can from a datamodule.",
            )
        return super().__call__(*args, **kwargs)


def with_typed_batch(step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of a module that is given the typed batch of its class, whatever has its names came out of the loader."""

    @wraps(step)
    def typed(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(self).batch
        return step(self, batch if kind is None else as_batch(kind, batch, type(self).__name__), *args, **kwargs)

    return typed


def required(owner: type) -> set[str]:
    """Names of the arguments of a constructor that have no default."""
    return {name for name, each in parameters(owner).items() if each.default is each.empty}


def built_for(owner: type, data: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a module: what the data declares in its ``links``, its seed, and the options.

    Raises:
        ArgumentTypeError: an unknown option.
        ArgumentError: an option that the data decides, or one that is missing.
    """
    if unknown := strangers(owner, options):
        raise ArgumentTypeError(unknown)
    offered = {name: getattr(data, name) for name in getattr(data, "links", ()) if name in parameters(owner)}
    if twice := sorted(offered.keys() & options.keys()):
        raise ArgumentError(f"{owner.__name__}.for_data: {', '.join(twice)} comes from the data: leave it out.")
    if missing := sorted(required(owner) - offered.keys() - options.keys()):
        raise ArgumentError(
            f"{owner.__name__}.for_data: {type(data).__name__} declares no {', '.join(missing)} in its links.",
            "Give them as options, or other data.",
        )
    seed = getattr(data, "seed", None)
    seeded = {"seed": seed} if isinstance(seed, int) and "seed" in parameters(owner) else {}
    return offered | seeded | dict(options)


def require_pair(module: Any, data: Any, learns: bool) -> None:
    """Refuse data of other sizes than the module was built for, and to learn without the statistics of the data.

    Args:
        module: of ours.
        data: its datamodule in this run; None where it has loaders alone.
        learns: whether this is a fit.

    Raises:
        ArgumentError: names the arguments and both values.
    """
    owner = type(module)
    for name in getattr(data, "links", ()):
        if name not in parameters(owner):
            continue
        own, theirs = plain(module.hparams[name]), plain(getattr(data, name))
        if own is None and theirs and learns and name not in owner.dispensable:
            raise ArgumentError(
                f"{owner.__name__} was built without {name}, which {type(data).__name__} knows.",
                f"Build it with {owner.__name__}.for_data(data).",
            )
        if own and name in owner.architecture and own != theirs:
            told = f": {own} there, {theirs} here" if len(f"{own}{theirs}") < 100 else ""
            raise ArgumentError(
                f"{owner.__name__} was built for other data, {name} differs from that of {type(data).__name__}{told}.",
                f"Choose the data that it was built for, or build it with {owner.__name__}.for_data(data).",
            )


def require_precision(module: Any, precision: str) -> None:
    """Refuse a true precision that the module's own numbers cannot follow.

    Raises:
        ArgumentError: names it, and what to take.
    """
    if precision in module.unfit_precisions:
        raise ArgumentError(
            f"trainer.precision={precision}: {type(module).__name__} draws and standardises in single precision.",
            "Use 32-true, or bf16-mixed, which is as fast.",
        )
