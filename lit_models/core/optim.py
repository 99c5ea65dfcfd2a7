"""AdamW with decay groups, Muon, and learning-rate schedules stepped per step or per epoch."""

import math
from collections.abc import Callable, Collection
from typing import Any, Literal

from lightning.pytorch import Trainer
from torch import nn
from torch.optim import AdamW, Optimizer

from litmotif.errors import ArgumentError

from .muon import MuonWithAdamW, matrices

OptimizerName = Literal["adamw", "muon"]
ScheduleName = Literal["constant", "cosine", "linear", "exponential", "plateau"]


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


def adamw(
    module: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float], fused: bool, sharded: bool = False
) -> Optimizer:
    """AdamW (Loshchilov & Hutter, arXiv:1711.05101) over ``decay_groups``.

    Args:
        module: its trainable parameters are optimised.
        lr: peak learning rate.
        weight_decay: decoupled decay of the matrices.
        betas: decay rates of the two moments.
        fused: use the fused kernel where every parameter lies on a device that has one.
        sharded: each process keeps the two moments of its share of the parameters, updates these, and sends them to the
            others; the numbers are the same.
    """
    groups = decay_groups(module, weight_decay)
    options: dict[str, Any] = {"lr": lr, "betas": betas, "fused": fused and has_fused_kernel(module)}
    if not sharded:
        return AdamW(groups, **options)
    from .zero import ShardedOptimizer  # takes PyTorch a quarter of a second

    return ShardedOptimizer(groups, AdamW, parameters_as_bucket_view=True, **options)  # sent in one piece a process


def muon(module: nn.Module, lr: float, weight_decay: float, betas: tuple[float, float], fused: bool) -> Optimizer:
    """Muon for the matrices of ``module``'s layers, AdamW over ``decay_groups`` of the rest, see ``MuonWithAdamW``.

    Args:
        module: its trainable parameters are optimised.
        lr: peak learning rate of both.
        weight_decay: decoupled decay of all that has two dimensions or more.
        betas: AdamW's decay rates of the two moments.
        fused: AdamW's fused kernel, as in ``adamw``.

    Raises:
        ValueError: no layer has a matrix.
    """
    hidden = matrices(module)
    if not hidden:
        raise ArgumentError("optimizer='muon': none of the layers to train has a matrix. Use optimizer='adamw'.")
    others = decay_groups(module, weight_decay, without=hidden)
    return MuonWithAdamW(hidden, others, lr, weight_decay, betas, fused and has_fused_kernel(module))


def multiplier(name: ScheduleName, total: float, warmup: int, floor: float, gamma: float) -> Callable[[int], float]:
    """The factor on the peak learning rate after ``i`` steps (or epochs).

    Args:
        name: ``constant``; ``cosine`` or ``linear`` from 1 down to ``floor`` over ``total``; ``exponential``:
            ``gamma ** i``, never under ``floor``.
        total: steps (or epochs) of the whole run, warm-up included.
        warmup: steps (or epochs) of linear warm-up, ``(i + 1) / warmup``.
        floor: smallest factor, in [0, 1].
        gamma: decay of ``exponential`` a step (or epoch), in (0, 1].

    Raises:
        ValueError: the schedule needs a finite length and the run has none.
    """
    if name in ("cosine", "linear") and not math.isfinite(total):
        raise ArgumentError(
            f"lr_schedule={name!r} needs a run of known length: set trainer.max_steps or trainer.max_epochs, "
            "or choose lr_schedule 'constant', 'exponential' or 'plateau'."
        )

    def factor(i: int) -> float:
        if i < warmup:
            return (i + 1) / warmup
        progress = min(1.0, (i - warmup) / max(1.0, total - warmup))
        if name == "cosine":
            return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
        if name == "linear":
            return floor + (1 - floor) * (1 - progress)
        return max(floor, gamma ** (i - warmup)) if name == "exponential" else 1.0

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
