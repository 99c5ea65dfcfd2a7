"""What the parser found wrong, in the words of a person: the place, the key, and the name that was probably meant."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT_KEYS = ("seed_everything", "model", "data", "trainer", "ckpt_path", "weights_only", "verbose", "test_after_fit")
HOMES = {
    "model": ("lit_models",),
    "data": ("datamodules",),
    "callbacks": ("callbacks", "lightning.pytorch.callbacks"),
    "logger": ("lightning.pytorch.loggers",),
}
"""Where the classes of a key come from."""


class Place(NamedTuple):
    """Where a word stands: in which file and line or on the command line, below which keys, beside which class."""

    where: str
    path: tuple[str, ...]
    owner: str | None


def explain(message: str, files: Sequence[str], overrides: Sequence[str]) -> str:
    """Rewrite a message of the parser.

    Args:
        message: what the parser says.
        files: the config files of the request, in order.
        overrides: what stands on the command line besides them.
    """
    key = re.search(r"(?:accept option|Option) '([^']+)'|unrecognized arguments: --([^\s=]+)", message)
    if key:
        path = (key[1] or key[2]).split(".")
        word = path[0] if path[0] not in ROOT_KEYS else path[-1]
        place = _locate(word, files, overrides)
        return _sentence("there is no key", word, place, _keys(place, word))
    name = re.search(r"Expected a dot import path string: ([\w.]+)", message)
    if name:
        place = _locate(name[1], files, overrides)
        return _sentence("there is no class", name[1], place, _classes(place))
    value = re.search(r'Parser key "([^"]+)":\s*(Expected [^\n]+)', message)
    if value:
        place = _locate(value[1].split(".")[-1], files, overrides)
        return f"{place.where if place else 'somewhere'}: {value[1]}: {_readable(value[2])}."
    broken = next((file for file in files if not _parses(file)), None)
    return f"{broken} is no valid YAML: {_one_line(message)}" if broken else message


def _sentence(what: str, word: str, place: Place | None, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, candidates, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else f" There are: {', '.join(sorted(candidates))}."
    return f"{place.where if place else 'the request'}: {what} {word!r}.{hint}"


def _readable(expectation: str) -> str:
    return re.sub(r"<class '([^']+)'>", r"\1", expectation).rstrip(".")


def _one_line(message: str) -> str:
    return " ".join(message.removeprefix("Problems parsing config: ").split())


def _parses(file: str) -> bool:
    try:
        yaml.safe_load(Path(file).read_text())
    except yaml.YAMLError:
        return False
    return True


# ---------------------------------------------------------------------- where a word stands
def _locate(word: str, files: Sequence[str], overrides: Sequence[str]) -> Place | None:
    for token in overrides:
        path = tuple(token.partition("=")[0].removeprefix("--").removesuffix("+").split("."))
        if word in path or token.endswith(("=" + word, "." + word)) or token == word:
            return Place("command line", path if token != word else _before(overrides, token), None)
    for file in reversed(files):
        node = yaml.compose(Path(file).read_text()) if _parses(file) else None
        for path, line, owner, text in _walk(node, (), None):
            if word in (path[-1:] or ("",))[0] or text == word:
                return Place(f"{file}, line {line}", path, owner)
    return None


def _before(overrides: Sequence[str], token: str) -> tuple[str, ...]:
    return tuple(overrides[max(0, list(overrides).index(token) - 1)].removeprefix("--").split("."))


def _walk(
    node: Any, path: tuple[str, ...], owner: str | None
) -> Iterator[tuple[tuple[str, ...], int, str | None, str | None]]:
    if isinstance(node, yaml.MappingNode):
        names = {key.value: value for key, value in node.value}
        own = names["class_path"].value if "class_path" in names else owner
        for key, value in node.value:
            text = value.value if isinstance(value, yaml.ScalarNode) else None
            here = (*path, key.value.removesuffix("+"))
            yield here, key.start_mark.line + 1, own, text
            yield from _walk(value, here, own)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _walk(item, path, owner)


# ---------------------------------------------------------------------- what could stand there
def _keys(place: Place | None, word: str) -> list[str]:
    if place is None or word == place.path[0]:
        return list(ROOT_KEYS)
    above = place.path[: place.path.index(word)]
    if above == ("trainer",):
        return _parameters(importlib.import_module("lightning.pytorch").Trainer)
    candidates = _public(above)
    chosen = [c for c in candidates if c.__name__ == str(place.owner).rpartition(".")[2]]
    names = {name for candidate in chosen or candidates for name in _parameters(candidate)}
    return sorted(names) or list(ROOT_KEYS)


def _classes(place: Place | None) -> list[str]:
    return [candidate.__name__ for candidate in _public(place.path if place else tuple(HOMES))]


def _public(path: Sequence[str]) -> list[type]:
    homes = next((HOMES[key] for key in reversed(path) if key in HOMES), ())
    modules = [importlib.import_module(home) for home in homes]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    return [item for item in public if inspect.isclass(item)]


def _parameters(owner: type) -> list[str]:
    names = []
    for base in owner.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
    return [name for name in names if name != "self"]
