"""Argument parser: Lightning's, whose errors name the place, the key, and the name that was probably meant."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pkgutil import resolve_name
from typing import ClassVar, NoReturn

from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger

from litmotif.names import did_you_mean

from ..core.hparams import groups, hint, keys
from .hints import advice
from .source_location import Location, locations

ROOT_KEYS = (
    "seed_everything",
    "model",
    "data",
    "trainer",
    "ckpt_path",
    "weights_only",
    "verbose",
    "name",
    "test_after_fit",
)
HOMES = {
    "model": ("lit_models",),
    "data": ("datamodules",),
    "callbacks": ("callbacks", "lightning.pytorch.callbacks"),
    "logger": ("lightning.pytorch.loggers",),
}
"""Packages that the classes of a key come from."""
KINDS = {"model": LightningModule, "data": LightningDataModule, "callbacks": Callback, "logger": Logger}
"""What the class of a key has to be."""


class HintingParser(LightningArgumentParser):
    """Explains what is wrong in one line, and exits with status 2."""

    files: ClassVar[list[str]] = []
    """Config files of the request: the parser's own messages do not say which one they mean."""
    overrides: ClassVar[list[str]] = []
    """What stands on the command line besides configs."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Explain and exit."""
        request = (message, self.files, self.overrides)
        print(f"litmotif: {advice(*request) or explain(*request)}", file=sys.stderr)
        raise SystemExit(2) from ex


def explain(message: str, files: Sequence[str], overrides: Sequence[str]) -> str:
    """Rewrite a message of jsonargparse about a request, see ``locations``."""
    key = re.search(r"(?:accept option|Option) '([^']+)'|unrecognized arguments: --([^\s=]+)", message)
    if key:
        path = (key[1] or key[2]).split(".")
        found = [(word, each) for word in path for each in _owned(word, files, overrides)]
        wrong = [(word, each) for word, each in found if word not in {k.split(".")[0] for k in _keys(each, word)}]
        word, location = next(iter(wrong or found), (path[-1], None))
        return _sentence("there is no key", word, location, _keys(location, word))
    group = re.search(r"Parser key \"([^\"]+)\":\s*(?:Unable to load config|Expected a dict to be in)", message)
    if group:
        word = group[1].split(".")[-1]
        location = next((each for each in _owned(word, files, overrides) if each.path[-1] == word), None)
        options = [k for k in _keys(location, word) if k.startswith(f"{word}.")]
        if location and options:
            written = f"{location.key}{options[0].removeprefix(word)}"
            names = ", ".join(option.removeprefix(f"{word}.") for option in options)
            return f"{location.where}: {location.key} is a group of options: {names}. Did you mean {written!r}?"
    unknown = re.search(r"Expected a dot import path string: ([\w.]+)", message)
    if unknown:
        location = next(locations(unknown[1], files, overrides), None)
        classes = [candidate.__name__ for candidate in _public(location.path if location else tuple(HOMES))]
        return _sentence("there is no class", unknown[1], location, classes)
    value = re.search(r'Parser key "([^"]+)":', message)
    wanted = re.findall(r"Expected an? (.+?)(?:\. Got value|\.?$)", message, re.MULTILINE)
    given = re.findall(r"(?:Given|Got) value: (.+?)\.?$", message, re.MULTILINE)
    if value and wanted and given:
        name = value[1].split(".")[-1]
        same = (location for location in locations(given[-1], files, overrides) if location.path[-1] == name)
        location = next(same, None) or next(locations(name, files, overrides), None)
        where, key_path = (location.where, location.key) if location else ("the request", value[1])
        if name in HOMES and (fault := _import_fault(given[-1], files, overrides, KINDS[name])):
            return fault
        kinds = " or ".join(dict.fromkeys(_readable(kind) for kind in wanted))
        return f"{where}: {key_path} must be {kinds}, not {given[-1]}."
    missing = re.search(r"arguments are required: .*\b(?:model|data)\b", message)
    return f"{message}. Choose a config with -c NAME (litmotif list)." if missing else message


def _sentence(what: str, word: str, location: Location | None, candidates: Sequence[str]) -> str:
    if location is None:
        return f"the request: {what} {word!r}."
    return f"{location.where}: {what} {word!r}.{hint(word, [each for each in candidates if each != word])}"


def _owned(word: str, files: Sequence[str], overrides: Sequence[str]) -> Iterator[Location]:
    """Where the key ``word`` stands, on the command line with the class that the files name for its part."""
    classes = {each.path[0]: each.owner for each in reversed(list(locations("class_path", files, overrides)))}
    for location in locations(word, files, overrides):
        if word in location.path:
            yield location._replace(owner=location.owner or classes.get(location.path[0]))


def _import_fault(given: str, files: Sequence[str], overrides: Sequence[str], kind: type) -> str | None:
    """Fault of a class that a user brings along, a dotted name in ``given``: no import, or no ``kind``; else None."""
    named = re.search(r"(?:^|'class_path': ')([A-Za-z_]\w*(?:\.\w+)+)(?:'|$)", given)
    if named is None:
        return None
    path = named[1]
    package, _, name = path.rpartition(".")
    remedy, found = f'`python -c "from {package} import {name}"` shows where.', None
    try:
        found = resolve_name(path)
        fault = f"is no {kind.__name__}" if not (inspect.isclass(found) and issubclass(found, kind)) else None
    except Exception as error:  # whatever the user's own file raises
        fault = f"cannot be imported ({type(error).__name__}: {error})"
        if isinstance(error, ModuleNotFoundError) and error.name == path.partition(".")[0]:
            remedy = "Classes of your own are looked for in the current folder and on PYTHONPATH."
        elif isinstance(error, AttributeError):
            remedy = did_you_mean(name, dir(importlib.import_module(package)), count=1).strip() or remedy
    if fault is None:
        return None
    location = next(locations(path, files, overrides), None)
    where = f"{location.where}: {location.key}" if location else "the request"
    return f"{where}: {path} {fault}." + (f" {remedy}" if found is None else "")


def _readable(kind: str) -> str:
    choices = re.fullmatch(r"(?:typing\.)?Literal\[(.*)\]", kind)
    if choices:
        return "one of " + choices[1]
    return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", kind).replace("NoneType", "null")


def _keys(location: Location | None, word: str) -> list[str]:
    """Keys that may stand where ``word`` does."""
    if location is None or word == location.path[0]:
        return list(ROOT_KEYS)
    above = location.path[: location.path.index(word)]
    candidates = [Trainer] if above == ("trainer",) else _public(above)
    chosen = [c for c in candidates if c.__name__ == str(location.owner).rpartition(".")[2]]
    owners = chosen or candidates
    inside = [field.name for owner in owners if (kind := groups(owner).get(above[-1])) for field in fields(kind)]
    return list(dict.fromkeys(inside or [name for owner in owners for name in keys(owner)])) or list(ROOT_KEYS)


def _public(path: Sequence[str]) -> list[type]:
    homes = next((HOMES[key] for key in reversed(path) if key in HOMES), ())
    modules = [importlib.import_module(home) for home in homes]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    return [item for item in public if inspect.isclass(item)]
