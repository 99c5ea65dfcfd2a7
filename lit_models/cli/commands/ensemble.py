"""Ensemble of trained runs: ``litmotif ensemble``, judged beside each of them and exported as one network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from callbacks.results import Results, ResultsTable
from litmotif.names import BOUNDS

from ...core import checkpoint
from ...core.checkpoint import CheckpointError
from ...export.ensemble import Of, averaged
from ..errors import RequestError
from ..tables import console
from .frame import Command, CommandParser
from .run_summary import write_json
from .trained_run import TrainedRun, evaluate, public_modules

OF = "mean of the outputs (probabilities, where they are) or of the logits before the last activation"
ALIKE = ("input_size", "output_size", "features", "outputs")
"""Hyper-parameters that members share."""


class Ensemble(Command):
    """Averages the predictions of several runs, and judges them together."""

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Runs, of what the mean is, and where to write."""
        parser.add_argument("runs", nargs="+", help="run folders, or checkpoints in them")
        parser.add_argument("--of", type=str, choices=["outputs", "logits"], default=None, help=OF)
        parser.add_argument("--out", type=str | None, help="folder for results.json and the exported network")
        parser.add_argument("--export", type=str, choices=["rtneural"], default=None, help="one exact network too")
        parser.add_argument("--data", type=str | None, help="run whose data is tested on; the first one by default")
        parser.add_argument("--device", type=str, default="auto", help="accelerator to judge on: auto, cpu, cuda, mps")

    def run(self, options: Namespace) -> None:
        """Judge, show, write."""
        if options.export and not options.out:
            raise RequestError("--export needs --out FOLDER.")
        if len(options.runs) < 2:
            raise RequestError("give at least 2 runs.")
        of: Of = options.of or ("logits" if options.export else "outputs")
        runs = [TrainedRun.find(which) for which in options.runs]
        members = load_members(runs)
        together = averaged(members, of)
        if options.export:
            together.export_layers()  # refused before anything is computed
        source = TrainedRun.find(options.data) if options.data else runs[0]
        data = source.datamodule()
        if hasattr(data, "leave_out"):
            for run in runs:
                data.leave_out(run.seen())  # a song that one member knows tells nothing of the others' mean
        singles = {run.name: evaluate(m, data, options.device) for run, m in zip(runs, members, strict=True)}
        found = beside(evaluate(together, data, options.device), singles)
        console().print(ResultsTable().table(found, f"model: the mean of the {of} of {len(members)} runs"))
        if options.out:
            home, about = Path(options.out), {"members": list(options.runs), "of": of}
            write_json(home / "results.json", about | {"results": found})
            if options.export:
                described = source.described_data()
                frame = described.pop("frame", None)
                export(together, home, {"frame": frame, **about, "metrics": found, "data": described})


def load_members(runs: Sequence[TrainedRun]) -> list[Any]:
    """The modules of several runs.

    Raises:
        CheckpointError: of different classes or different inputs and outputs, or of a class that has no mean.
    """
    first, exportable = runs[0], ", ".join(public_modules("export_layers"))
    kind = type(first.module).__name__
    for run in runs:
        if type(run.module) is not type(first.module):
            found = type(run.module).__name__
            raise CheckpointError(f"{run.file} holds a {found}, {first.file} a {kind}: an ensemble is of one class.")
        for key in ALIKE:
            expected, found = (checkpoint.plain(one.module.hparams.get(key)) for one in (first, run))
            if found != expected:
                raise CheckpointError(f"{run.file}: {key} is {found}, {first.file} has {expected}: other frames.")
    if not hasattr(first.module, "export_layers"):
        raise CheckpointError(f"{first.file}: {kind} has no chain of layers to average; {exportable} have.")
    return [run.module for run in runs]


def beside(ensemble: Results, singles: dict[str, Results]) -> Results:
    """The results of the ensemble with a row a member, behind it, before the baselines."""
    together: Results = {}
    for metric, rows in ensemble.items():
        own = {row: rows[row] for row in ("value", *BOUNDS) if row in rows}
        of_members = {name: single[metric]["value"] for name, single in singles.items() if metric in single}
        together[metric] = own | of_members | {row: value for row, value in rows.items() if row not in own}
    return together


def export(together: Any, home: Path, about: dict[str, Any]) -> None:
    """Write it as one network of RTNeural."""
    from ...export import rtneural

    report = rtneural.export(together, home, "ensemble", about)
    print(
        f"{home / 'ensemble.json'}: {report.parameters:,} parameters, {report.bytes:,} bytes; off PyTorch by "
        f"{report.difference:.1e} on the golden frames"
    )
