"""Catalogue of modules, datamodules, callbacks and configs: ``litmotif list``, read from the sources unimported."""

import ast
from importlib.util import find_spec
from pathlib import Path

from jsonargparse import Namespace
from rich.markup import escape

from .. import configs
from ..package_paths import PACKAGES
from ..tables import print_sections
from .frame import Command


class List(Command):
    """Prints one line each."""

    def run(self, options: Namespace) -> None:
        """Print it."""
        named = dict(zip(("modules", "datamodules", "callbacks"), map(public_classes, PACKAGES), strict=True))
        named["configs"] = {name: configs.summary(configs.find(name)) for name in configs.names()}
        lists = {name: configs.find(f"{name}{configs.SERIES}") for name in configs.series_names()}
        named["series"] = {name: configs.summary(path) for name, path in lists.items()}
        print_sections({title: {name: escape(line) for name, line in of.items()} for title, of in named.items()})


def public_classes(package: str) -> dict[str, str]:
    """Public classes of a package with the first line of their docstrings, sorted."""
    spec = find_spec(package)
    root = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
    stub = ast.parse((root / "__init__.pyi").read_text())
    found: dict[str, str] = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            lines = _first_lines(root.joinpath(*node.module.split(".")).with_suffix(".py"))
            found |= {alias.name: lines[alias.name] for alias in node.names if alias.name in lines}
    return dict(sorted(found.items()))


def _first_lines(source: Path) -> dict[str, str]:
    classes = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)]
    return {node.name: (ast.get_docstring(node) or "").partition("\n")[0] for node in classes}
