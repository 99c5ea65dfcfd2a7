"""An epoch that was interrupted is whole: its means, of which Lightning forgets a part, and its validation."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

Sums = dict[str, tuple[Tensor | float, Tensor | float]]
"""Sum and weight by the name under which Lightning keeps them; it never changes a tensor, but takes a new one."""


class EpochMeans(Callback):
    """Has a run that resumes in the middle of an epoch log the means of the whole epoch, to the last bit.

    Sums and weights of each process travel in the checkpoint. They are added to those of the first batch after the
    resume, which is exact: a + b is b + a. A checkpoint of the end of a batch or of an epoch is written before the
    loggers learn what it came to: that travels too, and is logged when the run goes on, for the second time if it lived
    long enough for that.

    A validation that an exception or Ctrl-C cuts off is done again from its first batch: Lightning would leave out the
    batches before, or all of it.
    """

    def __init__(self) -> None:
        self._before_batch: Sums = {}
        self._restored: Sums = {}
        self._kinds: dict[str, dict[str, Any]] = {}
        """How each of ``_restored`` was logged."""
        self._validation_failed = False
        self._unlogged: dict[str, Any] = {}
        self._step: int | None = None
        """Where the loggers will find what has just ended."""
        self._stepped: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the loggers may have missed."""
        self._validation_failed = False
        self._log_missed(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same where nothing was left to train."""
        self._log_missed(trainer)

    def _log_missed(self, trainer: Trainer) -> None:
        for logger in trainer.loggers if self._unlogged else ():
            logger.log_metrics(self._unlogged["metrics"], self._unlogged["step"])
            logger.save()
        self._unlogged = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The means of the epoch before are logged."""
        self._step = None
        if self._kinds:  # what was put back may have been logged by another number of processes
            _logged(trainer).clear()
            self._kinds = {}
        self._count_again(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on, a checkpoint has all batches of the epoch; put back what no batch has come to be added to."""
        for name in self._restored:
            kind = self._kinds[name]  # nothing, for Lightning to know the metric
            value = kind["value"].to(trainer.strategy.root_device)
            options = kind | {"value": value, "batch_size": 0, "sync_dist_fn": trainer.strategy.reduce}
            _logged(trainer).log(**options)
        self._add_restored(trainer)
        self._step = trainer.fit_loop.epoch_loop._batches_that_stepped - 1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember the sums without this batch: one that is cut off is drawn again."""
        self._before_batch = self._restored or _sums(trainer)
        self._step = None
        self._count_again(trainer)

    def _count_again(self, trainer: Trainer) -> None:
        """Lightning counts the batch of the checkpoint as one that stepped, also where it was cut off."""
        if self._stepped is not None:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._stepped
        self._stepped = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the sums of before, ahead of any callback that saves a checkpoint."""
        self._add_restored(trainer)
        logged = trainer._logger_connector.should_update_logs
        self._step = trainer.fit_loop.epoch_loop._batches_that_stepped if logged else None

    def _add_restored(self, trainer: Trainer) -> None:
        for name, (total, weight) in self._restored.items():
            metric: Any = _logged(trainer).get(name)
            if metric is not None:
                metric.value = metric.value + total
                if metric.meta.is_mean_reduction:
                    metric.cumulated_batch_size = metric.cumulated_batch_size + int(weight)
        self._restored = {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The batch before is logged; one that was cut off is not counted."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._step = None
            trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ahead of any callback that saves a checkpoint."""
        self._validation_failed = trainer.state.fn == "fit" and trainer.validating

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of this epoch, those of each process in a row: (W, K, 2) float64."""
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        if trainer.state.fn != "fit":
            return
        state = checkpoint["callbacks"][self.state_key] = self._to_be_logged(trainer)
        if progress.processed < progress.ready:
            state["stepped"] = trainer.fit_loop.epoch_loop._batches_that_stepped
        if self._validation_failed:
            _validate_again(checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"])
        if not (0 < progress.processed < trainer.num_training_batches or trainer.validating or self._restored):
            return
        sums = self._before_batch if progress.processed < progress.ready else self._restored or _sums(trainer)
        numbers = [(float(total), float(weight)) for total, weight in sums.values()]
        own = torch.tensor(numbers, dtype=torch.float64).view(-1, 2)
        if trainer.world_size > 1:
            gathered = trainer.strategy.all_gather(own.to(trainer.strategy.root_device))
            own = gathered.view(trainer.world_size, -1, 2)
        rows = own.view(trainer.world_size, -1, 2).cpu()
        kinds = self._kinds | {name: _kind(metric) for name, metric in _logged(trainer).items() if name in sums}
        state |= {"names": list(sums), "sums": rows, "kinds": kinds}

    def _to_be_logged(self, trainer: Trainer) -> dict[str, Any]:
        """What Lightning logs of the batch or epoch that has just ended, after this checkpoint or already before it."""
        metrics: Any = {} if self._step is None else trainer._logger_connector.metrics["log"]
        if not metrics:
            return {}
        known = {name: float(value) for name, value in metrics.items()} | {"epoch": trainer.current_epoch}
        return {"metrics": known, "step": self._step}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take back the own row; where the number of processes has changed, the first takes all."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        self._restored, self._unlogged, self._kinds = {}, {}, {}
        if not state or trainer.state.fn != "fit":
            return
        self._unlogged = {name: state[name] for name in ("metrics", "step") if name in state}
        self._stepped = state.get("stepped")
        if "sums" not in state:
            return
        rows: Tensor = state["sums"]
        self._kinds = state.get("kinds", {})
        same = len(rows) == trainer.world_size
        own = rows[trainer.global_rank] if same else rows.sum(dim=0) * trainer.is_global_zero
        self._restored = {name: (row[0], row[1]) for name, row in zip(state["names"], own.tolist(), strict=True)}


def _logged(trainer: Trainer) -> Any:
    """What the training loop accumulates: Lightning has no public name for it."""
    return trainer.fit_loop.epoch_loop._results


def _kind(metric: Any) -> dict[str, Any]:
    """How a metric was logged, and a zero of its type."""
    meta = metric.meta
    options = {name: getattr(meta, name) for name in ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch")}
    options |= {"reduce_fx": "mean" if meta.is_mean_reduction else "sum", "sync_dist": meta.sync.should}
    return options | {"value": torch.zeros_like(metric.value, device="cpu")}


def _validate_again(progress: dict[str, Any]) -> None:
    """Leave a validation at its beginning, in the state of which Lightning says that one was cut off."""
    done = progress["total"]["completed"] - progress["current"]["completed"]
    for name, count in (("total", done), ("current", 0)):
        progress[name] = {"ready": count + 1, "started": count + 1, "processed": count, "completed": count}


def _sums(trainer: Trainer) -> Sums:
    return {
        name: (metric.value, metric.cumulated_batch_size if metric.meta.is_mean_reduction else 0)
        for name, metric in _logged(trainer).items()
        if metric.is_tensor and metric.meta.on_epoch and not metric.has_reset
        if metric.meta.is_mean_reduction or metric.meta.is_sum_reduction
    }
