"""``litmotif list``: what there is, one line each, read from the sources without importing them."""

import ast
from importlib.util import find_spec
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from . import configs
from .console import console
from .origins import PACKAGES


def public(package: str) -> dict[str, str]:
    """Public classes of a package with the first line of their docstrings."""
    spec = find_spec(package)
    root = Path((spec.submodule_search_locations or [""])[0]) if spec else Path()
    stub = ast.parse((root / "__init__.pyi").read_text())
    found: dict[str, str] = {}
    for node in stub.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            source = root.joinpath(*node.module.split(".")).with_suffix(".py")
            lines = _first_lines(source)
            found |= {alias.name: lines[alias.name] for alias in node.names if alias.name in lines}
    return found


def _first_lines(source: Path) -> dict[str, str]:
    lines = {}
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.ClassDef):
            lines[node.name] = (ast.get_docstring(node) or "").partition("\n")[0]
    return lines


def show() -> int:
    """Print the catalogue."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for package, title in zip(PACKAGES, ("modules", "datamodules", "callbacks"), strict=True):
        table.add_row(f"[cyan]{title}[/cyan]", "")
        for name, line in sorted(public(package).items()):
            table.add_row(f"  {name}", escape(line))
    table.add_row("[cyan]configs[/cyan]", "")
    for name in configs.names():
        table.add_row(f"  {name}", escape(configs.summary(configs.find(name))))
    table.add_row("[cyan]series[/cyan]", "")
    for name in configs.series_names():
        table.add_row(f"  {name}", escape(configs.summary(configs.find(f"{name}{configs.SERIES}"))))
    console().print(table)
    return 0
