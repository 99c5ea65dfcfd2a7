"""A callback that stops a job in the middle of an epoch until the test has done to it what it wants."""

import os
import time
from pathlib import Path

from lightning.pytorch import Callback


class Pause(Callback):
    """In the first start of a job, waits before the step for a file ``go``; says where it is in ``reached_RANK``."""

    def __init__(self, step: int, folder: str, seconds: float = 120.0):
        self.step, self.folder, self.seconds = step, Path(folder), seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        first = "SLURM_RESTART_COUNT" not in os.environ and not (self.folder / "go").exists()
        if first and trainer.fit_loop.total_batch_idx + 1 == self.step:
            (self.folder / f"reached_{trainer.global_rank}").write_text(str(os.getpid()))
            deadline = time.monotonic() + self.seconds
            while not (self.folder / "go").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
