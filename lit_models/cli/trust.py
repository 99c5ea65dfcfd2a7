"""Trust in a request: whose classes a config may name, and where it may hold plain values only.

A config chooses among code that is here for that: ours, Lightning's, PyTorch's, plug-ins', the user's own. Whatever
else is installed, the standard library first of all, can start programs, and needs ``--trust`` on the command line.
"""

import inspect
import re
import site
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml

from .configs import ConfigError, read

FLAG = "--trust"
OURS = ("litmotif", "lit_models", "datamodules", "callbacks")
LIBRARIES = ("lightning", "torch", "torchmetrics")
PLUGINS = "litmotif"
"""Groups of entry points that begin so register plug-ins."""
CLASS, ARGUMENTS = "class_path", ("init_args", "dict_kwargs")


class UntrustedError(ConfigError):
    """A request that would run code of others; the message names it, and what to do."""


# ---------------------------------------------------------------------- whose code it is
def is_trusted(path: str) -> bool:
    """Whether a config may name a class of this dotted path; one without a dot is one of those already imported."""
    root, dot, _ = path.partition(".")
    return not dot or root in LIBRARIES or is_own(root)


@cache
def is_own(root: str) -> bool:
    """Ours, a plug-in's, or the user's: what lies neither in the standard library nor where packages are installed."""
    groups = (group for group in entry_points().groups if group.startswith(PLUGINS))
    plugins = {point.module.partition(".")[0] for group in groups for point in entry_points(group=group)}
    if root in OURS or root in plugins:
        return True
    places = _places(root)
    return bool(places) and not any(place.is_relative_to(home) for place in places for home in _installed())


def _places(root: str) -> list[Path]:
    try:
        found: ModuleSpec | None = find_spec(root)
    except (ImportError, ValueError):
        found = None
    origins = [found.origin, *(found.submodule_search_locations or [])] if found else []
    return [Path(origin).resolve() for origin in origins if origin and Path(origin).exists()]


def _installed() -> list[Path]:
    known = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    keep = {sysconfig.get_path(name) for name in ("scripts", "data", "include", "platinclude")}
    return [Path(folder).resolve() for folder in known - keep]


# ---------------------------------------------------------------------- before anything is imported
def require_trusted_names(files: Sequence[str], overrides: Sequence[str]) -> None:
    """Refuse classes of others in the text of a request, before the parser imports them.

    Args:
        files: its configs, and what these name.
        overrides: what stands on the command line besides them.

    Raises:
        UntrustedError: names the class and the file.
    """
    for file in files:
        _require_names(read(Path(file)), file, {Path(file).resolve()})
    for token in overrides:
        key, given, value = token.partition("=")
        text = value if given and key.startswith("--") else token
        try:
            content = yaml.safe_load(text) if re.search(r"[:{\[]", text) else text
        except (yaml.YAMLError, ValueError, RecursionError):
            continue  # the parser's to refuse
        _require_names({key.rpartition(".")[2].lstrip("-"): content}, "the command line", set())


def _require_names(content: Any, where: str, seen: set[Path]) -> None:
    for key, value in _pairs(content):
        if key == CLASS and isinstance(value, str):
            _require(value, where)
        elif isinstance(value, str) and value.endswith((".yaml", ".yml")) and Path(value).is_file():
            file = Path(value).resolve()
            if file not in seen:
                _require_names(read(file), value, seen | {file})


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield str(key), value
            yield from _pairs(value)
    elif isinstance(content, list | tuple):
        for item in content:
            yield "", item
            yield from _pairs(item)


def _require(path: str, where: str) -> None:
    if not is_trusted(path):
        raise UntrustedError(
            f"{where}: {path} is a class of neither this package, Lightning, PyTorch, a plug-in, nor your own project.",
            f"A config can run whatever it names: read it, and if you trust it, add {FLAG}.",
        )


# ---------------------------------------------------------------------- before anything is made
def require_plain_options(config: Any) -> None:
    """Refuse what a parameter without a type of its own, or one that takes functions, would turn into code.

    Args:
        config: as the parser has resolved it, with what a checkpoint has said.

    Raises:
        UntrustedError: names the class and the parameter.
    """
    for spec in _specs(config):
        path = str(spec[CLASS])
        _require(path, "the request")
        try:
            owner = resolve_name(path)
        except (ImportError, AttributeError, ValueError):
            continue  # the parser has refused it
        types = _annotations(owner)
        for key in ARGUMENTS:
            for name, value in _items(spec.get(key)):
                kind, default = types.get(name, ("Any", None)) if key == "init_args" else ("Any", None)
                if re.search(r"\bAny\b", kind) and any(True for _ in _specs(value)):
                    raise UntrustedError(f"{path}: {name} takes plain values, no {CLASS}.", "Write numbers and words.")
                if "Callable" in kind and value is not None and value is not default and not _is_own_function(value):
                    raise UntrustedError(
                        f"{path}: {name} takes a function, and {value!r} is none of your own project.",
                        f"If you trust it, add {FLAG}.",
                    )


def _is_own_function(value: Any) -> bool:
    path = value if isinstance(value, str) else getattr(value, CLASS, None) or getattr(value, "__module__", "")
    return "." in f"{path}." and is_own(str(path).partition(".")[0])


def _annotations(owner: Any) -> dict[str, tuple[str, Any]]:
    """Types of what a constructor takes, as they are written, and defaults; ``Any`` where there is no type."""
    found: dict[str, tuple[str, Any]] = {}
    for base in reversed(getattr(owner, "__mro__", [owner])):
        made = vars(base).get("__init__") if inspect.isclass(base) else base
        if not inspect.isfunction(made):
            continue
        for name, parameter in inspect.signature(made).parameters.items():
            untyped = parameter.annotation is inspect.Parameter.empty
            found[name] = ("Any" if untyped else str(parameter.annotation), parameter.default)
    return found


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    value = vars(value) if hasattr(value, "__dict__") and not isinstance(value, Mapping) else value
    return value.items() if isinstance(value, Mapping) else ()


def _specs(value: Any) -> Iterator[Any]:
    """Every class with its arguments, at any depth."""
    if isinstance(value, list | tuple | set):
        for item in value:
            yield from _specs(item)
        return
    pairs = dict(_items(value)) if not isinstance(value, type) and not inspect.isroutine(value) else {}
    if CLASS in pairs:
        yield pairs
    for item in pairs.values():
        yield from _specs(item)


def on_command_line(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether ``--trust`` stands there, and the other arguments: a config cannot say it for itself."""
    return FLAG in arguments, [token for token in arguments if token != FLAG]
