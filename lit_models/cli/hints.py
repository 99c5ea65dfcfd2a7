"""What the parser found wrong, in the words of a person: the place, the key, and the name that was probably meant."""

import difflib
import importlib
import inspect
import re
from collections.abc import Sequence

from .places import Place, places

ROOT_KEYS = ("seed_everything", "model", "data", "trainer", "ckpt_path", "weights_only", "verbose", "test_after_fit")
HOMES = {
    "model": ("lit_models",),
    "data": ("datamodules",),
    "callbacks": ("callbacks", "lightning.pytorch.callbacks"),
    "logger": ("lightning.pytorch.loggers",),
}
"""Where the classes of a key come from."""


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
        found = [place for place in places(word, files, overrides) if word in place.path]
        wrong = [place for place in found if word not in _keys(place, word)]
        place = next(iter(wrong or found), None)
        return _sentence("there is no key", word, place, _keys(place, word))
    unknown = re.search(r"Expected a dot import path string: ([\w.]+)", message)
    if unknown:
        place = next(places(unknown[1], files, overrides), None)
        return _sentence("there is no class", unknown[1], place, _classes(place))
    value = re.search(r'Parser key "([^"]+)":', message)
    wanted = re.findall(r"Expected an? (.+?)(?:\. Got value|\.?$)", message, re.MULTILINE)
    given = re.findall(r"(?:Given|Got) value: (.+?)\.?$", message, re.MULTILINE)
    if value and wanted and given:
        name = value[1].split(".")[-1]
        same = [place for place in places(given[-1], files, overrides) if place.path[-1] == name]
        place = next(iter(same), None) or next(places(name, files, overrides), None)
        where, key_path = (place.where, place.key) if place else ("the request", value[1])
        kinds = " or ".join(dict.fromkeys(_readable(kind) for kind in wanted))
        return f"{where}: {key_path} must be {kinds}, not {given[-1]}."
    missing = re.search(r"arguments are required: .*\b(?:model|data)\b", message)
    return f"{message}. Choose a config with -c NAME (litmotif list)." if missing else message


def _sentence(what: str, word: str, place: Place | None, candidates: Sequence[str]) -> str:
    if place is None:
        return f"the request: {what} {word!r}."
    folded = {candidate.casefold(): candidate for candidate in candidates if candidate != word}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else f" There are: {', '.join(sorted(candidates))}."
    return f"{place.where}: {what} {word!r}.{hint}"


def _readable(kind: str) -> str:
    choices = re.fullmatch(r"(?:typing\.)?Literal\[(.*)\]", kind)
    if choices:
        return "one of " + choices[1]
    return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", kind).replace("NoneType", "null")


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
