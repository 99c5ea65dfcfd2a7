"""Strong and weak scaling over processes of one machine, bytes sent a step, and a plan for more of them.

    python benchmarks/scaling.py [--processes 1 2] [--steps 20]

MDLMDiT of mdlm/four_rooms on the gloo backend, a thread a process. ``strong``: 64 plans a step over all processes;
``weak``: 64 plans a process. Communication is counted where PyTorch hands it to the backend, by the dispatcher, and set
beside what the number of parameters says. Each process reports its own CPU seconds too: where processes outnumber free
cores, wall time says more about the machine than about the program.

The plan on paper (``plan``) is a model: a step takes its computation, plus what of a ring all-reduce is not hidden
behind the backward pass; every constant is named in ``Machine``.
"""

import argparse
import os
import socket
import statistics
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import datamodules
import lit_models
from lit_models.cli import configs
from lit_models.core import optim, sharding

CONFIG = "mdlm/four_rooms"
BATCH = 64
COLUMNS = (
    *("scaling", "strategy", "processes", "wall, ms", "CPU, ms", "efficiency (CPU)"),
    *("collectives", "MB", "predicted MB", "MB sent"),
)
Measured = tuple[int, float, float, dict[str, int], dict[str, int]]
STRATEGIES = ("ddp", "zero", "fsdp2")
WARM = 3
BYTES = 4
"""Of a parameter and of its gradient in float32."""


# ---------------------------------------------------------------------- what is sent
class Traffic(TorchDispatchMode):
    """Counts calls of collectives and the bytes of the whole tensors that they work on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what belongs to c10d, and let it pass."""
        if func.namespace in ("c10d", "_c10d_functional"):
            name = func._schema.name.partition("::")[2].strip("_").removesuffix("_base_")
            tensors = [part for part in tree_leaves((args, kwargs)) if torch.is_tensor(part)]
            self.calls[name] += 1
            self.bytes[name] += max((part.numel() * part.element_size() for part in tensors), default=0)
        return func(*args, **(kwargs or {}))


def predicted(parameters: int, strategy: str) -> dict[str, float]:
    """Bytes of the whole tensors of each collective of a step, from the number of parameters alone."""
    size = float(parameters * BYTES)
    if strategy == "ddp":
        return {"allreduce": size}
    if strategy == "zero":
        return {"allreduce": size, "broadcast": size}  # gradients; then each process's share of the weights
    return {"allgather": 2 * size, "reduce_scatter": size}  # gathered for the forward and again for the backward pass


def on_wire(whole: Mapping[str, float], processes: int) -> float:
    """Bytes that one process sends: (P - 1) / P of a tensor that is gathered or scattered, twice that to reduce all."""
    share = (processes - 1) / processes
    return sum(share * size * (2 if "allreduce" in name else 1) for name, size in whole.items())


# ---------------------------------------------------------------------- measured
class Learner(nn.Module):
    """A module whose forward is its loss, as both strategies want it."""

    def __init__(self, module: Any, rank: int, processes: int) -> None:
        super().__init__()
        self.module = module
        progress = SimpleNamespace(batch_progress=SimpleNamespace(total=SimpleNamespace(processed=0)))
        loop = SimpleNamespace(epoch_loop=progress)
        module.trainer = SimpleNamespace(world_size=processes, global_rank=rank, fit_loop=loop)
        module.log_means = lambda *args: None

    def forward(self, batch: Any) -> torch.Tensor:
        """The loss of this process's rows."""
        loss: torch.Tensor = self.module.training_step(batch, 0)
        return loss


def work(rank: int, processes: int, port: int, strategy: str, batch: int, steps: int, answers: Any) -> None:
    """One process: steps of training, their times and their traffic."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=processes)
    settings = yaml.safe_load(configs.find(CONFIG).read_text())
    data = datamodules.MiniGridPlans(
        **settings["data"]["init_args"] | {"train": 40, "val": 4, "test": 4, "batch_size": batch}
    )
    data.prepare_data()
    data.setup("fit")
    whole = next(iter(data.train_dataloader()))
    mine = tree_map(lambda part: part[rank::processes] if torch.is_tensor(part) else part, whole)
    torch.manual_seed(0)
    module = lit_models.MDLMDiT(data.horizon, data.view_size, data.words, **settings["model"]["init_args"])
    parameters = sum(each.numel() for each in module.parameters())
    learner: nn.Module = Learner(module, rank, processes)
    if strategy == "fsdp2":
        sharding.shard(module, init_device_mesh("cpu", (processes,)), module.entries)
    else:
        learner = DistributedDataParallel(learner)
    optimizer = optim.adamw(learner, optim.Optimizer(sharded=strategy == "zero"))
    traffic, wall, cpu = Traffic(), [], []
    for step in range(WARM + steps):
        distributed.barrier()
        began, worked = time.perf_counter(), time.process_time()
        with traffic if step == WARM else nullcontext():
            learner(mine).backward()
            optimizer.step()
        optimizer.zero_grad()
        if step > WARM:
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - worked)
    if rank == 0:
        sent = dict(traffic.bytes), dict(traffic.calls)
        answers.put((parameters, statistics.median(wall), statistics.median(cpu), *sent))
    distributed.barrier()
    distributed.destroy_process_group()


def measure(
    processes: int, strategy: str, batch: int, steps: int
) -> tuple[int, float, float, dict[str, int], dict[str, int]]:
    """Parameters; median wall and CPU seconds of a step of the first process; bytes and calls by collective."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    answers = get_context("spawn").SimpleQueue()
    spawn(work, (processes, port, strategy, batch, steps, answers), nprocs=processes)
    found: Measured = answers.get()
    return found


