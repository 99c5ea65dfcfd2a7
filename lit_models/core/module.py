"""The thin base of every algorithm: plain hyper-parameters, AdamW and a schedule, seeded steps, honest failures."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler, OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from torchmetrics import Metric

from litmotif.errors import ArgumentError, ArgumentTypeError, LitmotifError
from litmotif.ranges import require_in_range
from litmotif.seeding import generator, seed_globally

from . import optim, sharding
from .checkpoint import describe, require_fit
from .hparams import as_group, groups, keys, require_plain, strangers
from .lightning_internals import begin_validation, mend_progress
from .pairing import STEPS, Described, built_for, require_pair, require_precision, with_typed_batch
from .training_log import TrainingLog

NEVER = 2**31
"""Epochs after which Lightning would step a schedule that counts epochs."""
Group = TypeVar("Group")


class NonFiniteLossError(LitmotifError, RuntimeError):
    """The loss was NaN or infinite; the weights are those before the step."""


class BaseModule(TrainingLog, metaclass=Described):
    """What every module shares; a subclass adds its network, its steps and its metrics.

    The hyper-parameters of the subclass and of this class are saved by this constructor, so a subclass calls
    ``super().__init__(**kwargs)`` first and finds all of them in ``self.hparams``.

    Options come in groups, frozen dataclasses; a group may also be given as a dictionary of some of its options.

    Args:
        optimizer: of the weights.
        schedule: of the learning rate.
        activation_checkpointing: keep only the inputs of each block for the backward pass: less memory, a third more
            computation, the same gradients.
        seed: seeds every random number of the training steps.
        **unknown: none; a keyword of an earlier version is answered with the one of now.

    Raises:
        TypeError: an unknown keyword, or a hyper-parameter that is not a plain value.
        ValueError: a number is out of its range.
    """

    architecture: ClassVar[frozenset[str]] = frozenset()
    """Names of the hyper-parameters that shape the network: a checkpoint fits only where they are equal."""
    shapeless: ClassVar[frozenset[str]] = frozenset({"network.dropout"})
    """Options within the groups of ``architecture`` that do not shape it."""
    batch: ClassVar[type | None] = None
    """The NamedTuple that its steps take; what else has these names is turned into one. None: whatever comes."""
    unfit_precisions: ClassVar[frozenset[str]] = frozenset()
    """Values of ``trainer.precision`` in which it cannot run."""
    dispensable: ClassVar[frozenset[str]] = frozenset()
    """Links that it can learn without."""
    entries: ClassVar[tuple[str, ...]] = ()
    """The methods by which its networks are called; none: they cannot be sharded."""

    def __init__(
        self,
        optimizer: optim.Optimizer = optim.Optimizer(),
        schedule: optim.Schedule = optim.Schedule(),
        activation_checkpointing: bool = False,
        seed: int = 0,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self._configured = False
        self._validated_epoch: int | None = None
        self._restored_metric: float | None = None
        if unknown:
            raise ArgumentTypeError(strangers(type(self), unknown))
        self.save_hyperparameters()
        self._groups = {
            name: as_group(kind, self.hparams[name], f"{type(self).__name__}.{name}")
            for name, kind in groups(type(self)).items()
        }
        whole = {name: asdict(group) for name, group in self._groups.items()}
        self.save_hyperparameters({**self.hparams, **whole})
        require_plain(self.hparams, type(self).__name__)
        require_in_range(self.hparams, type(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Have each step take its batch in any of the forms that ``as_batch`` reads."""
        super().__init_subclass__(**kwargs)
        for name in STEPS & vars(cls).keys():
            setattr(cls, name, with_typed_batch(vars(cls)[name]))

    @classmethod
    def for_data(cls, data: LightningDataModule, **options: Any) -> Self:
        """Built for a datamodule: the sizes and statistics that it declares in its ``links``, and its seed.

        Args:
            data: asked for all that the constructor takes.
            **options: of the constructor.

        Raises:
            TypeError: an unknown option.
            ValueError: the data decides an option, or declares too little.
        """
        return cls(**built_for(cls, data, options))

    @classmethod
    def shaping(cls) -> frozenset[str]:
        """Keys of ``architecture``, each option of its groups by itself."""
        named = {key for key in keys(cls) if {key, key.partition(".")[0]} & cls.architecture}
        return frozenset(named - cls.shapeless)

    def group(self, kind: type[Group]) -> Group:
        """The options of this kind that the constructor was given."""
        (found,) = (group for group in self._groups.values() if isinstance(group, kind))
        return found

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
            ValueError: it was built for other data, or cannot run in this precision.
        """
        strategy = self.attached and self.attached.strategy
        if self.attached is not None:
            require_pair(self, getattr(self.attached, "datamodule", None), self.attached.state.fn == "fit")
            require_precision(self, str(self.attached.precision))
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

    def on_fit_start(self) -> None:
        """Make the states of metrics anew that an evaluation before this fit has left: training may not change them."""
        for part in self.modules():
            if isinstance(part, Metric) and any(map(_is_inference, part.metric_state.values())):
                part.reset()

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
        options, strategy = self.group(optim.Optimizer), self.trainer.strategy
        sharded = options.sharded and self.trainer.world_size > 1
        if sharded and not (self.automatic_optimization and isinstance(strategy, DDPStrategy)):
            raise ArgumentError(
                "optimizer.sharded belongs to trainer.strategy=ddp, and not to reinforcement learning: leave it out."
            )
        fused = options.fused and not str(self.trainer.precision).endswith("-mixed")  # Lightning cannot clip these
        options = replace(options, fused=fused, sharded=sharded)
        if options.name == "adamw":
            return optim.adamw(trained, options)
        if sharded or not (isinstance(strategy, SingleDeviceStrategy) or type(strategy) is DDPStrategy):
            raise ArgumentError(
                "optimizer.name='muon' needs whole matrices in each process: use trainer.strategy=ddp and "
                "optimizer.sharded=false, or optimizer.name='adamw'."
            )
        return optim.muon(trained, options)

    def with_schedule(self, optimizer: Optimizer) -> OptimizerLRSchedulerConfig:
        """An optimiser and the schedule of its learning rate."""
        schedule, peak = self.group(optim.Schedule), self.group(optim.Optimizer).lr
        if schedule.name == "plateau":
            plateau = ReduceLROnPlateau(
                optimizer, factor=schedule.gamma, patience=schedule.patience, min_lr=peak * schedule.floor
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": schedule.monitor, "frequency": NEVER},
            }
        total: float = self.trainer.estimated_stepping_batches
        if schedule.interval == "epoch":
            epochs = self.trainer.max_epochs or -1
            total = epochs if epochs > 0 else float("inf")
        factor = optim.multiplier(schedule, total)
        scheduler = LambdaLR(optimizer, factor)  # its only state is a counter: a resumed run may change its shape
        frequency = NEVER if schedule.interval == "epoch" else 1
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": schedule.interval, "frequency": frequency},
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
        name, known = self.group(optim.Schedule).monitor, self.trainer.callback_metrics
        if name in known:
            return float(known[name])
        if self._restored_metric is None:
            raise ArgumentError(
                f"schedule.name='plateau' follows {name!r}, which nobody logs. Set schedule.monitor: {sorted(known)}."
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
                f"{self.current_epoch}; the weights are those before this step. Lower optimizer.lr (now "
                f"{self.group(optim.Optimizer).lr}), lengthen schedule.warmup, set trainer.gradient_clip_val, or look "
                "at this batch with trainer.detect_anomaly=true."
            )

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write down which class this is, what the epoch has logged so far, and what ``plateau`` follows."""
        checkpoint["litmotif"] = describe(self)
        options = checkpoint.get("datamodule_hyper_parameters", {})
        for key in getattr(self.trainer.datamodule, "machine_bound", ()):  # type: ignore[attr-defined]
            if isinstance(options.get(key), str):
                options[key] = Path(options[key]).name  # where data lie is nobody's business
        if self.trainer.state.fn == "fit":
            checkpoint["litmotif"]["training_log"] = self.save_training_log()
            mend_progress(self.trainer, checkpoint)
        if self.group(optim.Schedule).monitor in self.trainer.callback_metrics or self._restored_metric is not None:
            checkpoint["litmotif"]["monitored"] = self._followed()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another class or architecture; let changed hyper-parameters win over the restored optimiser's.

        Raises:
            CheckpointError: the checkpoint does not belong to this class, to this architecture or, in training, to this
                optimiser.
        """
        training = self.attached is not None and self.attached.training
        require_fit(checkpoint, self, self.shaping() | ({"optimizer.name"} if training else set()))
        self._restored_metric = checkpoint.get("litmotif", {}).get("monitored")
        if training:
            self.restore_training_log(checkpoint.get("litmotif", {}).get("training_log", {}))
        now, old = self.hparams["optimizer"], checkpoint.get("hyper_parameters", {}).get("optimizer", {})
        optim.rescale_restored(
            checkpoint.get("optimizer_states", []),
            checkpoint.get("lr_schedulers", []),
            lr=now["lr"] / old.get("lr", now["lr"]),
            decay=now["weight_decay"],
        )
        if training and "current_model_state" in checkpoint:
            callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
            theirs = (getattr(each, "restores_raw_weights", isinstance(each, WeightAveraging)) for each in callbacks)
            if not any(theirs):  # train on from the raw weights, not from their average
                checkpoint["state_dict"] = checkpoint["current_model_state"]


def _is_inference(state: torch.Tensor | list[torch.Tensor]) -> bool:
    """Whether the state of a metric was made under ``torch.inference_mode``."""
    return any(tensor.is_inference() for tensor in ([state] if isinstance(state, torch.Tensor) else state))
