"""The rules of the house that a machine can read."""

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from . import house
from .conformance.registry import REGISTRY

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("litmotif", "lit_models", "datamodules", "callbacks")
INTERNALS = "lightning_internals.py"
"""The one file that may know what Lightning keeps to itself; its tests say by name what it relies on."""
FILES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


ALGORITHMS = ("cpo", "mdlm", "midi", "motion", "state_action")
SHARED = ("core", "diffusion", "layers")
"""Rooms of lit_models that every algorithm may import; of these, only core is imported by the others."""


def dotted(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in FILES}


def of_ours(path):
    """The modules of the three packages that a file imports: anywhere in it, and for types alone too."""
    package = path.parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            for name in (f"{module}.{alias.name}" for alias in node.names):
                yield name if name in MODULES else module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@cache
def tree(path):
    return ast.parse((ROOT / path).read_text())


def imports(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_one_way(path):
    if path.parts[:2] == ("lit_models", "cli"):
        return
    foreign = set(PACKAGES) - {path.parts[0], "litmotif"}
    roots = {module.partition(".")[0] for module, _ in imports(path)}
    assert not roots & foreign
    assert path.parts[0] not in roots, "inside a package imports are relative"


def test_no_room_of_data_imports_another():
    """A room is a folder with a datamodule; what two of them use lies beside them and imports none of them."""
    rooms = {path.parts[1] for path in FILES if path.parts[0] == "datamodules" and path.name == "datamodule.py"}
    assert rooms == {"minigrid", "motion", "music", "rollouts", "trajectories"}
    for path in (path for path in FILES if path.parts[0] == "datamodules"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                target = (*path.parts[: -node.level], *(node.module or "").split("."))
                assert not rooms.intersection(target[1:2]) - {path.parts[1]}, f"{path}, line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_public_names_of_other_libraries_are_imported(path):
    for module, names in imports(path):
        parts = [*module.split("."), *names]
        if parts[0] in ("lightning", "jsonargparse", "torchmetrics", "torch"):
            assert not any(part.startswith("_") for part in parts), f"{module}: {names}"


@pytest.mark.parametrize("room", [*ALGORITHMS, *SHARED])
def test_no_algorithm_imports_another(room):
    allowed = {room, *SHARED} if room in ALGORITHMS else {room, "core"}
    for path in (path for path in FILES if path.parts[:2] == ("lit_models", room)):
        for parts in (module.split(".") for module in of_ours(path)):
            assert parts[0] != "lit_models" or parts[1] in allowed, f"{path}: {'.'.join(parts)}"


def test_no_import_goes_in_a_circle():
    graph = {name: (set(of_ours(path)) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_errors_are_known_by_their_class():
    """The command prints a ``LitmotifError`` as a sentence; anything else is a defect, with its traceback."""
    plain = {"ValueError", "TypeError", "ImportError", "ModuleNotFoundError"}
    raised = [
        f"{path}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and getattr(node.exc.func, "id", "") in plain
    ]
    assert not raised


def lines(path):
    return len((ROOT / path).read_text().splitlines())


def test_files_are_short():
    assert median(map(lines, FILES)) <= 130
    assert not [str(path) for path in FILES if lines(path) > 380]


def test_no_room_of_the_models_holds_more_than_a_fifth_of_their_lines():
    rooms = Counter()
    for path in FILES:
        if path.parts[0] == "lit_models" and len(path.parts) > 2:
            rooms[path.parts[1]] += lines(path)
    assert rooms.keys() >= {*ALGORITHMS, *SHARED}
    assert not {room: count for room, count in rooms.items() if count > rooms.total() / 5}


def test_the_conformance_suite_knows_every_public_module():
    stub = ast.parse((ROOT / "lit_models" / "__init__.pyi").read_text())
    public = {alias.name for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {name for name in public if name[0].isupper()} == set(REGISTRY)


@pytest.fixture(scope="module")
def known():
    return house.classes(tree(path) for path in FILES)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # inside torch.distributed.optim
@pytest.mark.parametrize("path", [path for path in FILES if path.name != INTERNALS], ids=str)
def test_only_public_attributes_of_other_libraries_are_used(path, known):
    assert not house.violations((ROOT / path).read_text(), known)


PLANTED = {
    "a private attribute of what another library made": "def f(trainer):\n    return trainer.fit_loop._results",
    "one behind a call and an index": "def f(model):\n    return model.loops()[0]._results",
    "by its name as a string": "def f(trainer):\n    return getattr(trainer, '_results')",
    "through its dictionary": "def f(metric):\n    vars(metric)['_computed'] = None",
    "one that the base class keeps": "class Ours(LightningModule):\n    def f(self):\n        return self._trainer",
    "one of the base's base": "class Ours(Base):\n    def f(self):\n        return self._trainer",
    "one that is nobody's": "class Ours:\n    def f(self):\n        return self._nowhere",
    "set on the base class": "class Ours(LightningModule):\n    def f(self):\n        self._device = 1",
    "overridden": "class Ours(LightningModule):\n    def _on_before_batch_transfer(self):\n        pass",
    "of a metric": "class Ours(Metric):\n    def f(self):\n        self._computed = None",
    "a public attribute set on a foreign object": "def f(self):\n    self.trainer.callbacks = []",
    "the same by its name": "def f(logger, name):\n    setattr(logger, name, None)",
    "the same by its dictionary": "def f(logger):\n    logger.__dict__['save'] = None",
    "of a foreign function": "import torch\ntorch._foreach_lerp_()",
}
IMPORTS = "from lightning.pytorch import LightningModule\nfrom torchmetrics import Metric\n"
BASE = "class Base(LightningModule):\n    pass\n"


@pytest.mark.parametrize("source", PLANTED.values(), ids=PLANTED)
def test_the_checker_finds_what_is_planted(source):
    assert house.violations(source, house.classes([ast.parse(IMPORTS + BASE + source)]))


def test_the_checker_leaves_the_rest_alone():
    source = """
class Ours(Base):
    _kind = 0

    def __init__(self):
        self._known, self.__name__ = 1, ""

    def f(self, trainer, other, row):
        trainer.should_stop = True
        other.public = row._replace(a=self._known, b=other._known, c=trainer.fit_loop.epoch_loop.batch_idx)
        return self._kind, other.__dict__["weight"], getattr(trainer, "datamodule", None), super().f()
"""
    assert not house.violations(source, house.classes([ast.parse(IMPORTS + BASE + source)]))
