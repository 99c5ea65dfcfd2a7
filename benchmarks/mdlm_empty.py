"""Empty-8x8: held-out starts reached at the optimum, by seed, and all 140 starts learned.

    python benchmarks/mdlm_empty.py --seeds 0 1 2

Runs the README's command once a seed, and once with mdlm/all_starts over it; each in a process of its own, its wall
clock from the first import to the table.
"""

import argparse
import tempfile
from pathlib import Path

from command import litmotif, results
from rich.console import Console
from rich.table import Table


def fit(folder: Path, *options: str) -> tuple[dict[str, dict[str, float]], float]:
    """Run the main job; its results and its seconds."""
    seconds = litmotif("fit", "-c", "mdlm/empty_8x8", *options, f"--trainer.default_root_dir={folder}")
    return results(folder / "version_0"), seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split_seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    jobs = {
        f"seed {seed}, held-out set {split}": (f"--seed_everything={seed}", f"--data.split_seed={split}")
        for split in args.split_seeds
        for seed in args.seeds
    }
    jobs |= {f"seed {seed}, all starts": ("-c", "mdlm/all_starts", f"--seed_everything={seed}") for seed in args.seeds}
    table = Table(title="MDLM-DiT on Empty-8x8")
    for column in ("run", "success", "95 % interval", "excess steps", "NELBO", "floor", "seconds"):
        table.add_column(column)
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, options) in enumerate(jobs.items()):
            results, seconds = fit(Path(scratch) / str(number), *options)
            success, nelbo = results["success"], results["nelbo"]
            table.add_row(
                name,
                f"{success['value']:.3f}",
                f"[{success['low']:.3f}, {success['high']:.3f}]",
                f"{results['excess_steps']['value']:.3f}",
                f"{nelbo['value']:.3f}",
                f"{nelbo['expert']:.3f}",
                f"{seconds:.0f}",
            )
            Console(stderr=True).print(f"{name}: {success['value']:.3f} in {seconds:.0f} s")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
