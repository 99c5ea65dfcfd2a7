"""The thin base of every algorithm: plain hyper-parameters, AdamW and a schedule, seeded steps, honest failures."""

from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler, OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from litmotif.errors import ArgumentError, ArgumentTypeError, LitmotifError
from litmotif.seeding import generator, seed_globally

from . import optim, sharding
from .checkpoint import describe, require_fit
from .hparams import require_plain
from .lightning_internals import begin_validation, mend_progress
from .training_log import TrainingLog

NEVER = 2**31
"""Epochs after which Lightning would step a schedule that counts epochs."""


class NonFiniteLossError(LitmotifError, RuntimeError):
    """The loss was NaN or infinite; the weights are those before the step."""


class BaseModule(TrainingLog):
    """What every module shares; a subclass adds its network, its steps and its metrics.

    The hyper-parameters of the subclass and of this class are saved by this constructor, so a subclass calls
    ``super().__init__(**kwargs)`` first and finds all of them in ``self.hparams``.

    Args:
        optimizer: ``adamw``, or ``muon``: orthogonalised steps of the layers' matrices, AdamW for all else.
        lr: peak learning rate.
        weight_decay: decoupled decay of the weight matrices.
        betas: AdamW's decay rates.
        fused: AdamW's fused kernel, where the device has one and the precision is not mixed.
        lr_schedule: shape of the learning rate; ``plateau`` follows ``monitor``.
        lr_interval: the unit in which the schedule counts, ``step`` or ``epoch``.
        warmup: linear warm-up, in ``lr_interval``.
        lr_floor: smallest learning rate as a fraction of ``lr``.
        lr_gamma: factor an interval of ``exponential``, and of each reduction of ``plateau``.
        patience: evaluations without improvement before ``plateau`` reduces.
        monitor: the metric that ``plateau`` follows.
        activation_checkpointing: keep only the inputs of each block for the backward pass: less memory, a third more
            computation, the same gradients.
        shard_optimizer: each process of ``ddp`` keeps the optimiser's state of its share of the parameters (ZeRO stage
            1): the same numbers; nothing changes on one process.
        seed: seeds every random number of the training steps.

    Raises:
        TypeError: a hyper-parameter is not a plain value.
    """

    architecture: ClassVar[frozenset[str]] = frozenset()
    """Names of the hyper-parameters that shape the network: a checkpoint fits only where they are equal."""
    entries: ClassVar[tuple[str, ...]] = ()
    """The methods by which its networks are called; none: they cannot be sharded."""

    def __init__(
        self,
        optimizer: optim.OptimizerName = "adamw",
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
        activation_checkpointing: bool = False,
        shard_optimizer: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._configured = False
        self._validated_epoch: int | None = None
        self._restored_metric: float | None = None
        self.save_hyperparameters()
        require_plain(self.hparams, type(self).__name__)
        if lr_schedule == "plateau" and warmup:
            raise ArgumentError("lr_schedule='plateau' has no warm-up: set warmup to 0 or choose another schedule.")

    @property
    def attached(self) -> Trainer | None:
        """The trainer, where there is one."""
        try:
            return self.trainer
        except RuntimeError:
            return None

    # ------------------------------------------------------------------ the network on its devices
    def configure_model(self) -> None:
        """Shard the networks where the strategy is FSDP2; recompute activations where that is asked for.

        Raises:
            TypeError: this algorithm cannot be sharded.
        """
        strategy = self.attached and self.attached.strategy
        if isinstance(strategy, ModelParallelStrategy) and not self.entries:
            raise ArgumentTypeError(f"{type(self).__name__} cannot be sharded: use trainer.strategy=ddp.")
        if self._configured:
            return
        self._configured = True
        if self.hparams["activation_checkpointing"]:
            sharding.recompute(self)
        if isinstance(strategy, ModelParallelStrategy):
            sharding.shard(self, strategy.device_mesh["data_parallel"], self.entries)

    def on_validation_start(self) -> None:
        """Evaluate on whole weights, from the first batch on."""
        if self.trainer.validating and self.trainer.state.fn == "fit":
            begin_validation(self.trainer)
            self._validated_epoch = self.current_epoch
        sharding.gather(self)

    def on_validation_end(self) -> None:
        """Go back to shards."""
        sharding.scatter(self)

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end

    # ------------------------------------------------------------------ randomness
    def step_generator(self, step: int) -> torch.Generator:
        """Random numbers of one global batch: the same on each rank, so that ranks take their rows of one draw."""
        return generator(self.hparams["seed"], step)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the global generators (dropout) from the batches so far, so that a resumed run draws the same."""
        seed_globally(self.device, self.hparams["seed"], self.global_rank, self.batches_so_far)

    # ------------------------------------------------------------------ optimisation
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and the schedule that the hyper-parameters name."""
        return self.with_schedule(self.make_optimizer(self))

    def make_optimizer(self, trained: nn.Module) -> Optimizer:
        """The optimiser that the hyper-parameters name over the parameters of ``trained``.

        Raises:
            ValueError: the state is to be sharded, and the strategy does so by itself, or the module by hand cannot; or
                Muon is asked for where no process has whole matrices.
        """
        h, strategy = self.hparams, self.trainer.strategy
        sharded = h["shard_optimizer"] and self.trainer.world_size > 1
        if sharded and not (self.automatic_optimization and isinstance(strategy, DDPStrategy)):
            raise ArgumentError(
                "shard_optimizer belongs to trainer.strategy=ddp, and not to reinforcement learning: leave it out here."
            )
        fused = h["fused"] and not str(self.trainer.precision).endswith("-mixed")  # Lightning cannot clip these
        settings = (h["lr"], h["weight_decay"], tuple(h["betas"]), fused)
        if h["optimizer"] == "adamw":
            return optim.adamw(trained, *settings, sharded)
        if sharded or not (isinstance(strategy, SingleDeviceStrategy) or type(strategy) is DDPStrategy):
            raise ArgumentError(
                "optimizer='muon' needs whole matrices in each process: use trainer.strategy=ddp and "
                "shard_optimizer=false, or optimizer='adamw'."
            )
        return optim.muon(trained, *settings)

    def with_schedule(self, optimizer: Optimizer) -> OptimizerLRSchedulerConfig:
        """An optimiser and the schedule of its learning rate."""
        h = self.hparams
        if h["lr_schedule"] == "plateau":
            plateau = ReduceLROnPlateau(
                optimizer, factor=h["lr_gamma"], patience=h["patience"], min_lr=h["lr"] * h["lr_floor"]
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": h["monitor"], "frequency": NEVER},
            }
        total: float = self.trainer.estimated_stepping_batches
        if h["lr_interval"] == "epoch":
            epochs = self.trainer.max_epochs or -1
            total = epochs if epochs > 0 else float("inf")
        factor = optim.multiplier(h["lr_schedule"], total, h["warmup"], h["lr_floor"], h["lr_gamma"])
        scheduler = LambdaLR(optimizer, factor)  # its only state is a counter: a resumed run may change its shape
        frequency = NEVER if h["lr_interval"] == "epoch" else 1
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": h["lr_interval"], "frequency": frequency},
        }

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch, and step the schedules that count epochs.

        Lightning would do the latter after the checkpoint, and a run that goes on from there would never do it.
        """
        super().on_train_epoch_end()
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self.step_schedules("epoch")

    def step_schedules(self, interval: Literal["step", "epoch"]) -> None:
        """Step what counts in this unit; ``plateau`` only where this epoch has evaluated.

        Raises:
            ValueError: nothing was logged under the name that ``plateau`` follows.
        """
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            by_lightning = self.automatic_optimization and config.frequency != NEVER
            if config.interval != interval or by_lightning:  # one of a subclass, or of a callback
                continue
            if not config.reduce_on_plateau:
                scheduler.step()
            elif optim.epoch_has_evaluated(self.trainer, self._validated_epoch):
                scheduler.step(self._followed())

    def _followed(self) -> float:
        name, known = self.hparams["monitor"], self.trainer.callback_metrics
        if name in known:
            return float(known[name])
        if self._restored_metric is None:
            raise ArgumentError(
                f"lr_schedule='plateau' follows {name!r}, which nobody logs. Set monitor: {sorted(known)}."
            )
        return self._restored_metric

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
        """Write down which class this is, what the epoch has logged so far, and what ``plateau`` follows."""
        checkpoint["litmotif"] = describe(self)
        if self.trainer.state.fn == "fit":
            checkpoint["litmotif"]["training_log"] = self.save_training_log()
            mend_progress(self.trainer, checkpoint)
        if self.hparams["monitor"] in self.trainer.callback_metrics or self._restored_metric is not None:
            checkpoint["litmotif"]["monitored"] = self._followed()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class or architecture; let changed hyper-parameters win over the restored optimiser's.

        Raises:
            CheckpointError: the checkpoint does not belong to this class, to this architecture or, in training, to this
                optimiser.
        """
        training = self.attached is not None and self.attached.training
        require_fit(checkpoint, self, self.architecture | ({"optimizer"} if training else set()))
        self._restored_metric = checkpoint.get("litmotif", {}).get("monitored")
        if training:
            self.restore_training_log(checkpoint.get("litmotif", {}).get("training_log", {}))
        old = checkpoint.get("hyper_parameters", {})
        optim.rescale_restored(
            checkpoint.get("optimizer_states", []),
            checkpoint.get("lr_schedulers", []),
            lr=self.hparams["lr"] / old.get("lr", self.hparams["lr"]),
            decay=self.hparams["weight_decay"],
        )
        if training and "current_model_state" in checkpoint:
            callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
            theirs = (getattr(each, "restores_raw_weights", isinstance(each, WeightAveraging)) for each in callbacks)
            if not any(theirs):  # train on from the raw weights, not from their average
                checkpoint["state_dict"] = checkpoint["current_model_state"]
