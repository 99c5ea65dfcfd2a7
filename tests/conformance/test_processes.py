"""Two processes on the same global batch give the numbers of one, through the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from .registry import REGISTRY

ROOT = Path(__file__).resolve().parents[2]


def fit(name, folder, *options):
    entry = REGISTRY[name]
    config = {
        "model": {"class_path": name, "init_args": dict(entry.tiny)},
        "data": {"class_path": entry.data, "init_args": dict(entry.tiny_data)},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 2,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
        },
    }
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-m", "lit_models", "fit", "-c", str(path), *options],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = folder / "version_0"
    assert [path.name for path in folder.iterdir()] == ["version_0"]  # one folder for both processes
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights, json.loads((run / "history.json").read_text()), json.loads((run / "results.json").read_text())


def numbers(column):
    """What was not measured counts as NaN."""
    return [float("nan") if value is None else value for value in column]


def require_equal(two, one):
    for key, value in one[0].items():
        torch.testing.assert_close(two[0][key], value, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    assert two[1].keys() == one[1].keys()
    for column in one[1].keys() - {"seconds", "train/steps_per_second", "summary", "moving_average"}:
        expected = pytest.approx(numbers(one[1][column]), rel=1e-4, abs=1e-6, nan_ok=True)
        assert numbers(two[1][column]) == expected, column
    assert two[2].keys() == one[2].keys()
    for metric, rows in one[2].items():
        expected = pytest.approx(numbers(rows.values()), rel=1e-4, abs=1e-6, nan_ok=True)
        assert numbers(two[2][metric].values()) == expected, metric


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_two_processes_equal_one(name, tmp_path):
    one = fit(name, tmp_path / "one")
    require_equal(fit(name, tmp_path / "two", "--trainer.strategy=ddp", "--trainer.devices=2"), one)
