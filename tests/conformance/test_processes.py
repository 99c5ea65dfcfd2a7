"""Two processes on the same global batch give the numbers of one, through the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lit_models.core.registry import REGISTRY

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


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_two_processes_equal_one(name, tmp_path):
    one = fit(name, tmp_path / "one")
    two = fit(name, tmp_path / "two", "--trainer.strategy=ddp", "--trainer.devices=2")
    for key, value in one[0].items():
        torch.testing.assert_close(two[0][key], value, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    for column in ("train_loss", "val_loss", "val/nelbo", "val/success"):
        assert two[1][column] == pytest.approx(one[1][column], rel=1e-5), column
    assert two[2]["success"] == pytest.approx(one[2]["success"], abs=1e-6)
    assert two[2]["nelbo"] == pytest.approx(one[2]["nelbo"], rel=1e-5)
