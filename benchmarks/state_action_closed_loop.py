"""Guided plans in closed loop: success in three tasks, beside full attention, other horizons and other guidance.

    python benchmarks/state_action_closed_loop.py --episodes 50 --plots docs
    python benchmarks/state_action_closed_loop.py --variants "horizon 8" "gradient x0"
    python benchmarks/state_action_closed_loop.py --episodes 2 --out runs/try -- --trainer.max_epochs=1

Each variant is the config state_action/base_forest with a change, trained and tested by the command; what is finished
is kept in --out and not run again. Variants that only plan otherwise take the weights of ``ours``, which are trained
first where there are none. Options after -- go to the command, for a try. --plots draws plans with and without
guidance.
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from command import litmotif, results
from rich.console import Console
from rich.table import Table

import datamodules
import lit_models
from datamodules.trajectories.mobile_base.view import draw_plans
from lit_models.state_action.closed_loop import task_costs

TRAINED = {
    "ours": [],
    "full attention": ["--model.network.attention=full"],
    "horizon 8": ["--data.horizon=8"],
    "horizon 32": ["--data.horizon=32"],
}
CHANGED = {
    "gradient x0": ["--model.guidance.gradient=x0"],
    "rolling 14, 4": ["--model.closed_loop.rolling=[14,4]"],
    "rolling ramp": ["--model.closed_loop.rolling=ramp"],
    "no guidance": ["--model.guidance.strength=0"],
}
"""Other ways to use the weights of ``ours``."""
TASKS = ("joystick", "waypoint", "forest")


@dataclass(frozen=True)
class Bench:
    """Where variants are kept, and how they are run.

    Attributes:
        out: a folder each.
        episodes: of each task.
        threads: of a process.
        options: of the command, for all variants.
    """

    out: Path
    episodes: int
    threads: int
    options: list[str]

    def folder(self, name: str) -> Path:
        """Where a variant is kept: its run is version_0 in there."""
        return (self.out / name.replace(" ", "_").replace(",", "")).resolve()

    def measure(self, name: str) -> dict[str, Any]:
        """Results of a variant, and seconds of its training: 0 where it borrows weights."""
        kept = self.folder(name) / "run.json"
        if not kept.exists():
            seconds = self._weights(name)
            checkpoint = f"--ckpt_path={self.folder(name) / 'version_0'}"
            self._run("test", name, checkpoint, f"--data.task_episodes={self.episodes}")
            found = results(self.folder(name) / "version_0")
            kept.write_text(json.dumps({"seconds": seconds, "results": found}))
        return json.loads(kept.read_text())

    def _weights(self, name: str) -> float:
        """Train, or borrow, what is not there yet; what was cut off begins again."""
        folder, weights = self.folder(name), Path("version_0", "checkpoints")
        trained = folder / "seconds.json"
        if not trained.exists():
            shutil.rmtree(folder, ignore_errors=True)
            if name in CHANGED:
                if not (self.folder("ours") / "run.json").exists():
                    self._weights("ours")
                shutil.copytree(self.folder("ours") / weights, folder / weights)
                seconds = 0.0
            else:
                seconds = self._run("fit", name, "--test_after_fit=false")
            trained.write_text(json.dumps(seconds))
        return json.loads(trained.read_text())

    def _run(self, subcommand: str, name: str, *options: str) -> float:
        changes = {**TRAINED, **CHANGED}[name]
        place = f"--trainer.default_root_dir={self.folder(name)}"
        return litmotif(
            subcommand, "-c", "state_action/base_forest", *changes, place, *options, *self.options, threads=self.threads
        )


def draw(weights: Path, path: Path) -> None:
    """A fan of plans in the forest, with and without guidance."""
    model = lit_models.load(weights)
    data = datamodules.Trajectories(episodes=10, history=model.history, tasks=["forest"], task_episodes=4)
    seen = []
    policy = model.policy()
    with torch.no_grad():
        data.rollout(lambda h, t: seen.append((h, t)) or policy(h, t), "test", model.acting.replan_every)
    history, task = seen[len(seen) // 4]
    goal, obstacles = task.waypoint[:1], task.obstacles[:1]
    cost = task_costs(
        task._replace(waypoint=goal, obstacles=obstacles),
        model.layout,
        model.history,
        model.acting.task_options["forest"],
    )
    states, actions = history.states[:1], history.actions[:1]
    fan = {}
    for name, guide in (("unguided", None), ("guided", cost)):
        planned = model.plan(states, actions, guide, num_samples=24).states
        fan[name] = planned[:, 0, model.history + 1 :, :2]
    near = obstacles[0][obstacles[0, :, :2].norm(dim=1) < 20]
    figure = draw_plans(fan, torch.zeros(3), states[0, :, :2], near, title="24 plans of 1.6 s")
    path.mkdir(parents=True, exist_ok=True)
    figure.savefig(path / "state_action_fan.png", dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*TRAINED, *CHANGED]
    parser.add_argument("--variants", nargs="+", default=names, choices=names)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/state_action_closed_loop"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plots", type=Path, help="folder for state_action_fan.png")
    parser.add_argument("options", nargs="*", help="after --: options of the command")
    args = parser.parse_args()
    bench = Bench(args.out, args.episodes, args.threads, args.options)
    table = Table(
        title=f"state_action/base_forest, {args.episodes} episodes: success [95 %], seconds, falls, collisions"
    )
    table.add_column("variant")
    for task in TASKS:
        table.add_column(task, justify="right")
    table.add_column("training, s", justify="right")
    expert: dict[str, str] = {}
    for name in args.variants:
        told = bench.measure(name)
        cells, results = [], told["results"]
        for task in TASKS:
            success = results[f"{task}_success"]
            seconds = results.get(f"{task}_seconds", {}).get("value")
            rates = f"{results[f'{task}_falls']['value']:.2f} {results[f'{task}_collisions']['value']:.2f}"
            interval = f"[{success['low']:.3f}, {success['high']:.3f}]"
            cells.append(f"{success['value']:.3f} {interval} {'—' if seconds is None else f'{seconds:.1f}'} {rates}")
            expert[task] = f"{success['expert']:.3f}"
        table.add_row(name, *cells, f"{told['seconds']:.0f}" if told["seconds"] else "—")
    table.add_row("expert", *(expert[task] for task in TASKS), "")
    Console(width=180).print(table)
    if args.plots is not None:
        draw(bench.folder("ours") / "version_0", args.plots)


if __name__ == "__main__":
    main()
