"""The experts: how fast they plan, and which environments they solve.

Run ``python benchmarks/minigrid_experts.py``, with ``--coverage 5`` for five episodes of every id.
"""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict

import gymnasium
from rich.console import Console
from rich.table import Table

from datamodules import MiniGridPlans
from datamodules.core import DataError
from datamodules.minigrid.envs import Start, make_env, reset
from datamodules.minigrid.expert import expert_plan


def seconds_for(episodes: int, env: str) -> float:
    """Seconds to plan, verify and store ``episodes`` with a cold cache."""
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        MiniGridPlans(
            env=env, train=episodes, val=0, test=0, starts="seeds", cache_dir=cache, progress=False
        ).prepare_data()
        return time.perf_counter() - start


def solved(env: str, seeds: int) -> str:
    """How many of the first episodes the expert solves, or why none."""
    try:
        made = make_env(env)
        rewards = []
        for seed in range(seeds):
            reset(made, Start(seed))
            plan, _ = expert_plan(made, seed)
            reset(made, Start(seed))
            rewards.append(sum(float(made.step(action)[1]) for action in plan) > 0)
        return f"{sum(rewards)}/{seeds}"
    except (DataError, ModuleNotFoundError, TypeError, AttributeError) as error:
        return type(error).__name__


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--coverage", type=int, default=0, help="episodes of every MiniGrid and BabyAI id")
    args = parser.parse_args()
    table = Table(title="500 expert plans, cold cache")
    table.add_column("environment")
    table.add_column("median seconds")
    for env in ("MiniGrid-Empty-8x8-v0", "MiniGrid-FourRooms-v0", "MiniGrid-DoorKey-8x8-v0", "BabyAI-GoToRedBall-v0"):
        table.add_row(env, f"{statistics.median(seconds_for(500, env) for _ in range(args.runs)):.1f}")
    Console().print(table)
    if args.coverage:
        make_env("MiniGrid-Empty-5x5-v0")  # registers the ids
        outcomes = defaultdict(list)
        for env in sorted(name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-"))):
            outcomes[solved(env, args.coverage)].append(env)
            Console(stderr=True).print(env, next(reversed(outcomes)))
        for outcome, envs in sorted(outcomes.items()):
            Console(width=120).print(f"{outcome}: {len(envs)} ids: {', '.join(envs)}\n")


if __name__ == "__main__":
    main()
