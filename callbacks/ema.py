"""Exponential moving average of the weights, used wherever a model is judged."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from litmotif.errors import ArgumentError

Weights = dict[str, Tensor]


class EMAWeights(Callback):
    """Keeps an average of the trainable parameters and judges the model by it.

    Validation during the fit, and everything after it, sees the average; training goes on from the raw weights. A
    checkpoint holds both: ``state_dict`` is the average, ``current_model_state`` the raw weights. Unlike Lightning's
    ``EMAWeightAveraging`` it also holds in ``test`` and ``predict`` of the same Trainer, counts batches that stepped
    rather than optimiser steps (right under manual optimisation), leaves frozen parameters and buffers alone, averages
    half precision in single, and knows shards.

    Args:
        decay: weight of the old average at each update.
        warmup: begin with a short memory: the decay of update n is min(decay, (1 + n) / (10 + n)).
        update_every_n_steps: update after every n-th batch that stepped an optimiser.
        update_starting_at_step: until so many batches have stepped, the average follows the raw weights.
    """

    restores_raw_weights = True
    """Tells a module that it need not do so itself when a fit goes on."""

    def __init__(
        self,
        decay: float = 0.999,
        warmup: bool = True,
        update_every_n_steps: int = 1,
        update_starting_at_step: int | None = None,
    ) -> None:
        if not 0 <= decay < 1:
            raise ArgumentError(f"decay={decay}: choose a number in [0, 1), e.g. 0.999.")
        if update_every_n_steps < 1:
            raise ArgumentError(f"update_every_n_steps={update_every_n_steps}: choose at least 1.")
        self.decay, self.warmup = decay, warmup
        self.update_every_n_steps, self.update_starting_at_step = update_every_n_steps, update_starting_at_step
        self._forget()
        self._run: tuple[Trainer, LightningModule] | None = None
        self._seen_global_step = 0
        self._module_is_foreign = False

    def __getstate__(self) -> dict[str, Any]:
        """Without the trainer, which may not be copied to another process."""
        return vars(self) | {"_run": None}

    def _forget(self) -> None:
        self.average: Weights = {}
        self.raw: Weights | None = None
        """The raw weights, while the module holds the average."""
        self.updates = 0
        self.steps = 0

    # ------------------------------------------------------------------ the average
    def decay_at(self, update: int) -> float:
        """The decay of update number ``update``, from 0; the first one copies where there is no warm-up."""
        if self.warmup:
            return min(self.decay, (1 + update) / (10 + update))
        return self.decay if update else 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin a fit from the raw weights; a second fit of the same Trainer takes up those of the first."""
        if stage != "fit":
            return
        if self._run != (trainer, pl_module):
            self._run = trainer, pl_module
            self._forget()
        if any(getattr(callback, "save_weights_only", False) for callback in trainer.checkpoint_callbacks):
            rank_zero_warn("save_weights_only checkpoints hold the raw weights, not the average: switch it off.")
        self._leave(pl_module)
        self._module_is_foreign = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Have an average before the first batch."""
        self._tracked(pl_module)
        self._seen_global_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update, if this batch stepped an optimiser."""
        if trainer.global_step == self._seen_global_step:
            return
        self._seen_global_step = trainer.global_step
        self.steps += 1
        waiting = self.steps <= (self.update_starting_at_step or 0)
        if waiting or self.steps % self.update_every_n_steps == 0:
            self._update(pl_module, 0.0 if waiting else self.decay_at(self.updates))
            self.updates += 0 if waiting else 1

    @torch.no_grad()
    def _update(self, pl_module: LightningModule, decay: float) -> None:
        tracked = self._tracked(pl_module)
        averages = [_local(self.average[name]) for name in tracked]
        raw = [_local(each).to(mean.dtype) for each, mean in zip(tracked.values(), averages, strict=True)]
        if averages:
            get_ema_multi_avg_fn(decay)(averages, raw, 0)  # type: ignore[no-untyped-call]

    def _tracked(self, pl_module: LightningModule) -> Weights:
        """The parameters that learn, or once did; each has an average, beside it, from when it is first seen."""
        named = pl_module.named_parameters(remove_duplicate=False)  # a tied weight stands under both of its names
        tracked: Weights = {name: p for name, p in named if p.requires_grad or name in self.average}
        for name, parameter in tracked.items():
            known = self.average.get(name)
            if known is None:
                self.average[name] = _precise(parameter)
            elif known.device != parameter.device:
                self.average[name] = known.to(parameter.device)
        return tracked

    # ------------------------------------------------------------------ where it is used
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the average; outside a fit the module holds it already."""
        if trainer.state.fn == "fit":
            self._enter(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on from the raw weights."""
        if trainer.state.fn == "fit":
            self._leave(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the average in the module."""
        self._enter(pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same where there was nothing left to train."""
        self._enter(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the raw weights back, wherever the fit was."""
        if trainer.state.fn == "fit":
            self._leave(pl_module)

    @torch.no_grad()
    def _enter(self, pl_module: LightningModule) -> None:
        if self.raw is not None:
            return
        _reshard(pl_module)
        tracked = self._tracked(pl_module)
        self.raw = {name: parameter.detach().clone() for name, parameter in tracked.items()}
        for name, parameter in tracked.items():
            parameter.copy_(self.average[name])

    @torch.no_grad()
    def _leave(self, pl_module: LightningModule) -> None:
        if self.raw is None:
            return
        _reshard(pl_module)
        for name, parameter in self._tracked(pl_module).items():
            if name in self.raw:  # else it was set free since
                parameter.copy_(self.raw[name])
        self.raw = None

    # ------------------------------------------------------------------ checkpoints
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Write the average as ``state_dict``, the raw weights as ``current_model_state``, and the counters."""
        if self._module_is_foreign or not self.average:
            return
        state = checkpoint["state_dict"]
        checkpoint["current_model_state"] = state | _whole(self.raw or {})
        checkpoint["state_dict"] = state | _whole(self.average)
        checkpoint["averaging_state"] = {
            "n_averaged": torch.tensor(self.updates),
            "steps": torch.tensor(self.steps),
            "names": list(self.average),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """In a fit take back both; elsewhere the module has just been given the average, which is right."""
        if trainer.state.fn != "fit":
            self._module_is_foreign = True
            return
        self._forget()
        if "current_model_state" not in checkpoint:
            rank_zero_info("EMAWeights: the checkpoint holds no average; it begins with the checkpoint's weights.")
            return
        counters = checkpoint["averaging_state"]
        self.updates = int(counters["n_averaged"])
        self.steps = int(counters.get("steps", self.updates))
        names = counters.get("names", self._tracked(pl_module))
        parameters = dict(pl_module.named_parameters(remove_duplicate=False))
        self.average = {
            name: _laid_out(_precise(checkpoint["state_dict"][name]), parameters.get(name)) for name in names
        }
        raw = {"state_dict": checkpoint["current_model_state"]}
        trainer.strategy.load_model_state_dict(raw, strict=pl_module.strict_loading)


def _reshard(module: nn.Module) -> None:
    """Evaluation holds whole weights for a while; the shards are what learns."""
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.reshard()


def _whole(weights: Weights) -> Weights:
    """Weights without shards; all processes take part."""
    return {name: w.full_tensor().cpu() if isinstance(w, DTensor) else w for name, w in weights.items()}


def _laid_out(tensor: Tensor, parameter: Tensor | None) -> Tensor:
    """A whole tensor in the shards of a parameter, where that has some."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(tensor.to(parameter.device), parameter.device_mesh, parameter.placements)
    return tensor


def _local(tensor: Tensor) -> Tensor:
    """What of a tensor lies in this process: its shard, or all of it."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor.detach()


def _precise(tensor: Tensor) -> Tensor:
    """A copy that a small update can change: half precision becomes single."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
