"""The rules of the house that a machine can read."""

import ast
from pathlib import Path

import pytest

from . import house

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lit_models", "datamodules", "callbacks")
INTERNALS = "lightning_internals.py"
"""The one file that may know what Lightning keeps to itself; its tests say by name what it relies on."""
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


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_public_names_of_other_libraries_are_imported(path):
    for module, names in imports(path):
        parts = [*module.split("."), *names]
        if parts[0] in ("lightning", "jsonargparse", "torchmetrics", "torch"):
            assert not any(part.startswith("_") for part in parts), f"{module}: {names}"


@pytest.fixture(scope="module")
def known():
    return house.classes(ast.parse((ROOT / path).read_text()) for path in FILES)


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


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_has_outgrown_its_room(path):
    assert len((ROOT / path).read_text().splitlines()) <= 380
