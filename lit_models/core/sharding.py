"""FSDP2: parameters, gradients and optimiser state in shards, block by block (arXiv:2304.11277)."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint

from .checkpoint import read
from .run_paths import there


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """The members of the network's lists of modules: what is worth gathering one at a time."""
    members = [block for part in network.modules() if isinstance(part, nn.ModuleList) for block in part]
    return [block for block in members if _has_parameters(block)]


def recompute(network: nn.Module) -> None:
    """Keep only the inputs of each block for the backward pass and compute its inside again there."""
    for block in repeated_blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def shard(module: nn.Module, mesh: DeviceMesh, entries: Sequence[str]) -> None:
    """Shard the networks of a module over the processes of a mesh, in place: each block by itself, then what is left.

    Args:
        module: its children with parameters are its networks; their blocks are called, never reached into.
        mesh: one dimension, the data-parallel one.
        entries: the methods by which the networks are called: what lies outside the blocks is gathered when they begin.
    """
    for network in module.children():
        if not _has_parameters(network):
            continue
        for block in repeated_blocks(network):
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)
        for name in entries:
            if hasattr(network, name):
                register_fsdp_forward_method(network, name)


def gather(network: nn.Module) -> None:
    """Hold the whole weights until ``scatter``, so that this process may call the network alone, as often as it likes.

    Evaluation does: episodes and batches end at different times on different processes, and a gathering that not all of
    them take part in would never end. Does nothing where nothing is sharded.
    """
    for part in _sharded(network):
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)


def scatter(network: nn.Module) -> None:
    """Give back what ``gather`` took."""
    for part in _sharded(network):
        part.set_reshard_after_forward(True, recurse=False)
        part.reshard()


def _has_parameters(network: nn.Module) -> bool:
    return next(network.parameters(), None) is not None


def _sharded(network: nn.Module) -> list[FSDPModule]:
    return [part for part in network.modules() if isinstance(part, FSDPModule)]


class FSDP2Strategy(ModelParallelStrategy):
    """FSDP2 over all processes, on CUDA or on the CPU; its checkpoints are those of every other strategy.

    Its parent keys the optimiser's state by the order of the module's parameters, which is not that of an optimiser
    with several groups, and restores it before the module and its callbacks have had their say.
    """

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False)
        self._everyone: DeviceMesh | None = None

    def setup_environment(self) -> None:
        """Every process holds a shard; its parent would have those of one node hold the same."""
        super().setup_environment()
        size, names = (self.world_size,), ("data_parallel",)
        self._everyone = init_device_mesh(self.root_device.type, size, mesh_dim_names=names)

    @property
    def device_mesh(self) -> DeviceMesh:
        """All processes, in one dimension ``data_parallel``.

        Raises:
            RuntimeError: there are none yet.
        """
        if self._everyone is None:
            raise RuntimeError("The processes have not met yet.")
        return self._everyone

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning restores the optimisers after the module's ``on_load_checkpoint``, as everywhere else."""
        return True

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state in the form of ``optimizer.state_dict()``; on the first process only."""
        if isinstance(optimizer, LightningOptimizer):
            optimizer = optimizer.optimizer
        named: dict[str, Any] = get_optimizer_state_dict(self._whole, optimizer, options=_FULL)
        if not self.is_global_zero:
            return {}
        position = {name: number for number, name in enumerate(self._names(optimizer))}
        groups = [group | {"params": [position[name] for name in group["params"]]} for group in named["param_groups"]]
        return {"state": {position[name]: state for name, state in named["state"].items()}, "param_groups": groups}

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of any strategy; nothing is restored yet."""
        path = Path(self.broadcast(checkpoint_path))
        checkpoint = read(path)
        return checkpoint | {"callbacks": there(checkpoint.get("callbacks", {}), path.absolute().parent)}

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Each process takes its shard of the weights."""
        set_model_state_dict(
            self._whole, checkpoint["state_dict"], options=StateDictOptions(full_state_dict=True, strict=strict)
        )

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Each process takes its shard of the optimisers' state."""
        for optimizer, plain in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            names = self._names(optimizer)
            groups = [
                group | {"params": [names[number] for number in group["params"]]} for group in plain["param_groups"]
            ]
            state = {names[number]: state for number, state in plain["state"].items()}
            set_optimizer_state_dict(
                self._whole,
                optimizer,
                {"state": state, "param_groups": groups},
                options=StateDictOptions(full_state_dict=True),
            )

    @property
    def _whole(self) -> nn.Module:
        assert self.model is not None  # noqa: S101  # for mypy: Lightning sets it before any of this
        return self.model

    def _names(self, optimizer: Optimizer) -> list[str]:
        """The optimiser's parameters by name, in its own order."""
        name = {parameter: name for name, parameter in self._whole.named_parameters()}
        return [name[parameter] for group in optimizer.param_groups for parameter in group["params"]]


_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
