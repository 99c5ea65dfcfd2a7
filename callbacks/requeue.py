"""A job that is warned by SLURM saves between two steps, is queued again, and goes on there later."""

import os
import shutil
import signal
import subprocess
from types import FrameType
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.exceptions import SIGTERMException

WARNING, END = signal.SIGUSR1, signal.SIGTERM


class Requeue(Checkpoint):
    """Answers SIGUSR1 (``#SBATCH --signal=SIGUSR1@120``) and SIGTERM (preemption, ``scontrol requeue``, ``scancel``).

    The handler only takes note. When the batch has ended, on whichever process a signal came, all of them save with
    each ``ModelCheckpoint(save_on_exception=True)``; after SIGUSR1 the first one asks SLURM to requeue the job; and the
    run stops with ``SIGTERMException``. It waits on while gradients accumulate or a validation follows, whose results
    would be lost: let the warning come earlier than a validation takes. In a test, which has nothing to save, it asks
    at once.

    Lightning's own answer saves and requeues inside the handler, in the middle of a step.

    Raises:
        MisconfigurationException: no checkpoint callback before this one saves on an exception.
    """

    def __init__(self) -> None:
        self._noted: set[int] = set()

    # ------------------------------------------------------------------ taking note
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look for what saves, and listen from the beginning."""
        if stage == "fit" and (not self._savers(trainer) or trainer.checkpoint_callbacks[-1] is not self):
            raise MisconfigurationException(
                "Requeue needs a ModelCheckpoint with save_on_exception: true listed before it, as in "
                "configs/defaults.yaml; append it with -c trainer/slurm."
            )
        signal.signal(WARNING, self._note)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over: Lightning's handler would talk to the other processes in the middle of their talk."""
        signal.signal(WARNING, self._note)
        signal.signal(END, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.add(number)

    # ------------------------------------------------------------------ between two steps
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave here, unless gradients are half accumulated or a validation or the end of the epoch follows."""
        stepped = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        over_epochs = trainer.check_val_every_n_epoch is None
        batches = 1 + (trainer.fit_loop.total_batch_idx if over_epochs else batch_idx)
        validates = batches % (trainer.val_check_batch or torch.inf) == 0
        ends = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch or trainer.global_step == trainer.max_steps
        if stepped and not validates and not ends:
            self._leave_if_told(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave here, after everything that belongs to the epoch."""
        self._leave_if_told(trainer, pl_module)

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Leave: the fit is saved, and the test is begun again."""
        if WARNING in self._noted and trainer.is_global_zero:
            _requeue()
            raise SIGTERMException

    def _leave_if_told(self, trainer: Trainer, pl_module: LightningModule) -> None:
        mine = 2 * (WARNING in self._noted) or int(END in self._noted)
        told = torch.tensor(mine, device=trainer.strategy.root_device)
        answer = int(trainer.strategy.reduce(told, reduce_op="max"))  # a signal does not reach all at the same time
        if not answer:
            return
        leaving = SIGTERMException(f"{(END, WARNING)[answer - 1].name} at step {trainer.global_step}")
        for saver in self._savers(trainer):
            saver.on_exception(trainer, pl_module, leaving)
        if answer == 2 and trainer.is_global_zero:
            _requeue()
        trainer.strategy.barrier()  # none ends before the job is queued: srun would end the others
        raise leaving

    def _savers(self, trainer: Trainer) -> list[ModelCheckpoint]:
        kept = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        return [callback for callback in kept if callback.save_on_exception]


def _requeue() -> None:
    """Ask SLURM; outside a job there is nobody to ask."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if "SLURM_ARRAY_JOB_ID" in os.environ:  # the number of one task may be that of the whole array
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    command = [shutil.which("scontrol") or "scontrol", "requeue", job]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", None) or error).strip()
        rank_zero_warn(f"Job {job} was saved but not requeued ({reason}): submit it again with --ckpt_path last.")
    else:
        rank_zero_info(f"Job {job} is saved and queued again.")
