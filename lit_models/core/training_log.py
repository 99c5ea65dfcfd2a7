"""Training scalars: values of steps, and means of an epoch weighted by rows, which outlive a kill."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from .lightning_internals import epoch_is_whole, record_step, steps_now, steps_owed

Sums = dict[tuple[str, ...], tuple[Tensor, int]]
"""Sums (K,) and their weight by the K names that are logged together; nothing of it is ever changed in place."""


@dataclass
class _Epoch:
    """What is known of the batches of an epoch.

    Attributes:
        number: of the epoch.
        sums: of the batches so far.
        batches: training batches of the run before the latest one.
        before: the sums without those since the latest step, which are drawn again where an exception cuts it off.
        latest: values of its step.
    """

    number: int = -1
    sums: Sums = field(default_factory=dict)
    batches: int = -1
    before: Sums = field(default_factory=dict)
    latest: dict[str, Tensor | float] = field(default_factory=dict)


class TrainingLog(LightningModule):
    """Logs what ``training_step`` finds: a call of Lightning's ``log`` takes 0.1 to 0.3 ms a scalar and step.

    The sums of an epoch are the module's own and travel in its checkpoints, those of each process in a row: a run that
    goes on in the middle of an epoch logs the means of the whole epoch, to the last bit. The loggers are told before a
    checkpoint is written, so that no record is lost; one may be there twice, with the same value.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = _Epoch()
        self._resumed = False

    @property
    def batches_so_far(self) -> int:
        """Training batches before this one, those of the runs that this one resumes included.

        A batch that an exception cut off does not count: it is drawn again, with the same random numbers.
        """
        total: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(total.processed)

    @property
    def latest_step(self) -> dict[str, Tensor | float]:
        """What the latest batch has logged as values of its step; ``trainer.callback_metrics`` has it of an epoch."""
        return dict(self._epoch.latest)

    # ------------------------------------------------------------------ in a step
    def log_means(self, values: Mapping[str, Tensor], rows: int, each_step: Collection[str] = ("train/loss",)) -> None:
        """Add the scalars of a batch to the means of its epoch.

        Args:
            values: scalars by name.
            rows: weight of this batch: the rows that the scalars are means of.
            each_step: names of those that are also logged as ``NAME_step``, and whose mean as ``NAME_epoch``.
        """
        epoch, names = self._epoch_of_this_batch(), tuple(values)
        row = torch.stack([value.detach() for value in values.values()])
        total, weight = epoch.sums.get(names) or (torch.zeros_like(row, dtype=_precise(row.device)), 0)
        epoch.sums = epoch.sums | {names: (torch.add(total, row, alpha=rows), weight + rows)}
        steps = {f"{name}_step": values[name].detach() for name in each_step if name in values}
        if steps:
            self.log_steps(steps, shown=steps.keys(), sync_dist=True)

    def log_steps(
        self, values: Mapping[str, Tensor | float], shown: Collection[str] = (), sync_dist: bool = False
    ) -> None:
        """Log scalars of this batch as they are, every ``trainer.log_every_n_steps``.

        Args:
            values: scalars by name.
            shown: names of those that the progress bar shows, at these steps and the first of an epoch.
            sync_dist: log the mean over the processes.
        """
        trainer: Any = self.trainer
        self._epoch_of_this_batch().latest |= values
        step, every = record_step(trainer), trainer.log_every_n_steps
        due = every and (step + 1) % every == 0 and steps_now(trainer)
        if due:
            self._record(values, step, sync_dist)
        if not (due or trainer.fit_loop.epoch_loop.batch_idx == 0):
            return
        for name in (name for name in values if name in shown):
            self.log(name, values[name], True, False, on_step=True, on_epoch=False, batch_size=1, sync_dist=sync_dist)

    def _epoch_of_this_batch(self) -> _Epoch:
        done = self.batches_so_far
        if self._epoch.number != self.trainer.current_epoch:
            self._epoch = _Epoch(self.trainer.current_epoch)
        if self._epoch.batches != done:
            before = self._epoch.before if steps_owed(self.trainer) else self._epoch.sums
            self._epoch = replace(self._epoch, batches=done, before=before, latest={})
        return self._epoch

    def _record(self, values: Mapping[str, Tensor | float], step: int, sync_dist: bool = False) -> None:
        """Tell the loggers, as Lightning does."""
        if sync_dist and self.trainer.world_size > 1:
            table = torch.stack([torch.as_tensor(value, device=self.device) for value in values.values()])
            values = dict(zip(values, self.trainer.strategy.reduce(table, reduce_op="mean"), strict=True))
        for logger in self.trainer.loggers:
            told = {name: float(value) for name, value in values.items()}
            logger.log_metrics(told | {"epoch": self.trainer.current_epoch}, step)
            logger.save()

    # ------------------------------------------------------------------ at the end of an epoch
    def on_train_epoch_end(self) -> None:
        """Log the means over all processes, and let callbacks see the values of the last step."""
        epoch = self._epoch
        if epoch_is_whole(self.trainer):  # else the run that goes on adds to it
            self._epoch = _Epoch()
        if epoch.number != self.trainer.current_epoch:
            return
        means = self._means(epoch.sums)
        known = {f"{name}_epoch" if f"{name}_step" in epoch.latest else name: mean for name, mean in means.items()}
        if known:
            self._record(known, record_step(self.trainer) - 1)
        for name, value in (epoch.latest | means | known).items():
            shown = name.endswith("_epoch")
            self.log(name, value, prog_bar=shown, logger=False, on_epoch=True, batch_size=1, sync_dist=True)

    def _means(self, sums: Sums) -> dict[str, Tensor]:
        rows: dict[str, Any] = {}
        for names, (totals, weight) in sums.items():
            for name, total in zip(names, totals, strict=True):
                rows[name] = rows.get(name, 0) + torch.stack((total, torch.full_like(total, weight)))
        if not rows:
            return {}
        table: Any = self.trainer.strategy.reduce(torch.stack([*rows.values()]), reduce_op="sum")  # (K, 2)
        return dict(zip(rows, (table[:, 0] / table[:, 1]).float(), strict=True))

    # ------------------------------------------------------------------ in checkpoints
    def save_training_log(self) -> dict[str, Any]:
        """Sums of each process (W, K, 2) float64 and their names, and the values of the latest step."""
        trainer, epoch = self.trainer, self._epoch
        done = self.batches_so_far > epoch.batches and not steps_owed(trainer)
        sums = epoch.sums if done else epoch.before
        latest = {name: float(value) for name, value in epoch.latest.items()}
        state = {"epoch": epoch.number, "latest": latest, "names": [list(names) for names in sums]}
        if not sums:
            return state
        own = torch.cat([torch.stack((t, torch.full_like(t, weight)), dim=1) for t, weight in sums.values()])
        rows = own.new_zeros(trainer.world_size, *own.shape)
        rows[trainer.global_rank] = own
        gathered: Any = trainer.strategy.reduce(rows, reduce_op="sum")
        return state | {"sums": gathered.double().cpu()}

    def restore_training_log(self, state: dict[str, Any]) -> None:
        """Take back the own row; where the number of processes has changed, the first takes all."""
        self._epoch, self._resumed = _Epoch(), True
        if not state:
            return
        self._epoch.number, self._epoch.latest = state["epoch"], dict(state["latest"])
        if "sums" in state:
            rows: Tensor = state["sums"]
            same = len(rows) == self.trainer.world_size
            own = rows[self.global_rank] if same else rows.sum(dim=0) * self.trainer.is_global_zero
            device = self.trainer.strategy.root_device
            parts = torch.split(own.to(device, _precise(device)), [len(names) for names in state["names"]])
            groups = zip(state["names"], parts, strict=True)
            self._epoch.sums = {tuple(names): (part[:, 0], int(part[0, 1])) for names, part in groups}

    def on_train_start(self) -> None:
        """Begin anew, unless a checkpoint was read."""
        if not self._resumed:
            self._epoch = _Epoch()
        self._resumed = False


def _precise(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
