"""The five music models: test figures by config and seed, mean and 95 % interval over seeds, and their ensemble.

    python benchmarks/midi_training.py --data PATH --configs jsb gmd --seeds 0 1 2 --ensemble
    python benchmarks/midi_training.py --configs emotion melody harmony dynamics groove --seeds 0

PATH holds the folders tcn_poly (JSB_Chorales.mat, Nottingham.mat), gmd (Groove MIDI) and pop909; the second command
needs none. Each run is the config midi/NAME in a process of its own; finished runs are kept in --out and not run again.
"""

import argparse
import json
import resource
import shutil
from pathlib import Path
from typing import Any

from command import litmotif
from command import results as test_results
from rich.console import Console
from rich.table import Table
from scipy import stats

SETS = {
    "jsb": ("tcn_poly/JSB_Chorales.mat", ("nll", "f1")),
    "nottingham": ("tcn_poly/Nottingham.mat", ("nll", "f1")),
    "gmd": ("gmd", ("timing_mae_ms", "timing_mse", "offset_kl", "velocity_mae", "velocity_r", "velocity_kl")),
    "pop909_chords": ("pop909", ("accuracy", "top3_accuracy", "change_accuracy", "nll")),
    "pop909_velocity": ("pop909", ("class_accuracy", "class_change_accuracy", "velocity_mae")),
    "emotion": (None, ("r2_valence", "r2_arousal", "ccc_valence", "ccc_arousal")),
    "melody": (None, ("nll", "top5_accuracy", "f1")),
    "harmony": (None, ("accuracy", "top3_accuracy", "change_accuracy", "nll")),
    "dynamics": (None, ("velocity_mae", "articulation_mae", "class_accuracy")),
    "groove": (None, ("timing_mae_ms", "timing_mse", "velocity_mae", "velocity_r")),
}
"""Where the data of a config lies, None where it needs no path, and the figures that its field compares."""


def run(config: str, root: Path | None, seed: int, folder: Path, threads: int, options: list[str]) -> None:
    """One run; leaves results.json and run.json."""
    cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
    data = [] if root is None else [f"--data.root={root}"]
    where = [f"--seed_everything={seed}", f"--trainer.default_root_dir={folder}"]
    seconds = litmotif("fit", "-c", f"midi/{config}", *where, *data, *options, threads=threads)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
    took = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    (folder / "run.json").write_text(json.dumps(took))


def ensemble(runs: list[Path], out: Path, threads: int) -> dict[str, Any]:
    """The results of the mean of the logits of several runs."""
    if not (out / "results.json").exists():
        litmotif("ensemble", *map(str, runs), "--of", "logits", "--out", str(out), threads=threads)
    found: dict[str, Any] = json.loads((out / "results.json").read_text())["results"]
    return found


def spread(values: list[float]) -> str:
    """Mean and half the width of its 95 % t-interval."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.4g}"
    return f"{mean:.4g} ± {stats.sem(values) * stats.t.ppf(0.975, len(values) - 1):.2g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--configs", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/midi_training"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ensemble", action="store_true", help="judge the mean of the seeds' logits too")
    parser.add_argument("--options", nargs="*", default=[], help="for the command, as KEY=VALUE without dashes")
    args = parser.parse_args()
    console = Console(width=160)
    for config in args.configs:
        place, figures = SETS[config]
        if place and not args.data:
            parser.error(f"{config} needs --data PATH, with {place} in it.")
        folders = [(args.out / config / str(seed)).resolve() for seed in args.seeds]
        for seed, folder in zip(args.seeds, folders, strict=True):
            if not (folder / "run.json").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a run that was stopped
                root = args.data.resolve() / place if place else None
                run(config, root, seed, folder, args.threads, [f"--{o}" for o in args.options])
        runs = [folder / "version_0" for folder in folders]
        found = [test_results(one) for one in runs]
        times = [json.loads((folder / "run.json").read_text()) for folder in folders]
        took = ", ".join(f"{sum(t[name] for t in times) / len(times):.0f} {name}" for name in times[0])
        table = Table(title=f"midi/{config}: test, {len(found)} seeds, a run took {took.replace('_', ' ')}")
        rows = list(found[0][figures[0]])
        together = ensemble(runs, (args.out / config / "ensemble").resolve(), args.threads) if args.ensemble else {}
        names = ["figure", *("model" if row == "value" else row for row in rows), *(["ensemble"] if together else [])]
        for column in names:
            table.add_column(column, justify="right")
        for figure in (figure for figure in figures if figure in found[0]):
            told = ([results[figure][row] for results in found if row in results[figure]] for row in rows)
            cells = [spread(values) if values else "" for values in told]
            table.add_row(figure, *cells, *([f"{together[figure]['value']:.4g}"] if together else []))
        console.print(table)


if __name__ == "__main__":
    main()
