"""Speed of the simulators, and of training end to end.

    python benchmarks/cpo_env_speed.py

Raw simulation: N = 4,096, level 2, mixed impairments of severity 0 to 1, random actions, episodes that end begin anew;
one thread. Per CPU-second of this process besides per second, since other jobs may share the machine. End to end: CPO
as in the config, N = 1,024, 20 steps an update, both cores.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import gymnasium
import torch
import yaml
from quiet import quiet_trainer
from rich.console import Console
from rich.table import Table

import datamodules
import datamodules.envs
import lit_models
from datamodules.rollouts.collector import Collector
from lit_models.cli import configs

ENVS = ("Wheelchair", "ExoskeletonLeg", "ExoskeletonArm")
SETTINGS = {"level": 2, "impairment": "mixed", "severity": [0.0, 1.0]}


def raw(name: str, num_envs: int, steps: int, repeats: int) -> tuple[float, float]:
    """Environment steps a second and a CPU-second, medians."""
    env = gymnasium.make_vec(f"litmotif/{name}-v0", num_envs, "vector_entry_point", **SETTINGS).unwrapped
    env.reset(seed=0)
    generator = torch.Generator().manual_seed(0)
    actions = [2.0 * torch.rand(num_envs, len(env.action_names), generator=generator) - 1.0 for _ in range(8)]
    walls, cpus = [], []
    for repeat in range(repeats + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(steps):
            env.step(actions[step % 8])
        if repeat:  # the first one warms up
            walls.append(num_envs * steps / (time.perf_counter() - wall))
            cpus.append(num_envs * steps / (time.process_time() - cpu))
    return statistics.median(walls), statistics.median(cpus)


class Timed:
    """Wraps a method and keeps its wall and CPU seconds."""

    def __init__(self, owner: object, name: str) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        method: Callable = getattr(owner, name)

        def timed(*arguments: object, **options: object) -> object:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return method(*arguments, **options)
            finally:
                self.wall.append(time.perf_counter() - wall)
                self.cpu.append(time.process_time() - cpu)

        setattr(owner, name, timed)


def end_to_end(config: str, updates: int) -> dict[str, float]:
    """Steps a second of whole updates, and seconds of their parts, medians."""
    merged = yaml.safe_load(configs.find(f"cpo/{config}").read_text())
    data = datamodules.Rollouts(**merged["data"]["init_args"] | {"steps_per_epoch": updates, "val": 4, "eval_envs": 4})
    torch.manual_seed(0)
    module = lit_models.CPO.for_data(data, **merged["model"]["init_args"])
    collect, step = Timed(Collector, "collect"), Timed(module, "training_step")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet_trainer().fit(module, data)
    samples = data.num_envs * data.rollout_length
    whole, cpu = statistics.median(step.wall[1:]), statistics.median(step.cpu[1:])
    return {
        "steps a second": samples / whole,
        "steps a CPU-second": samples / cpu,
        "update, s": whole - statistics.median(collect.wall[1:]),
        "update, CPU-s": cpu - statistics.median(collect.cpu[1:]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num_envs", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8)
    args = parser.parse_args()
    console = Console()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    table = Table(title=f"Raw simulation, one thread, N = {args.num_envs}")
    for column in ("environment", "env-steps a second", "env-steps a CPU-second"):
        table.add_column(column, justify="right")
    for name in ENVS:
        wall, cpu = raw(name, args.num_envs, args.steps, args.repeats)
        table.add_row(name, f"{wall:,.0f}", f"{cpu:,.0f}")
    console.print(table)
    torch.set_num_threads(threads)
    table = Table(title=f"CPO end to end, {threads} threads")
    for number, config in enumerate(("wheelchair", "exoskeleton_leg")):
        results = end_to_end(config, args.updates)
        if not number:
            for column in ("config", *results):
                table.add_column(column, justify="right")
        table.add_row(config, *(f"{value:,.0f}" if value > 100 else f"{value:.2f}" for value in results.values()))
    console.print(table)


if __name__ == "__main__":
    main()