# ---------------------------------------------------------------------- on paper
@dataclass(frozen=True)
class Machine:
    """What the plan assumes of a cluster; none of it was measured here.

    Attributes:
        flops: of a GPU, dense bfloat16, a second.
        utilisation: share of them that a training step reaches.
        overhead: seconds of a step that do not shrink with the batch: launches, optimiser, host.
        gpus: in a node.
        inside: bytes a second that a GPU sends inside its node.
        outside: bytes a second that it sends to other nodes, at the same time as all others of its node.
        near: seconds that a message takes inside the node.
        far: seconds that it takes to another node.
        hidden: share of the computation behind which communication may hide.
    """

    flops: float = 989e12
    utilisation: float = 0.3
    overhead: float = 4e-3
    gpus: int = 8
    inside: float = 350e9
    outside: float = 40e9
    near: float = 5e-6
    far: float = 15e-6
    hidden: float = 0.6


def computation(parameters: float, tokens: float, machine: Machine) -> float:
    """Seconds: 6 operations a parameter and token (Kaplan et al. 2020, section 2.1), and what does not shrink."""
    return 6 * parameters * tokens / (machine.flops * machine.utilisation) + machine.overhead


def ring(whole: float, processes: int, machine: Machine, passes: int = 2) -> float:
    """Seconds of a reduction in two levels: rings inside the nodes, then one ring a GPU between them.

    Args:
        whole: bytes of the tensor.
        processes: GPUs.
        machine: the constants.
        passes: 2 for all-reduce, 1 for all-gather or reduce-scatter.
    """
    local = min(processes, machine.gpus)
    nodes = max(1, processes // machine.gpus)
    inner = (local - 1) * (whole / local / machine.inside + machine.near)
    outer = (nodes - 1) * (whole / local / nodes / machine.outside + machine.far)
    return passes * (inner + outer)


def step_seconds(
    parameters: float, tokens: float, processes: int, strategy: str, machine: Machine
) -> tuple[float, float]:
    """Seconds of a step, and of its communication."""
    size = 2.0 * parameters  # bfloat16 on the wire
    passes = 2 if strategy == "ddp" else 3
    talk = ring(size, processes, machine, passes)
    work_seconds = computation(parameters, tokens, machine)
    return work_seconds + max(0.0, talk - machine.hidden * (work_seconds - machine.overhead)), talk


def plan(machine: Machine) -> Table:
    """Step time and efficiency of weak scaling."""
    table = Table(title=f"on paper: {machine}")
    for column in ("parameters", "tokens a GPU", "strategy", "GPUs", "communication, ms", "step, ms", "efficiency"):
        table.add_column(column, justify="right")
    for parameters, tokens in ((1.27e6, 16_384), (130e6, 16_384), (1.3e9, 16_384)):
        for strategy in ("ddp", "fsdp2"):
            alone = computation(parameters, tokens, machine)
            for processes in (1, 8, 64, 1024):
                seconds, talk = step_seconds(parameters, tokens, processes, strategy, machine)
                row = f"{1e3 * talk:.2f}", f"{1e3 * seconds:.2f}", f"{alone / seconds:.0%}"
                table.add_row(f"{parameters / 1e6:,.1f} M", f"{tokens:,}", strategy, str(processes), *row)
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--paper", action="store_true", help="only the plan on paper")
    args = parser.parse_args()
    console = Console(width=150)
    if not args.paper:
        table = Table(title=f"{CONFIG}, {BATCH} plans, gloo, {os.cpu_count()} cores, medians of {args.steps - 1} steps")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for kind in ("strong", "weak"):
            for strategy in STRATEGIES:
                alone = 0.0
                for processes in args.processes:
                    batch = BATCH * (processes if kind == "weak" else 1)
                    parameters, wall, cpu, sent, calls = measure(processes, strategy, batch, args.steps)
                    ideal = alone / (processes if kind == "strong" else 1)
                    alone = alone or cpu
                    expected = predicted(parameters, strategy)
                    table.add_row(
                        *(kind, strategy, str(processes), f"{1e3 * wall:.0f}", f"{1e3 * cpu:.0f}"),
                        f"{ideal / cpu:.0%}" if ideal else "",
                        ", ".join(f"{count} {name}" for name, count in calls.items()),
                        f"{sum(sent.values()) / 1e6:.2f}",
                        f"{sum(expected.values()) / 1e6:.2f}",
                        f"{on_wire(sent, processes) / 1e6:.2f}",
                    )
        console.print(table)
    console.print(plan(Machine()))


if __name__ == "__main__":
    main()
