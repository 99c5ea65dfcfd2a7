"""Private names of other libraries, found in the syntax of a file.

An underscore belongs to the file, or to the class, that defines it. Foreign objects are read by their public names, and
none of their attributes is set, but for the flags that are there to be set.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

LIBRARIES = ("lightning", "torchmetrics", "jsonargparse", "torch")
PUBLIC = {"_replace", "_asdict", "_fields", "_make", "_exit"}
"""Documented names that begin with an underscore: of named tuples and of ``os``."""
FOREIGN = {
    *("trainer", "pl_module", "fit_loop", "epoch_loop", "val_loop", "strategy", "logger", "loggers", "experiment"),
    *("metric", "metrics", "parser", "progress"),
}
"""What objects of other libraries are called here."""
SETTABLE = {"should_stop", "description"}
OF_STRINGS = {"getattr", "setattr", "delattr", "hasattr"}


def private(name: str) -> bool:
    """One underscore and no dunder."""
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__")) and name != "_"


def chain(node: ast.expr) -> list[str]:
    """``a.b[0].c`` as ``["a", "b", "c"]``."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    if isinstance(node, ast.Attribute):
        return [*chain(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else ["?"]


@dataclass
class Access:
    """One attribute of an object, by a dot or by a string."""

    line: int
    owner: list[str]
    name: str
    set: bool

    @property
    def own(self) -> bool:
        """On the object whose method this is."""
        return self.owner in (["self"], ["cls"], ["super"])

    @property
    def foreign(self) -> bool:
        """On something that another library has made."""
        return bool(FOREIGN & set(self.owner))


def accesses(tree: ast.AST) -> Iterator[Access]:
    """Every attribute that is read, set or deleted."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield Access(node.lineno, chain(node.value), node.attr, not isinstance(node.ctx, ast.Load))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_STRINGS:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else "?"
            yield Access(node.lineno, chain(node.args[0]), name, node.func.id in ("setattr", "delattr"))
        elif isinstance(node, ast.Subscript) and (held := _dictionary(node.value)) is not None:
            name = node.slice.value if isinstance(node.slice, ast.Constant) else "?"
            yield Access(node.lineno, chain(held), str(name), not isinstance(node.ctx, ast.Load))


def _dictionary(node: ast.expr) -> ast.expr | None:
    """The object of ``vars(object)`` or ``object.__dict__``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars" and node.args:
        return node.args[0]
    return node.value if isinstance(node, ast.Attribute) and node.attr == "__dict__" else None


def defined(tree: ast.AST) -> set[str]:
    """The private names that a file or class gives to its own objects, functions and classes."""
    functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return {n for n in functions | names | {a.name for a in accesses(tree) if a.set and a.own} if private(n)}


@dataclass
class Class:
    """A class of ours: its private names, and its bases as they are imported."""

    defines: set[str]
    bases: list[str]


def imported(tree: ast.AST) -> dict[str, str]:
    """``Name`` to ``module.Name`` of what a file imports."""
    whole = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    names = {alias.asname or alias.name: alias.name for node in whole for alias in node.names}
    return names | {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in parts for alias in node.names}


def classes(trees: Iterable[ast.Module]) -> dict[str, Class]:
    """All classes by their name."""
    found: dict[str, Class] = {}
    for tree in trees:
        names = imported(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                known = found.setdefault(node.name, Class(set(), []))
                known.defines |= defined(node)
                parts = [chain(base) for base in node.bases]
                known.bases += [".".join([names.get(first, first), *rest]) for first, *rest in parts]
    return found


@cache
def kept_to_itself(path: str) -> frozenset[str]:
    """The private names of a library's class and its bases."""
    module, _, name = path.rpartition(".")
    names: set[str] = set()
    for base in inspect.getmro(getattr(importlib.import_module(module), name)):
        if base.__module__.partition(".")[0] in LIBRARIES:
            names |= set(vars(base)) | set(re.findall(r"self\.(_[A-Za-z]\w*)", inspect.getsource(base)))
    return frozenset(filter(private, names))


def inherited(name: str, known: dict[str, Class]) -> tuple[set[str], set[str]]:
    """The private names that a class has from us, and those that it has from libraries."""
    ours, theirs = set(known[name].defines), set()
    for base in known[name].bases:
        if base.partition(".")[0] in LIBRARIES:
            theirs |= kept_to_itself(base)
        elif base in known and base != name:
            more = inherited(base, known)
            ours, theirs = ours | more[0], theirs | more[1]
    return ours, theirs


def violations(source: str, known: dict[str, Class]) -> list[str]:
    """What a file does that it may not, as ``line: object.name``."""
    tree = ast.parse(source)
    here, found = defined(tree), []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            ours, theirs = inherited(node.name, known)
            found += [a for a in accesses(node) if a.own and private(a.name) and a.name in theirs | ({a.name} - ours)]
            found += [Access(node.lineno, [node.name], name, True) for name in known[node.name].defines & theirs]
    for access in accesses(tree):
        if access.own or access.name in PUBLIC:
            continue
        unknown = private(access.name) and (access.foreign or access.name not in here)
        patched = access.set and access.foreign and access.name not in SETTABLE
        found += [access] * (unknown or patched)
    return sorted({f"{access.line}: {'.'.join(access.owner)}.{access.name}" for access in found})
