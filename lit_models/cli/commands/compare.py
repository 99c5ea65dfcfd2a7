"""Comparison of runs: ``litmotif compare``, algorithms over seeds, with intervals, tests and a picture."""

from collections.abc import Sequence
from itertools import combinations, count
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import Namespace
from rich.table import Column, Table

from callbacks.comparisons import draw_comparison
from callbacks.directions import Direction
from litmotif.comparison import Comparison, Scores, compare, holm, interquartile_mean, stratified_interval
from litmotif.files import atomic

from ..errors import RequestError
from ..tables import console
from .compared_runs import Algorithm, choose_metrics, gather, require_alike
from .frame import Command, CommandParser
from .run_summary import write_json

SIGNIFICANT = 0.05


class Compare(Command):
    """Compares what runs of several experiments reach in their tests; a run with one seed is one observation."""

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Runs, metrics, and where the report goes."""
        parser.add_argument("runs", nargs="+", help="run folders, or folders of runs (one seed each) of an experiment")
        parser.add_argument(
            "--metrics", nargs="+", default=[], help="test metrics; all whose name tells what is better"
        )
        parser.add_argument("--lower", nargs="+", default=[], help="metrics of which less is better")
        parser.add_argument("--higher", nargs="+", default=[], help="metrics of which more is better")
        parser.add_argument("--allow", nargs="+", default=[], help="keys of data in which the runs may differ")
        parser.add_argument("--out", type=str, help="folder for compare.json and compare.png")
        parser.add_argument("--overwrite", action="store_true", help="write over an earlier comparison")
        parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")

    def run(self, options: Namespace) -> None:
        """Read, compare, show."""
        algorithms = gather([Path(run) for run in options.runs])
        require_alike(algorithms, options.allow)
        metrics = choose_metrics(algorithms, options.metrics, options.lower, options.higher)
        out = None if options.out is None else Path(options.out)
        if out is not None and (out / "compare.json").exists() and not options.overwrite:
            raise RequestError(f"{out / 'compare.json'} is there: choose another --out, or give --overwrite.")
        source = np.random.default_rng(options.seed)
        reached = {metric: {one.name: _reached(one.values(metric), source) for one in algorithms} for metric in metrics}
        pairs = {
            metric: {
                (a.name, b.name): compare(a.scores(metric), b.scores(metric), direction == "min", source)
                for a, b in combinations(algorithms, 2)
            }
            for metric, direction in metrics.items()
        }
        adjusted = _adjusted(pairs)
        console().print(reached_table(algorithms, metrics, reached))
        if len(algorithms) > 1:
            console().print(pairs_table(pairs, adjusted))
        said = remarks(algorithms, len(adjusted))
        for remark in said:
            print(remark)
        if out is not None:
            write_json(out / "compare.json", _plain(algorithms, metrics, reached, pairs, adjusted) | {"remarks": said})
            with atomic(out / "compare.png") as file:
                columns = {m: {one.name: one.values(m)[:, 0] for one in algorithms} for m in metrics}
                draw_comparison(columns, reached, metrics).savefig(file, format="png", dpi=110)
            print(f"report: {out / 'compare.json'}, {out / 'compare.png'}")


# ---------------------------------------------------------------------- what came of it
def _reached(values: Scores, source: np.random.Generator) -> tuple[float, float, float]:
    return (interquartile_mean(values), *stratified_interval([values], interquartile_mean, source))


Pairs = dict[str, dict[tuple[str, str], Comparison]]
Adjusted = dict[tuple[str, tuple[str, str]], float]


def _adjusted(pairs: Pairs) -> Adjusted:
    """P-values by metric and pair, for all that is tested at once."""
    keys = [(metric, pair) for metric, of in pairs.items() for pair, one in of.items() if one.p is not None]
    return dict(zip(keys, holm([pairs[metric][pair].p or 0.0 for metric, pair in keys]), strict=True))


def reached_table(
    algorithms: Sequence[Algorithm],
    metrics: dict[str, Direction],
    reached: dict[str, dict[str, tuple[float, float, float]]],
) -> Table:
    """Interquartile means with their intervals, ranked."""
    table = Table(title="interquartile mean over seeds [95 %, bootstrap], (rank)")
    table.add_column("metric")
    for one in algorithms:
        table.add_column(f"{one.name}\n{_seeds(one)}", justify="right")
    for metric, direction in metrics.items():
        order = sorted(reached[metric], key=lambda name: reached[metric][name][0], reverse=direction == "max")
        cells = [f"{_interval(*reached[metric][one.name])} ({order.index(one.name) + 1})" for one in algorithms]
        table.add_row(f"{metric.replace('_', ' ')} {'↓' if direction == 'min' else '↑'}", *cells)
    return table


def _seeds(one: Algorithm) -> str:
    return f"{len(one.runs)} seed{'s' * (len(one.runs) != 1)}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.4g}" + (f" [{low:.4g}, {high:.4g}]" if np.isfinite(low) else "")


def pairs_table(pairs: Pairs, adjusted: Adjusted) -> Table:
    """Each against each."""
    right = [Column(name, justify="right") for name in ("difference", "P(first is better)", "p", "p, Holm", "d")]
    table = Table("metric", "first", "second", *right, "", title="each against each")
    for metric, of in pairs.items():
        for pair, one in of.items():
            p = adjusted.get((metric, pair))
            verdict = "" if p is None or p > SIGNIFICANT else "differs"
            numbers = ("—" if value is None else f"{value:.3g}" for value in (one.p, p, one.effect))
            improvement = _interval(*one.improvement)
            table.add_row(metric.replace("_", " "), *pair, f"{one.difference:.4g}", improvement, *numbers, verdict)
    return table


def remarks(algorithms: Sequence[Algorithm], tests: int) -> list[str]:
    """What the numbers cannot tell, where so many tests are made at once."""
    said = []
    if single := [one.name for one in algorithms if len(one.runs) < 2]:
        said.append(
            f"{', '.join(single)}: one seed, so no interval and no test. Episodes of one trained policy tell how well "
            "that policy does, not its algorithm (Colas et al., arXiv:1904.06979): litmotif series --seeds 0-4."
        )
    fewest = min(len(one.runs) for one in algorithms)
    least = tests * 2 / 2**fewest
    if fewest > 1 and tests and least > SIGNIFICANT:
        enough = next(seeds for seeds in count(fewest) if tests * 2 / 2**seeds <= SIGNIFICANT)
        said.append(
            f"{fewest} seeds, {tests} tests: no p-value can be below {min(least, 1.0):.2g} after Holm, so nothing can "
            f"be found to differ. Take {enough} seeds, or fewer --metrics."
        )
    if len({frozenset(one.runs) for one in algorithms}) > 1:
        said.append("The seeds differ, so the runs are not paired.")
    return said


def _plain(
    algorithms: Sequence[Algorithm],
    metrics: dict[str, Direction],
    reached: dict[str, dict[str, tuple[float, float, float]]],
    pairs: Pairs,
    adjusted: Adjusted,
) -> dict[str, Any]:
    tests = [
        {
            "metric": metric,
            "first": first,
            "second": second,
            "difference": one.difference,
            "probability_of_improvement": list(one.improvement),
            "p": one.p,
            "p_holm": adjusted.get((metric, (first, second))),
            "cohens_d": one.effect,
            "pairs": one.pairs,
        }
        for metric, of in pairs.items()
        for (first, second), one in of.items()
    ]
    return {
        "runs": {one.name: {str(seed): str(run) for seed, run in one.runs.items()} for one in algorithms},
        "directions": dict(metrics),
        "interquartile_mean": reached,
        "tests": tests,
    }
