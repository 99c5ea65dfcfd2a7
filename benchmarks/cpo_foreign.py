"""CPO and TRPO on foreign yardsticks: HalfCheetah with a cost on speed, and CartPole with a cost on where the cart is.

    python benchmarks/cpo_foreign.py --env Velocity/HalfCheetah-v5 --updates 150 --seeds 0 1 2

HalfCheetah (gymnasium[mujoco]) costs 1 in each step in which it runs faster than 3.2096 m/s, half of what an unbounded
PPO reaches, and at most 25 an episode: the task of Safety-Gymnasium's SafetyHalfCheetahVelocity-v1 (Ji et al. 2023).
CartPole costs 1 in each step more than 0.5 m from the middle, and at most 10 an episode. TRPO is CPO without a limit.
"""

import argparse
import tempfile
import time
import warnings
from functools import partial
from typing import Any

import gymnasium
import torch
from lightning.pytorch import seed_everything
from quiet import quiet_trainer
from rich.console import Console
from rich.table import Table

import datamodules
import lit_models

LIMITS = {"Velocity/HalfCheetah-v5": 25.0, "Middle/CartPole-v1": 10.0}
FASTEST, FARTHEST = 3.2096, 0.5
"""m/s, m."""


class Costs(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts a cost of 1 into ``info`` where a quantity is above its bound."""

    def step(self, action: Any) -> Any:
        """One step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        beyond = info["x_velocity"] > FASTEST if "x_velocity" in info else abs(observation[0]) > FARTHEST
        return observation, reward, terminated, truncated, info | {"cost": beyond}


def costly(known: str, **kwargs: Any) -> Costs:
    """The environment of this id with its cost."""
    return Costs(gymnasium.make(known, **kwargs).unwrapped)


for _name in LIMITS:
    _known = gymnasium.spec(_name.partition("/")[2])
    gymnasium.register(_name, partial(costly, _known.id), max_episode_steps=_known.max_episode_steps)


def train(env: str, limit: float | None, seed: int, updates: int, num_envs: int, steps: int) -> dict[str, float]:
    """Results of the test split after so many updates, and the seconds that they took."""
    seed_everything(seed, verbose=False)
    data = datamodules.Rollouts(
        env=env,
        num_envs=num_envs,
        rollout_length=steps,
        steps_per_epoch=updates,
        val=10,
        test=50,
        eval_envs=50,
        seed=seed,
    )
    module = lit_models.CPO.for_data(
        data,
        cost_limits={} if limit is None else {"cost": limit},
        network={"hidden_size": 64, "num_layers": 2},
        optimizer={"lr": 1e-3, "weight_decay": 0.0},
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = quiet_trainer(default_root_dir=scratch)
        began = time.process_time()
        trainer.fit(module, data)
        seconds = time.process_time() - began
        (results,) = trainer.test(module, data, verbose=False)
    return results | {"seconds": seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Velocity/HalfCheetah-v5", choices=LIMITS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=150)
    parser.add_argument("--num_envs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=512)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"{args.env}: {args.updates} updates of {args.num_envs * args.steps} steps, 50 test episodes")
    for column in ("", "seed", "return", f"cost <= {LIMITS[args.env]:g}", "random return", "steps a CPU-second"):
        table.add_column(column, justify="right")
    for label, limit in {"CPO": LIMITS[args.env], "TRPO": None}.items():
        for seed in args.seeds:
            found = train(args.env, limit, seed, args.updates, args.num_envs, args.steps)
            rate = args.updates * args.num_envs * args.steps / found["seconds"]
            numbers = (found["test/return"], found["test/cost_cost"], found["test/return/random"])
            table.add_row(label, str(seed), *(f"{number:.1f}" for number in numbers), f"{rate:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
