"""Training under limits: return and every cost on 1,000 unseen episodes, by method and seed, under one budget.

    python benchmarks/cpo_training.py --configs wheelchair exoskeleton_leg --methods cpo trpo ppo omnisafe --seeds 0 1 2

Methods: cpo; trpo (the same without limits); ppo (PPO-Lagrangian); omnisafe (omnisafe_style.py). Each run is the config
cpo/NAME in a process of its own. Finished runs are kept in --out and not run again.
"""

import argparse
import csv
import json
import resource
from pathlib import Path

import numpy as np
from command import litmotif
from command import results as test_results
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

METHODS = {
    "cpo": [],
    "trpo": ["--model.cost_limits={}"],
    "ppo": ["--model=PPOLagrangian", "--model.policy_steps.target_kl=0.015"],
    "omnisafe": ["--model=benchmarks.omnisafe_style.OmniSafeStyle"],
}


def run(config: str, method: str, seed: int, folder: Path, threads: int) -> None:
    """One run; leaves results.json and run.json."""
    where = [f"--seed_everything={seed}", f"--trainer.default_root_dir={folder}"]
    seconds = litmotif("fit", "-c", f"cpo/{config}", "-c", "logger/csv", *METHODS[method], *where, threads=threads)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest child so far, MiB
    (folder / "run.json").write_text(json.dumps({"seconds": seconds, "peak_mib": used}))


def draw(config: str, limits: dict[str, float], rows: dict[str, list[tuple[dict, dict, Path]]], path: Path) -> None:
    """Return, and each cost over its limit, in the course of training: mean over the seeds of each method."""
    names = ["return", *(name for name in limits if any(results[name]["value"] > 0 for results, _, _ in rows["cpo"]))]
    figure = Figure(figsize=(3.4 * len(names), 3.0), layout="constrained")
    for number, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), number + 1)
        for method, runs in rows.items():
            curves = []
            for _, _, folder in runs:
                history = json.loads((folder / "version_0" / "history.json").read_text())
                kept = [(s, v) for s, v in zip(history["step"], history[f"val/{name}"], strict=True) if v is not None]
                curves.append(np.array(kept))
            mean = np.mean([curve[:, 1] for curve in curves], axis=0) / limits.get(name, 1.0)
            axes.plot(curves[0][:, 0], mean, label=f"{method} ({len(curves)})", marker=".")
        if name in limits:
            axes.axhline(1.0, color="black", linewidth=0.8, linestyle="--")
            axes.set_ylim(0.0, 3.0)
        axes.set_title(
            name.removeprefix("cost_").replace("_", " ") + (" / limit" if name in limits else ""), fontsize=9
        )
        axes.set_xlabel("updates", fontsize=8)
        axes.tick_params(labelsize=7)
    axes.legend(fontsize=7, title="method (seeds)", title_fontsize=7)
    figure.suptitle(f"cpo/{config}, validation episodes", fontsize=10)
    path.mkdir(parents=True, exist_ok=True)
    figure.savefig(path / f"cpo_{config}.png", dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=["wheelchair", "exoskeleton_leg"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, default=Path("runs/cpo_training"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plots", type=Path, help="folder for cpo_CONFIG.png")
    args = parser.parse_args()
    console = Console(width=200)
    for config in args.configs:
        limits: dict[str, float] = {}
        rows: dict[str, list[tuple[dict, dict, Path]]] = {}
        for method in args.methods:
            for seed in args.seeds:
                folder = (args.out / config / method / str(seed)).resolve()
                if not (folder / "run.json").exists():
                    run(config, method, seed, folder, args.threads)
                results = test_results(folder / "version_0")
                rows.setdefault(method, []).append((results, json.loads((folder / "run.json").read_text()), folder))
                limits |= {name: row["limit"] for name, row in results.items() if "limit" in row}
                console.print(f"{config} {method} seed {seed}: return {results['return']['value']:.2f}")
        show(console, config, limits, rows)
        if args.plots is not None:
            draw(config, limits, rows, args.plots)


def used_radius(folders: list[Path]) -> str:
    """Share of the updates that are no recoveries whose measured KL is 0.8 to 1.0 of the target."""
    shares: list[float] = []
    for folder in folders:
        with (folder / "version_0" / "metrics.csv").open() as file:
            told = [row for row in csv.DictReader(file) if row.get("train/kl_share") and row.get("train/case")]
            shares += [float(row["train/kl_share"]) for row in told if float(row["train/case"]) < 2]
    return f"{np.mean([0.8 <= share <= 1.0 for share in shares]):.1%}" if shares else "—"


def show(
    console: Console, config: str, limits: dict[str, float], rows: dict[str, list[tuple[dict, dict, Path]]]
) -> None:
    """One table a config: worst upper bound of each mean cost over the seeds, beside its limit."""
    table = Table(title=f"cpo/{config}: return (mean over seeds, range) and largest upper 95 % bound of each mean cost")
    table.add_column("method")
    for column in ("return", "success", *(f"{name.removeprefix('cost_')} <= {x:g}" for name, x in limits.items())):
        table.add_column(column, justify="right")
    table.add_column("KL used >= 0.8", justify="right")
    table.add_column("s a run", justify="right")
    table.add_column("MiB", justify="right")
    for method, runs in rows.items():
        returns = np.array([results["return"]["value"] for results, _, _ in runs])
        success = np.mean([results["success"]["value"] for results, _, _ in runs])
        bounds = {name: max(results[name]["high"] for results, _, _ in runs) for name in limits}
        table.add_row(
            method,
            f"{returns.mean():.1f} ({returns.min():.1f}-{returns.max():.1f})",
            f"{success:.3f}",
            *(f"{'' if bounds[name] <= limit else '! '}{bounds[name]:.2f}" for name, limit in limits.items()),
            used_radius([folder for _, _, folder in runs]),
            f"{np.median([told['seconds'] for _, told, _ in runs]):.0f}",
            f"{max(told['peak_mib'] for _, told, _ in runs):.0f}",
        )
    scripted = next(iter(rows.values()))[0][0]
    for row in ("scripted", "zero", "random"):
        if row in scripted["return"]:
            costs = (f"{scripted[name][row]:.2f}" for name in limits)
            table.add_row(row, f"{scripted['return'][row]:.1f}", f"{scripted['success'][row]:.3f}", *costs, "", "", "")
    console.print(table)


if __name__ == "__main__":
    main()
