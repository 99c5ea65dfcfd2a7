"""What all tests share."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINS = """
import os
import signal

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.demos.boring_classes import BoringModel


class Terminated(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        os.kill(os.getpid(), signal.SIGTERM)


def test_that_trains(tmp_path):
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    Trainer(max_steps=5, limit_val_batches=0, callbacks=[Terminated()], **options).fit(BoringModel())


def test_after_it():
    pass
"""


def test_terminated_tests_end_without_a_failure(tmp_path):
    (tmp_path / "test_trains.py").write_text(TRAINS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143, done.stdout
    assert "failed" not in done.stdout
    assert "passed" not in done.stdout
