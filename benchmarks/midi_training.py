"""The five music models on real data: test figures by config and seed, mean and 95 % interval over seeds.

    python benchmarks/midi_training.py --data PATH --configs jsb gmd --seeds 0 1 2

PATH holds the folders tcn_poly (JSB_Chorales.mat, Nottingham.mat), gmd (Groove MIDI) and pop909. Each run is the config
midi/NAME in a process of its own; finished runs are kept in --out and not run again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
SETS = {
    "jsb": ("tcn_poly/JSB_Chorales.mat", ("nll", "f1")),
    "nottingham": ("tcn_poly/Nottingham.mat", ("nll", "f1")),
    "gmd": ("gmd", ("timing_mae_ms", "timing_mse", "offset_kl", "velocity_mae", "velocity_r", "velocity_kl")),
    "pop909_chords": ("pop909", ("accuracy", "top3_accuracy", "change_accuracy", "nll")),
    "pop909_velocity": ("pop909", ("class_accuracy", "velocity_mae", "velocity_r")),
}
"""Where the data of a config lies, and the figures that its field compares."""


def run(config: str, root: Path, seed: int, folder: Path, threads: int, options: list[str]) -> None:
    """One run; leaves results.json and run.json."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "lit_models", "fit", "-c", f"midi/{config}", f"--data.root={root}"]
    quiet = ["--trainer.enable_progress_bar=false", f"--trainer.default_root_dir={folder}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603
        [*command, f"--seed_everything={seed}", *quiet, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    (folder / "run.json").write_text(json.dumps({"seconds": time.perf_counter() - start}))


def spread(values: list[float]) -> str:
    """Mean and half the width of its 95 % t-interval."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.4g}"
    return f"{mean:.4g} ± {stats.sem(values) * stats.t.ppf(0.975, len(values) - 1):.2g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--configs", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/midi_training"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", nargs="*", default=[], help="for the command, as KEY=VALUE without dashes")
    args = parser.parse_args()
    console = Console(width=160)
    for config in args.configs:
        place, figures = SETS[config]
        found, seconds = [], []
        for seed in args.seeds:
            folder = (args.out / config / str(seed)).resolve()
            if not (folder / "run.json").exists():
                run(config, args.data / place, seed, folder, args.threads, [f"--{o}" for o in args.options])
            found.append(json.loads((folder / "version_0" / "results.json").read_text()))
            seconds.append(json.loads((folder / "run.json").read_text())["seconds"])
        table = Table(title=f"midi/{config}: test, {len(found)} seeds, {sum(seconds) / len(seconds):.0f} s a run")
        rows = list(found[0][figures[0]])
        for column in ("figure", *("model" if row == "value" else row for row in rows)):
            table.add_column(column, justify="right")
        for figure in (figure for figure in figures if figure in found[0]):
            told = ([results[figure][row] for results in found if row in results[figure]] for row in rows)
            table.add_row(figure, *(spread(values) if values else "" for values in told))
        console.print(table)


if __name__ == "__main__":
    main()
