"""The thin base of every algorithm: plain hyper-parameters, AdamW and a schedule, seeded steps, honest failures."""

from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities.types import OptimizerLRScheduler, OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from . import optim
from .checkpoint import describe, require_fit
from .hparams import require_plain
from .seeding import generator, mix


class NonFiniteLossError(RuntimeError):
    """The loss was NaN or infinite; the weights are those before the step."""


class BaseModule(LightningModule):
    """What every module shares; a subclass adds its network, its steps and its metrics.

    The hyper-parameters of the subclass and of this class are saved by this constructor, so a subclass calls
    ``super().__init__(**kwargs)`` first and finds all of them in ``self.hparams``.

    Args:
        lr: peak learning rate.
        weight_decay: decoupled decay of the weight matrices.
        betas: AdamW's decay rates.
        fused: AdamW's fused kernel, where the device has one.
        lr_schedule: shape of the learning rate; ``plateau`` follows ``monitor``.
        lr_interval: the unit in which the schedule counts, ``step`` or ``epoch``.
        warmup: linear warm-up, in ``lr_interval``.
        lr_floor: smallest learning rate as a fraction of ``lr``.
        lr_gamma: factor an interval of ``exponential``, and of each reduction of ``plateau``.
        patience: evaluations without improvement before ``plateau`` reduces.
        monitor: the metric that ``plateau`` follows.
        seed: seeds every random number of the training steps.

    Raises:
        TypeError: a hyper-parameter is not a plain value.
    """

    architecture: ClassVar[frozenset[str]] = frozenset()
    """Names of the hyper-parameters that shape the network: a checkpoint fits only where they are equal."""

    def __init__(
        self,
        lr: float = 1e-3,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        fused: bool = True,
        lr_schedule: optim.ScheduleName = "constant",
        lr_interval: Literal["step", "epoch"] = "step",
        warmup: int = 0,
        lr_floor: float = 0.0,
        lr_gamma: float = 0.5,
        patience: int = 5,
        monitor: str = "val/loss",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        require_plain(self.hparams, type(self).__name__)
        if lr_schedule == "plateau" and warmup:
            raise ValueError("lr_schedule='plateau' has no warm-up: set warmup to 0 or choose another schedule.")

    # ------------------------------------------------------------------ randomness
    def step_generator(self, step: int) -> torch.Generator:
        """Random numbers of one global batch: the same on each rank, so that ranks take their rows of one draw."""
        return generator(self.hparams["seed"], step)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the global generator (dropout) from the batches so far, so that a resumed run draws the same."""
        torch.manual_seed(mix(self.hparams["seed"], self.global_rank, self.batches_so_far))

    @property
    def batches_so_far(self) -> int:
        """Training batches before this one, those of the runs that this one resumes included.

        A batch that an exception cut off does not count: it is drawn again, with the same random numbers.
        """
        total: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(total.processed)

    # ------------------------------------------------------------------ optimisation
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW and the schedule that the hyper-parameters name."""
        return self.with_schedule(self.adamw(self))

    def adamw(self, trained: nn.Module) -> Optimizer:
        """AdamW over the parameters of ``trained``."""
        h = self.hparams
        fused = h["fused"] and self.trainer.precision != "16-mixed"  # the gradient scaler cannot clip a fused step
        return optim.adamw(trained, h["lr"], h["weight_decay"], tuple(h["betas"]), fused)

    def with_schedule(self, optimizer: Optimizer) -> OptimizerLRSchedulerConfig:
        """An optimiser and the schedule of its learning rate."""
        h = self.hparams
        if h["lr_schedule"] == "plateau":
            plateau = ReduceLROnPlateau(
                optimizer, factor=h["lr_gamma"], patience=h["patience"], min_lr=h["lr"] * h["lr_floor"]
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": h["monitor"]}}
        total: float = self.trainer.estimated_stepping_batches
        if h["lr_interval"] == "epoch":
            epochs = self.trainer.max_epochs or -1
            total = epochs if epochs > 0 else float("inf")
        factor = optim.multiplier(h["lr_schedule"], total, h["warmup"], h["lr_floor"], h["lr_gamma"])
        scheduler = LambdaLR(optimizer, factor)  # its only state is a counter: a resumed run may change its shape
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": h["lr_interval"]}}

    def on_before_backward(self, loss: torch.Tensor) -> None:
        """Stop before a non-finite loss reaches the weights.

        Raises:
            NonFiniteLossError: names the step and the batch, with advice.
        """
        if not torch.isfinite(loss).all():
            batch_idx = self.trainer.fit_loop.epoch_loop.batch_idx
            raise NonFiniteLossError(
                f"loss is {loss.detach().tolist()} at step {self.global_step}, batch {batch_idx} of epoch "
                f"{self.current_epoch}; the weights are those before this step. Lower lr (now {self.hparams['lr']}), "
                "lengthen warmup, set trainer.gradient_clip_val, or look at this batch with "
                "trainer.detect_anomaly=true."
            )

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down which class this is."""
        checkpoint["litmotif"] = describe(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class or architecture; let changed hyper-parameters win over the restored optimiser's.

        Raises:
            CheckpointError: the checkpoint does not belong to this class, or to this architecture.
        """
        require_fit(checkpoint, self)
        old = checkpoint.get("hyper_parameters", {})
        optim.rescale_restored(
            checkpoint.get("optimizer_states", []),
            checkpoint.get("lr_schedulers", []),
            lr=self.hparams["lr"] / old.get("lr", self.hparams["lr"]),
            decay=self.hparams["weight_decay"],
        )
        if self._trainer is not None and self.trainer.training and "current_model_state" in checkpoint:
            averaging = any(isinstance(callback, WeightAveraging) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
            if not averaging:  # train on from the raw weights, not from their average
                checkpoint["state_dict"] = checkpoint["current_model_state"]
