"""Means of an epoch that was interrupted: Lightning forgets what the batches before a checkpoint have logged."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

Sums = dict[str, tuple[float, float]]
"""Sum and weight by the name under which Lightning keeps them."""


class EpochMeans(Callback):
    """Has a run that resumes in the middle of an epoch log the means of the whole epoch, to the last bit.

    Sums and weights of each process travel in the checkpoint. They are added to those of the first batch after the
    resume, which is exact: a + b is b + a. A checkpoint of the end of an epoch is written before the loggers learn its
    means: they travel too, and are logged when the run goes on, for the second time if it lived long enough for that.
    """

    def __init__(self) -> None:
        self._before_batch: Sums = {}
        self._restored: Sums = {}
        self._unlogged: dict[str, Any] = {}
        self._ending = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the loggers may have missed."""
        for logger in trainer.loggers if self._unlogged else ():
            logger.log_metrics(self._unlogged["means"], self._unlogged["step"])
            logger.save()
        self._unlogged = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The means of the epoch before are logged."""
        self._ending = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, a checkpoint has all batches of the epoch."""
        self._ending = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the sums without this batch: one that is cut off is drawn again."""
        self._before_batch = self._restored or _sums(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the sums of before, ahead of any callback that saves a checkpoint."""
        for name, (total, weight) in self._restored.items():
            metric: Any = _logged(trainer).get(name)
            if metric is not None:
                metric.value = metric.value + total
                if metric.meta.is_mean_reduction:
                    metric.cumulated_batch_size = metric.cumulated_batch_size + int(weight)
        self._restored = {}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of this epoch, those of each process in a row: (W, K, 2) float64."""
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        if trainer.state.fn == "fit" and self._ending and (means := _means(trainer)):
            step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1  # where Lightning will log them
            checkpoint["callbacks"][self.state_key] = {"means": means | {"epoch": trainer.current_epoch}, "step": step}
        if trainer.state.fn != "fit" or not 0 < progress.processed < trainer.num_training_batches:
            return
        sums = self._before_batch if progress.processed < progress.ready else _sums(trainer)
        own = torch.tensor(list(sums.values()), dtype=torch.float64).view(-1, 2)
        if trainer.world_size > 1:
            gathered = trainer.strategy.all_gather(own.to(trainer.strategy.root_device))
            own = gathered.view(trainer.world_size, -1, 2)
        rows = own.view(trainer.world_size, -1, 2).cpu()
        checkpoint["callbacks"][self.state_key] = {"names": list(sums), "sums": rows}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take back the own row; where the number of processes has changed, the first takes all."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        self._restored, self._unlogged = {}, {}
        if not state or trainer.state.fn != "fit":
            return
        if "means" in state:
            self._unlogged = state
            return
        rows: Tensor = state["sums"]
        same = len(rows) == trainer.world_size
        own = rows[trainer.global_rank] if same else rows.sum(dim=0) * trainer.is_global_zero
        self._restored = {name: (row[0], row[1]) for name, row in zip(state["names"], own.tolist(), strict=True)}


def _logged(trainer: Trainer) -> dict[str, Any]:
    """What the training loop accumulates: Lightning has no public name for it."""
    return trainer.fit_loop.epoch_loop._results


def _means(trainer: Trainer) -> dict[str, float]:
    """What Lightning is going to log of the epoch that has ended."""
    logged: dict[str, Any] = trainer._logger_connector.metrics["log"]
    return {name: float(value) for name, value in logged.items()}


def _sums(trainer: Trainer) -> Sums:
    accumulated = {
        name: (metric.value, metric.cumulated_batch_size if metric.meta.is_mean_reduction else 0)
        for name, metric in _logged(trainer).items()
        if metric.is_tensor and metric.meta.on_epoch and not metric.has_reset
        if metric.meta.is_mean_reduction or metric.meta.is_sum_reduction
    }
    return {name: (float(total), float(weight)) for name, (total, weight) in accumulated.items()}
