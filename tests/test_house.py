"""The rules of the house that a machine can read."""

import ast
from pathlib import Path

import pytest

from .conformance.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lit_models", "datamodules", "callbacks")
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_one_way(path):
    if path.parts[:2] == ("lit_models", "cli"):
        return
    foreign = set(PACKAGES) - {path.parts[0]}
    roots = {module.partition(".")[0] for module, _ in imports(path)}
    assert not roots & foreign
    assert path.parts[0] not in roots, "inside a package imports are relative"


def test_no_room_of_data_imports_another():
    """A room is a folder with a datamodule; what two of them use lies beside them and imports none of them."""
    rooms = {path.parts[1] for path in FILES if path.parts[0] == "datamodules" and path.name == "datamodule.py"}
    assert rooms == {"minigrid", "motion", "music", "rollouts", "trajectories"}
    for path in (path for path in FILES if path.parts[0] == "datamodules"):
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                target = (*path.parts[: -node.level], *(node.module or "").split("."))
                assert not rooms.intersection(target[1:2]) - {path.parts[1]}, f"{path}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_public_names_of_other_libraries_are_imported(path):
    for module, names in imports(path):
        parts = [*module.split("."), *names]
        if parts[0] in ("lightning", "jsonargparse", "torchmetrics", "torch"):
            assert not any(part.startswith("_") for part in parts), f"{module}: {names}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_has_outgrown_its_room(path):
    assert len((ROOT / path).read_text().splitlines()) <= 400


def test_the_conformance_suite_knows_every_public_module():
    stub = ast.parse((ROOT / "lit_models" / "__init__.pyi").read_text())
    public = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name for name in public if name[0].isupper()} == set(REGISTRY)
