"""Links between data and module: what a datamodule declares, before the parser has seen which one a request names."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import datamodules

from . import configs

HOMES = {"model": "lit_models", "data": "datamodules"}
"""Packages whose classes go by their names alone."""


def links_of(arguments: Sequence[str]) -> list[str]:
    """Names that the datamodule of a request declares as ``links``; those of all public ones where it names none.

    Args:
        arguments: of the command line: configs, which are files, and overrides.
    """
    files, overrides = configs.split(list(arguments))
    named = class_path("data", files, overrides)
    owners = [_resolved("data", path) for path in ([named] if named else datamodules.__all__)]
    return sorted({name for owner in owners if owner for name in declared(owner)})


def declared(owner: type) -> tuple[str, ...]:
    """What a datamodule offers to a module; nothing, where it is a plain one of Lightning's."""
    return tuple(getattr(owner, "links", ()))


def class_path(part: str, files: Sequence[str], overrides: Sequence[str]) -> str | None:
    """Whatever stands last where the class of ``model`` or ``data`` is named; None where it is not."""
    return next(reversed(list(_class_paths(part, files, overrides))), None)


def named_class(part: str, files: Sequence[str], overrides: Sequence[str]) -> type | None:
    """The class of ``model`` or ``data`` that a request names; None where it names none that can be imported."""
    path = class_path(part, files, overrides)
    return _resolved(part, path) if path else None


def _class_paths(part: str, files: Sequence[str], overrides: Sequence[str]) -> Iterator[str]:
    for file in files:
        yield from _named(configs.read(Path(file)).get(part))
    for key, value in configs.options(overrides):
        if key in (f"--{part}", f"--{part}.class_path"):
            yield from _named(value)


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, str) and Path(value).suffix in (".yaml", ".yml") and Path(value).is_file():
        value = configs.read(Path(value))
    name = value.get("class_path") if isinstance(value, dict) else value
    if isinstance(name, str):
        yield name


def _resolved(part: str, path: str) -> type | None:
    """The class of this path, or the public one of this name; what cannot be imported is the parser's to report."""
    for candidate in (path, f"{HOMES[part]}.{path}"):
        try:
            found = resolve_name(candidate)
        except (ImportError, AttributeError, ValueError):
            continue
        if isinstance(found, type):
            return found
    return None
