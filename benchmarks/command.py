"""The ``litmotif`` command in a process of its own, as benchmarks measure it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from callbacks.results import Results
from lit_models.cli.commands.run_summary import test_results
from lit_models.cli.run_claim import newest

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("fit", "validate", "test", "predict")


def results(run: Path) -> Results:
    """Each metric of the newest test of a run, by row."""
    return test_results(newest(run, "test", "results.json").parent)


def litmotif(*arguments: str, threads: int | None = None) -> float:
    """Carry it out, without a progress bar; where it fails, this process ends with what it complained of.

    Args:
        arguments: as on the command line.
        threads: of PyTorch; None takes those that this process was given.

    Returns:
        The seconds from the first import to the end.
    """
    quiet = ["--trainer.enable_progress_bar=false"] if arguments[0] in RUNS else []
    given = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "lit_models", *arguments, *quiet],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-4000:])
    return time.perf_counter() - start
