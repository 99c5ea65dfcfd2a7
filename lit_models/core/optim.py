"""Optimiser and schedule: AdamW with decay groups, Muon, and learning-rate schedules stepped per step or per epoch."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

from lightning.pytorch import Trainer
from torch import nn, optim

from litmotif.errors import ArgumentError

from .muon import MuonWithAdamW, matrices


@dataclass(frozen=True)
class Optimizer:
    """Optimiser of the weights.

    Attributes:
        name: ``adamw``, or ``muon``: orthogonalised steps of the layers' matrices, AdamW for all else.
        lr: peak learning rate.
        weight_decay: decoupled decay of the weight matrices.
        betas: AdamW's decay rates of the two moments.
        fused: AdamW's fused kernel, where every parameter's device has one and the precision is not mixed.
        sharded: each process of ``ddp`` keeps the state of its share of the parameters, updates these, and sends them
            to the others (ZeRO stage 1): the same numbers; nothing changes on one process.
    """

    name: Literal["adamw", "muon"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    fused: bool = True
    sharded: bool = False


@dataclass(frozen=True)
class Schedule:
    """Schedule of the learning rate.

    Attributes:
        name: ``constant``; ``cosine`` or ``linear`` from 1 down to ``floor`` over the run; ``exponential``: ``gamma``
            to the power of the intervals since the warm-up, never under ``floor``; ``plateau`` follows ``monitor``.
        interval: the unit in which it counts.
        warmup: intervals of linear warm-up, ``(i + 1) / warmup``.
        floor: smallest learning rate as a fraction of the peak, in [0, 1].
        gamma: factor an interval of ``exponential``, and of each reduction of ``plateau``, in (0, 1].
        patience: evaluations without improvement before ``plateau`` reduces.
        monitor: the metric that ``plateau`` follows.

    Raises:
        ValueError: ``plateau`` with a warm-up.
    """

    name: Literal["constant", "cosine", "linear", "exponential", "plateau"] = "constant"
    interval: Literal["step", "epoch"] = "step"
    warmup: int = 0
    floor: float = 0.0
    gamma: float = 0.5
    patience: int = 5
    monitor: str = "val/loss"

    def __post_init__(self) -> None:
        if self.name == "plateau" and self.warmup:
            raise ArgumentError(
                "schedule.name='plateau' has no warm-up: set schedule.warmup to 0 or choose another schedule."
            )


def decay_groups(
    module: nn.Module, weight_decay: float, without: Collection[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Split the trainable parameters: matrices decay, vectors (biases, norms, gains) do not."""
    left_out = set(without)
    trainable = [p for p in module.parameters() if p.requires_grad and p not in left_out]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def has_fused_kernel(module: nn.Module) -> bool:
    """Whether AdamW's fused kernel exists on every device of the parameters."""
    return {parameter.device.type for parameter in module.parameters()} <= {"cpu", "cuda", "mps", "xpu"}


def adamw(module: nn.Module, options: Optimizer) -> optim.Optimizer:
    """AdamW (Loshchilov & Hutter, arXiv:1711.05101) over ``decay_groups`` of the module's trainable parameters."""
    groups = decay_groups(module, options.weight_decay)
    fused = options.fused and has_fused_kernel(module)
    settings: dict[str, Any] = {"lr": options.lr, "betas": options.betas, "fused": fused}
    if not options.sharded:
        return optim.AdamW(groups, **settings)
    from .zero import ShardedOptimizer  # takes PyTorch a quarter of a second

    return ShardedOptimizer(groups, optim.AdamW, parameters_as_bucket_view=True, **settings)  # one piece a process


def muon(module: nn.Module, options: Optimizer) -> optim.Optimizer:
    """Muon for the matrices of the module's layers, AdamW over ``decay_groups`` of the rest, see ``MuonWithAdamW``.

    Raises:
        ValueError: no layer has a matrix.
    """
    hidden = matrices(module)
    if not hidden:
        raise ArgumentError(
            "optimizer.name='muon': none of the layers to train has a matrix. Use optimizer.name='adamw'."
        )
    others = decay_groups(module, options.weight_decay, without=hidden)
    fused = options.fused and has_fused_kernel(module)
    return MuonWithAdamW(hidden, others, options.lr, options.weight_decay, options.betas, fused)


def multiplier(schedule: Schedule, total: float) -> Callable[[int], float]:
    """The factor on the peak learning rate after ``i`` intervals.

    Args:
        schedule: its shape.
        total: intervals of the whole run, warm-up included.

    Raises:
        ValueError: the schedule needs a finite length and the run has none.
    """
    name, warmup, floor = schedule.name, schedule.warmup, schedule.floor
    if name in ("cosine", "linear") and not math.isfinite(total):
        raise ArgumentError(
            f"schedule.name={name!r} needs a run of known length: set trainer.max_steps or trainer.max_epochs, "
            "or choose 'constant', 'exponential' or 'plateau'."
        )

    def factor(i: int) -> float:
        if i < warmup:
            return (i + 1) / warmup
        progress = min(1.0, (i - warmup) / max(1.0, total - warmup))
        if name == "cosine":
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
        if name == "linear":
            return floor + (1 - floor) * (1 - progress)
        return max(floor, schedule.gamma ** (i - warmup)) if name == "exponential" else 1.0

    return factor


def epoch_has_evaluated(trainer: Trainer, validated: int | None) -> bool:
    """Whether a validation belongs to the epoch that ends: told by counters, which a resumed run has too.

    Args:
        trainer: in a fit; one that validates by the clock has no ``val_check_interval``.
        validated: the last epoch in which a validation began, for what no counter tells.
    """
    if not sum(trainer.num_val_batches):
        return False
    if not hasattr(trainer, "val_check_interval"):
        return validated == trainer.current_epoch
    if trainer.check_val_every_n_epoch is not None:
        return (trainer.current_epoch + 1) % trainer.check_val_every_n_epoch == 0
    batches, every = trainer.fit_loop.total_batch_idx + 1, trainer.val_check_batch or 1
    return batches // every > (batches - trainer.num_training_batches) // every


def rescale_restored(
    optimizer_states: list[dict[str, object]], scheduler_states: list[dict[str, object]], lr: float, decay: float
) -> None:
    """Make restored states follow changed hyper-parameters.

    Optimiser and scheduler states carry the learning rate of the first run and would silently win over a new one.

    Args:
        optimizer_states: ``checkpoint["optimizer_states"]``, changed in place.
        scheduler_states: ``checkpoint["lr_schedulers"]``, changed in place.
        lr: new peak learning rate over the old one.
        decay: new weight decay; groups without decay stay without.
    """
    for state in optimizer_states:
        for group in state["param_groups"]:  # type: ignore[attr-defined]
            if group.get("weight_decay"):
                group["weight_decay"] = decay
            for key in ("lr", "initial_lr"):
                if key in group:
                    group[key] = group[key] * lr
    for state in scheduler_states:
        for key in ("base_lrs", "_last_lr"):
            if key in state:
                state[key] = [value * lr for value in state[key]]  # type: ignore[attr-defined]
