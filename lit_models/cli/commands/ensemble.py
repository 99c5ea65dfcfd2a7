"""``litmotif ensemble``: the mean of several runs, judged beside each of them, and exported as one network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callbacks.results import BOUNDS, Results, ResultsTable
from litmotif.files import write_atomically

from ...core import checkpoint
from ...core.checkpoint import CheckpointError
from ...export.ensemble import Of, averaged
from .. import ending
from ..console import console
from .options import OptionsParser
from .outcome import as_json
from .runs import data_of, judge, public_modules

OF = "mean of the outputs (probabilities, where they are) or of the logits before the last activation"


def command(arguments: list[str]) -> int:
    """Carry out ``litmotif ensemble``.

    Args:
        arguments: what follows the command.

    Returns:
        The exit status: 0; 1 where the runs have no mean, or none that can be exported; 2 for a wrong request.
    """
    parser = OptionsParser("ensemble", "Average the predictions of several runs, and judge them together.")
    parser.add_argument("runs", nargs="+", help="run folders, or checkpoints in them")
    parser.add_argument("--of", type=str, choices=["outputs", "logits"], default=None, help=OF)
    parser.add_argument("--out", type=str | None, help="folder for results.json and the exported network")
    parser.add_argument("--export", type=str, choices=["rtneural"], default=None, help="write one exact network too")
    parser.add_argument("--data", type=str | None, help="run whose data is tested on; the first one by default")
    parser.add_argument("--device", type=str, default="auto", help="accelerator to judge on: auto, cpu, cuda, mps")
    try:
        options = parser.parse_args(arguments)
        if options.export and not options.out:
            parser.error("--export needs --out FOLDER.")
        if len(options.runs) < 2:
            parser.error("give at least 2 runs.")
    except SystemExit as leaving:
        return int(leaving.code or 0)
    try:
        return _carry_out(options)
    except Exception as error:
        ending.report(error)
        return ending.FAILED


def _carry_out(options: Any) -> int:
    of: Of = options.of or ("logits" if options.export else "outputs")
    members = load_all(options.runs)
    together = averaged(members, of)
    if options.export:
        together.export_layers()  # refused before anything is computed
    data = data_of(folder_of(options.data or options.runs[0]))
    names = [name_of(run) for run in options.runs]
    singles = {name: judge(m, data, options.device) for name, m in zip(names, members, strict=True)}
    found = beside(judge(together, data, options.device), singles)
    console().print(ResultsTable().table(found, f"model: the mean of the {of} of {len(members)} runs"))
    if options.out:
        home, report = Path(options.out), {"members": [str(run) for run in options.runs], "of": of}
        write_atomically(home / "results.json", as_json(report | {"results": found}))
        if options.export:
            told = {"class": type(data).__name__, **(data.describe() if hasattr(data, "describe") else {})}
            _export(together, home, {"frame": told.pop("frame", None), **report, "metrics": found, "data": told})
    return 0


# ---------------------------------------------------------------------- members
def load_all(runs: Sequence[str]) -> list[Any]:
    """The modules of several runs.

    Raises:
        CheckpointError: of different classes or different inputs and outputs, or of a class that has no mean.
    """
    able = [name for name, owner in public_modules().items() if hasattr(owner, "export_layers")]
    members = [checkpoint.load(run) for run in runs]
    for run, member in zip(runs, members, strict=True):
        if type(member) is not type(members[0]):
            asked = f"{runs[0]} holds a {type(members[0]).__name__}"
            raise CheckpointError(f"{run} holds a {type(member).__name__}, {asked}: an ensemble is of one class.")
        if type(member).__name__ not in able:
            raise CheckpointError(
                f"{run}: {type(member).__name__} has no chain of layers, so that its outputs have no mean here. "
                f"Those that have: {', '.join(able)}."
            )
        for key in ("input_size", "output_size", "features", "outputs"):
            values = [checkpoint.plain(m.hparams.get(key)) for m in (members[0], member)]
            if values[0] != values[1]:
                raise CheckpointError(
                    f"{run}: {key} is {values[1]}, {runs[0]} has {values[0]}: their frames are not the same."
                )
    return members


def folder_of(run: str) -> Path:
    """The run folder of a run, or of a checkpoint in it."""
    path = Path(run)
    return path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else path.parent


def name_of(run: str) -> str:
    """What a run is called in the table: its folder with what lies above it."""
    folder = folder_of(run).resolve()
    return "/".join(folder.parts[-2:])


def beside(ensemble: Results, singles: dict[str, Results]) -> Results:
    """The results of the ensemble with a row a member, behind it, before the baselines."""
    together: Results = {}
    for metric, rows in ensemble.items():
        own = {row: rows[row] for row in ("value", *BOUNDS) if row in rows}
        of_members = {name: single[metric]["value"] for name, single in singles.items() if metric in single}
        together[metric] = own | of_members | {row: value for row, value in rows.items() if row not in own}
    return together


def _export(together: Any, home: Path, about: dict[str, Any]) -> None:
    from ...export.rtneural.folder import export

    report = export(together, home, "ensemble", about)
    print(
        f"{home / 'ensemble.json'}: {report.parameters:,} parameters, {report.bytes:,} bytes; off PyTorch by "
        f"{report.difference:.1e} on the golden frames"
    )
