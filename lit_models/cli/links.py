"""Links between data and module: what a datamodule declares, before the parser has seen which one a request names."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

import datamodules
from datamodules.core import BaseDataModule

from . import configs


def links_of(arguments: Sequence[str]) -> list[str]:
    """Names that the datamodule of a request declares as ``links``; those of all public ones where it names none.

    Args:
        arguments: of the command line: configs, which are files, and overrides.
    """
    named = [_resolved(path) for path in list(_class_paths(arguments))[-1:]]
    owners = [owner for owner in named or map(_resolved, datamodules.__all__) if owner is not None]
    return sorted({name for owner in owners for name in owner.links})


def _class_paths(arguments: Sequence[str]) -> Iterator[str]:
    """Whatever stands where the class of the data is named; the last one counts."""
    requested, overrides = configs.split(list(arguments))
    for file in requested:
        yield from _named((yaml.safe_load(Path(file).read_text()) or {}).get("data"))
    for token, behind in zip(overrides, [*overrides[1:], ""], strict=True):
        key, given, value = token.partition("=")
        if key in ("--data", "--data.class_path"):
            yield from _named(value if given else behind)


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, str) and Path(value).suffix in (".yaml", ".yml") and Path(value).is_file():
        value = yaml.safe_load(Path(value).read_text())
    name = value.get("class_path") if isinstance(value, dict) else value
    if isinstance(name, str):
        yield name


def _resolved(path: str) -> type[BaseDataModule] | None:
    """The class of this path, or the public one of this name; what cannot be imported is the parser's to report."""
    for candidate in (path, f"datamodules.{path}"):
        try:
            found = resolve_name(candidate)
        except (ImportError, AttributeError, ValueError):
            continue
        if isinstance(found, type) and issubclass(found, BaseDataModule):
            return found
    return None
