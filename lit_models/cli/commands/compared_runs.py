"""Compared runs: tested runs by algorithm and seed, what they were judged on, and which of their metrics tell."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.directions import Direction, direction_of
from litmotif.comparison import Scores
from litmotif.names import did_you_mean

from .. import configs
from ..errors import RequestError
from ..run_claim import newest
from .run_summary import test_results

FREE = frozenset({"batch_size", "num_workers", "cache_dir", "root", "seed", "pin_memory", "steps_per_epoch"})
"""Options of data that do not change what a run is judged on."""


@dataclass
class Algorithm:
    """Runs of one experiment that differ in their seed.

    Attributes:
        name: of the table.
        runs: folder by seed.
        results: test metrics by seed.
        data: what they are judged on.
    """

    name: str
    runs: dict[int, Path] = field(default_factory=dict)
    results: dict[int, dict[str, float]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def scores(self, metric: str) -> dict[int, Scores]:
        """Scores (1,) by seed."""
        return {seed: np.array([found[metric]]) for seed, found in self.results.items()}

    def values(self, metric: str) -> Scores:
        """Scores (S, 1)."""
        return np.stack(list(self.scores(metric).values()))


def gather(paths: Sequence[Path]) -> list[Algorithm]:
    """The tested runs below the paths, by experiment; of several runs of one seed the newest counts.

    Raises:
        RequestError: a path holds no tested run.
    """
    found: dict[str, Algorithm] = {}
    for path in paths:
        single = (path / "config.yaml").is_file()
        runs = [path] if single else sorted(file.parent for file in path.rglob("config.yaml") if _is_run(file.parent))
        reached = {run: _reached(run) for run in sorted(runs, key=lambda run: run.stat().st_mtime)}
        tested = {run: values for run, values in reached.items() if values}
        if not tested:
            why = "no run folder is there" if not runs else "no run there was tested: litmotif test --ckpt_path RUN"
            raise RequestError(f"{path}: {why}.")
        name = str(path.parent if single else path)
        algorithm = found.setdefault(name, Algorithm(name))
        for run, values in tested.items():
            config = configs.read(run / "config.yaml") or {}
            seed = config.get("seed_everything")
            if isinstance(seed, bool) or not isinstance(seed, int):
                raise RequestError(f"{run / 'config.yaml'}: seed_everything is {seed}: no seed to tell runs by.")
            algorithm.runs[seed], algorithm.results[seed] = run, values
            algorithm.data = _data(config)
    if len(found) > 1:
        places = [Path(name).absolute() for name in found]
        shared = os.path.commonpath([place.parent for place in places])
        for place, algorithm in zip(places, found.values(), strict=True):
            algorithm.name = str(place.relative_to(shared))
    return list(found.values())


def _is_run(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or (folder / "results.json").is_file()


def _reached(run: Path) -> dict[str, float]:
    found = test_results(newest(run, "test", "results.json").parent)
    return {name: rows["value"] for name, rows in found.items() if np.isfinite(rows.get("value", np.nan))}


def _data(config: dict[str, Any]) -> dict[str, Any]:
    data = config.get("data") or {}
    options = {key: value for key, value in (data.get("init_args") or {}).items() if key not in FREE}
    return {"class_path": data.get("class_path"), **options}


def require_alike(algorithms: Sequence[Algorithm], allowed: Sequence[str]) -> None:
    """All runs are judged on the same.

    Raises:
        RequestError: they are not; names the keys.
    """
    first = algorithms[0]
    for other in algorithms[1:]:
        keys = first.data.keys() | other.data.keys()
        differing = sorted(k for k in keys - set(allowed) if first.data.get(k) != other.data.get(k))
        if differing:
            told = ", ".join(f"data.{k} is {first.data.get(k)} and {other.data.get(k)}" for k in differing)
            raise RequestError(
                f"{first.name} and {other.name} are judged on different data: {told}. Where that does not matter: "
                f"--allow {' '.join(differing)}."
            )


def choose_metrics(
    algorithms: Sequence[Algorithm], asked: Sequence[str], lower: Sequence[str], higher: Sequence[str]
) -> dict[str, Direction]:
    """The metrics to compare, and which way is better.

    Raises:
        RequestError: a run lacks one that is asked for, or it is not known what is better.
    """
    results = [found for one in algorithms for found in one.results.values()]
    common = [name for name in results[0] if all(name in found for found in results)]
    told: dict[str, Direction] = {**dict.fromkeys(higher, "max"), **dict.fromkeys(lower, "min")}
    for name in [*asked, *told]:
        if name not in common:
            raise RequestError(
                f"not every run has the test metric {name!r}.{did_you_mean(name, common)} All: {common}."
            )
    chosen: dict[str, Direction] = {}
    for name in asked or common:
        direction = told.get(name) or direction_of(name)
        if direction is not None:
            chosen[name] = direction
        elif asked:
            raise RequestError(f"{name}: is more better, or less? Give --higher {name} or --lower {name}.")
    if not chosen:
        raise RequestError(f"of no metric it is known what is better: give --higher or --lower with some of {common}.")
    return chosen
