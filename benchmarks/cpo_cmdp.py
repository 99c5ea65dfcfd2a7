"""CPO on random finite processes whose optimum a linear program gives: return and cost, computed exactly.

    python benchmarks/cpo_cmdp.py --seeds 0 1 2 3 4 5 6 7 8 9

Runs the config cpo/cmdp_lp once a seed (seed of policy and episodes; the process is that of the config, or another with
--task), then solves for the mean episode return and cost of the learned policy, without sampling.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from command import litmotif
from rich.console import Console
from rich.table import Table

import lit_models
from datamodules.envs.tabular import TabularCMDP


def half_way(env: TabularCMDP) -> float:
    """The limit half way between the cost of the best policy and the lowest cost of any."""
    _, best = env.optimum({})
    reward, env.reward = env.reward, -env.cost[..., 0]
    lowest = -env.optimum({})[0]
    env.reward = reward
    return float(env.evaluate(best)[1][0] + lowest) / 2.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--task", type=int, default=0)
    args = parser.parse_args()
    env = TabularCMDP(task=args.task)
    limit = half_way(env)
    best, _ = env.optimum({"cost0": limit})
    table = Table(title=f"cpo/cmdp_lp, process {args.task}: limit {limit:.4f}, best return {best:.4f} (linear program)")
    for column in ("seed", "return / best", "cost / limit", "seconds"):
        table.add_column(column, justify="right")
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            options = [f"--data.env_kwargs={{task: {args.task}}}", f"--model.cost_limits={{cost0: {limit}}}"]
            where = [f"--seed_everything={seed}", f"--trainer.default_root_dir={scratch}"]
            seconds = litmotif("fit", "-c", "cpo/cmdp_lp", *options, *where)
            module = lit_models.load(Path(scratch) / "version_0" / "checkpoints" / "last.ckpt")
        with torch.no_grad():
            location = module.policy(module.observation_moments(torch.eye(env.states))).location
        policy = np.exp(location.double().numpy())
        value, costs = env.evaluate(policy / policy.sum(1, keepdims=True))
        table.add_row(str(seed), f"{value / best:.4f}", f"{costs[0] / limit:.4f}", f"{seconds:.0f}")
        Console().print(f"seed {seed}: return {value / best:.4f}, cost {costs[0] / limit:.4f} in {seconds:.0f} s")
    Console().print(table)


if __name__ == "__main__":
    main()
