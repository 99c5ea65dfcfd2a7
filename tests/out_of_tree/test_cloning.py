"""A project of its own that brings a module along: a folder of two files, the command, and nothing of ours touched."""

import ast
import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from datamodules import MiniGridPlans
from lit_models.cli import main
from litmotif import testing

PROJECT = Path(__file__).parent / "cloning"
PACKAGES = ("litmotif", "lit_models", "datamodules", "callbacks")
TINY = [
    *("--data.env=MiniGrid-Empty-5x5-v0", "--data.train=20", "--data.val=0", "--data.test=6"),
    *("--data.batch_size=4", "--data.steps_per_epoch=5", "--model.hidden_size=16", "--model.optimizer.lr=0.05"),
    *("--trainer.accelerator=cpu", "--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=1"),
    *("--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"),
]
FIT = ["fit", "-c", "cloning.yaml", *TINY]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy elsewhere, that no import reaches but from the current folder, as for the installed command."""
    folder = Path(shutil.copytree(PROJECT, tmp_path / "project"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(folder))])
    yield folder
    sys.modules.pop("cloning", None)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_the_command_trains_and_judges_it(project, capsys):
    assert main(FIT) == 0, capsys.readouterr().err
    assert sys.path.index("") == len(sys.path) - 1  # a file of the project's shadows nothing
    assert Path(sys.modules["cloning"].__file__).parent.samefile(project)
    results = json.loads(Path("runs/cloning/version_0/results.json").read_text())
    assert results["success"].keys() == {"value", "low", "high", "random", "copy", "expert"}
    assert results["success"]["low"] <= results["success"]["value"] <= results["success"]["high"]
    assert results["success"]["expert"] == 1.0
    history = json.loads(Path("runs/cloning/version_0/history.json").read_text())
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert all(value is not None for value in history["val/success"])


def test_a_resumed_run_equals_an_uninterrupted_one_and_its_checkpoint_needs_no_arguments(project, capsys):
    fit = [*FIT, "--test_after_fit=false"]
    assert main([*fit, "--trainer.default_root_dir=whole"]) == 0, capsys.readouterr().err
    assert main([*fit, "--trainer.default_root_dir=parts", "--trainer.max_epochs=1"]) == 0
    assert main([*fit, "--trainer.default_root_dir=parts", "--ckpt_path=last"]) == 0
    whole, parts = (Path(name, "version_0/checkpoints/last.ckpt") for name in ("whole", "parts"))
    trained, resumed = weights(whole), weights(parts)
    assert trained.keys() == resumed.keys()
    assert all(torch.equal(trained[key], resumed[key]) for key in trained)
    again = sys.modules["cloning"].Cloning.load_from_checkpoint(whole, weights_only=True)
    assert again.hparams["view_size"] == [5, 5]  # from the data, by its links
    assert all(torch.equal(trained[key], value) for key, value in again.state_dict().items())


def test_another_architecture_is_refused(project, capsys):
    assert main([*FIT, "--test_after_fit=false"]) == 0, capsys.readouterr().err
    assert main([*FIT, "--ckpt_path=last", "--model.hidden_size=8"]) == 1
    assert "hidden_size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("class_path: cloning.Cloning", "class_path: clonin.Cloning", ["'clonin'", "current folder"]),
        ("class_path: cloning.Cloning", "class_path: cloning.Clonin", ["'Clonin'", "Did you mean 'Cloning'?"]),
        ("import torch\n", "import torch\nimport nothing_there\n", ["'nothing_there'", "from cloning import Cloning"]),
        ("import torch\n", "import = torch\n", ["SyntaxError", "cloning.py, line 3"]),
    ],
)
def test_a_class_that_cannot_be_imported_is_told_with_its_reason(old, new, words, project, capsys):
    for path in project.iterdir():
        path.write_text(path.read_text().replace(old, new))
    assert main(FIT) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ["cloning.yaml, line 4: model.class_path: ", "cannot be imported", *words]), err


def test_it_keeps_the_laws_that_ours_keep(project, monkeypatch):
    monkeypatch.syspath_prepend(str(project))
    tiny = {"env": "MiniGrid-Empty-5x5-v0", "train": 20, "test": 6, "batch_size": 4, "steps_per_epoch": 5}
    cloning = importlib.import_module("cloning")
    testing.check(cloning.Cloning, MiniGridPlans, {"hidden_size": 16}, tiny)


def test_it_is_short():
    assert sum(len(path.read_text().splitlines()) for path in PROJECT.iterdir() if path.is_file()) <= 80


def test_it_takes_public_names_only():
    for node in ast.walk(ast.parse((PROJECT / "cloning.py").read_text())):
        names = [node.attr] if isinstance(node, ast.Attribute) else []
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in PACKAGES:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        assert not [name for name in names if name.startswith("_") and name != "__init__"]
