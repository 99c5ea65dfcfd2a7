"""Quality of motion made from text, beside real motion, the nearest neighbour among the training motions, and noise.

    python benchmarks/motion_quality.py --plots docs
    python benchmarks/motion_quality.py --evaluator RUN_FOLDER --run RUN_FOLDER
    python benchmarks/motion_quality.py --ablation

Trains motion/evaluator and then motion/procedural by the command, unless their run folders are given, and
tests the model with 10 and 50 steps of its sampler on the test split, which no setting was chosen on. --ablation trains
the model at a small size without and with the losses that smooth motion, 3 seeds each, and tells the jitter on held-out
clips. What is finished is kept in --out and not run again.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch
from command import litmotif, results
from rich.console import Console
from rich.table import Table

import datamodules
import lit_models
from datamodules.motion.draw import strip

STEPS = (10, 50)
SHOWN = {
    "r_precision_1": "R-precision@1",
    "r_precision_2": "R-precision@2",
    "r_precision_3": "R-precision@3",
    "matching_score": "matching score",
    "fid": "FID",
    "diversity": "diversity",
    "multimodality": "multimodality",
    "jerk": "jerk, m/s^3",
    "foot_skating": "foot skating",
    "velocity_error": "velocity error, (m/s)^2",
    "l1_diversity": "L1 diversity, m",
}
SMALL = ["--data.clips=500", "--model.network.hidden_size=64", "--model.network.num_layers=2", "--trainer.max_epochs=5"]
TERMS = {
    "none": "velocity: 0, acceleration: 0",
    "velocity, acceleration": "velocity: 2, acceleration: 4",
    "column_acceleration": "velocity: 0, acceleration: 0, column_acceleration: 3",
}
JITTER = ("jerk", "acceleration_error", "jerk_error")
PICTURED = (
    "a person walks forward and turns around to the left",
    "a person squats twice",
    "a person kicks with the right foot",
    "a person waves with the left hand",
)


def trained(config: str, folder: Path, threads: int, *changes: str) -> Path:
    """The run folder of a config, which is trained unless it was."""
    done = folder / "seconds.json"
    if not done.exists():
        where = f"--trainer.default_root_dir={folder}"
        seconds = litmotif("fit", "-c", config, where, "--test_after_fit=false", *changes, threads=threads)
        done.write_text(json.dumps(seconds))
    print(f"{config} {' '.join(changes)}: trained in {json.loads(done.read_text()):.0f} s", file=sys.stderr)
    return folder / "version_0"


def tested(run: Path, kept: Path, threads: int, *changes: str) -> dict[str, dict[str, float]]:
    """Each metric of a run on the test split, by row; kept, so that it is asked once."""
    if not kept.exists():
        litmotif("test", "-c", "motion/procedural", f"--ckpt_path={run}", *changes, threads=threads)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(results(run)))
    return json.loads(kept.read_text())


def quality(run: Path, evaluator: Path, out: Path, threads: int) -> Table:
    """The model with few and with many steps, beside the other rows."""
    found = {}
    for steps in STEPS:
        changes = (f"--model.evaluator={evaluator}", f"--model.sampling.steps={steps}")
        found[steps] = tested(run, out / f"{steps}_steps.json", threads, *changes)
    table = Table("metric", *(f"{steps} steps" for steps in STEPS), "real", "neighbour", "noise")
    for name, shown in SHOWN.items():
        few, many = (found[steps].get(name, {}) for steps in STEPS)  # a run may leave multimodality out
        rows = ("ground_truth", "neighbour", "noise")
        values = [few.get("value"), many.get("value"), *(few.get(row) for row in rows)]
        table.add_row(shown, *("—" if value is None else f"{value:.3g}" for value in values))
    return table


def ablation(out: Path, seeds: int, threads: int) -> Table:
    """Jitter without and with the losses that smooth motion: mean and range over seeds."""
    table = Table("losses", *(name.replace("_", " ") for name in JITTER), "jerk of real motion")
    for name, terms in TERMS.items():
        weights = f"--model.objective.loss_weights={{{terms}, forward_kinematics: 0}}"
        results = []
        for seed in range(seeds):
            folder = out / "ablation" / f"{name.replace(', ', '_')}_{seed}"
            size = (*SMALL, weights, f"--seed_everything={seed}")
            run = trained("motion/procedural", folder, threads, *size)
            results.append(tested(run, folder / "test.json", threads, *size))
        cells = []
        for metric in JITTER:
            values = [result[metric]["value"] for result in results]
            cells.append(f"{statistics.mean(values):.4g} [{min(values):.4g}, {max(values):.4g}]")
        real = statistics.mean(result["jerk"]["ground_truth"] for result in results)
        table.add_row(name, *cells, f"{real:.3g}")
    return table


def draw(run: Path, path: Path) -> None:
    """Motions from four captions."""
    model = lit_models.load(run)
    features = model.hparams["features"]
    told = {"kind": features["kind"], "contacts": "contacts" in features}
    data = datamodules.MotionClips(clips=13, val=0.2, test=0.2, **told)
    with torch.no_grad():
        made = model.generate(PICTURED, num_frames=80, seed=0)
    clips = [data.clip(motion, caption, caption) for motion, caption in zip(made, PICTURED, strict=True)]
    path.mkdir(parents=True, exist_ok=True)
    strip(clips).savefig(path / "motion_from_text.png", dpi=110)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained motion/procedural")
    parser.add_argument("--evaluator", type=Path, help="a trained motion/evaluator")
    parser.add_argument("--out", type=Path, default=Path("runs/motion_quality"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ablation", action="store_true", help="the losses that smooth motion instead")
    parser.add_argument("--seeds", type=int, default=3, help="of the ablation")
    parser.add_argument("--plots", type=Path, help="folder for motion_from_text.png")
    arguments = parser.parse_args()
    out, console = arguments.out.resolve(), Console(width=160)
    if arguments.ablation:
        console.print(ablation(out, arguments.seeds, arguments.threads))
        return
    evaluator = arguments.evaluator or trained("motion/evaluator", out / "evaluator", arguments.threads)
    run = arguments.run or trained("motion/procedural", out / "model", arguments.threads)
    console.print(quality(run.resolve(), evaluator.resolve(), out, arguments.threads))
    if arguments.plots is not None:
        draw(run, arguments.plots)


if __name__ == "__main__":
    main()
