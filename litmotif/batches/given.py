"""Batches as they are given: the typed batch of a module out of a dictionary, a tuple, or an object of these names."""

from collections.abc import Mapping
from typing import Any, get_type_hints

import torch

from ..errors import ArgumentTypeError


def as_batch(kind: Any, given: Any, owner: str) -> Any:
    """A batch of a kind.

    Args:
        kind: a NamedTuple, whose fields may be such again.
        given: one; a mapping with the names of its fields, or an object that has them; a tuple of them in order. What
            only numbers or names the rows (``item``, ``song``, ``captions``) may be left out.
        owner: who asks, for the message.

    Raises:
        ArgumentTypeError: lists the names.
    """
    if isinstance(given, kind):
        return given
    names, hints = kind._fields, get_type_hints(kind)
    if isinstance(given, Mapping):
        found = {name: given[name] for name in names if name in given}
    elif all(hasattr(given, name) for name in names if name not in DEFAULTS):
        found = {name: getattr(given, name) for name in names if hasattr(given, name)}
    elif isinstance(given, list | tuple) and not hasattr(given, "_fields"):
        found = dict(zip(names, given, strict=False))
    else:
        found = {}
    missing = [name for name in names if name not in found and name not in DEFAULTS]
    if missing:
        has = f" with {', '.join(map(str, given))}" if isinstance(given, Mapping) else ""
        raise ArgumentTypeError(
            f"{owner} cannot read a batch that is a {type(given).__name__}{has}: it lacks {', '.join(missing)}.",
            f"A batch is a {kind.__name__} (litmotif.batches), or a dictionary or tuple of its "
            f"{', '.join(names)}; {', '.join(name for name in names if name in DEFAULTS) or 'none'} may be left out.",
        )
    inner = {
        name: as_batch(hints[name], value, f"{owner}: {name}") if hasattr(hints[name], "_fields") else value
        for name, value in found.items()
    }
    tensors = [value for value in inner.values() if isinstance(value, torch.Tensor)]
    if not tensors:
        raise ArgumentTypeError(f"{owner} cannot read a batch without tensors: {', '.join(names)} are tensors.")
    rows, device = len(tensors[0]), tensors[0].device
    return kind(**{name: inner[name] if name in inner else DEFAULTS[name](rows, device) for name in names})


DEFAULTS: Mapping[str, Any] = {
    "item": lambda rows, device: torch.arange(rows, device=device),
    "song": lambda rows, device: torch.arange(rows, device=device),
    "floor": lambda rows, device: torch.full((rows,), torch.nan, device=device),
    "mission": lambda rows, device: torch.zeros(rows, 0, dtype=torch.int64, device=device),
    "captions": lambda rows, device: [""] * rows,
    "audio": lambda rows, device: None,
    "onsets": lambda rows, device: None,
}
"""What a batch is given where its fields are left out, by the number of its rows and their device."""
