"""Export of a trained model for another runtime: ``litmotif export FORMAT``."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from .frame import Command, CommandParser

if TYPE_CHECKING:
    from .trained_run import TrainedRun

FORMATS = {"rtneural": "the dynamic JSON format of RTNeural (real-time inference in C++), with golden frames"}


class Export(Command):
    """Writes the files of a format."""

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Format, run, and where to write."""
        formats = "; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())
        parser.add_argument("format", choices=list(FORMATS), help=formats)
        parser.add_run()
        parser.add_argument("--out", type=Path, required=True, help="folder for the files")
        parser.add_argument("--name", type=str | None, help="of the files; the class in lower case by default")
        parser.add_argument("--frames", type=int, default=256, help="golden frames")
        parser.add_argument("--golden_seed", type=int, default=0, help="of the golden frames")
        parser.add_argument("--fold_batchnorm", type=bool, default=True, help="fold batch normalisation where exact")
        parser.add_argument("--ask_data", type=bool, default=True, help="put what the data says into the sidecar")

    def run(self, options: Namespace) -> None:
        """Write, and show what was written."""
        from ...export.rtneural import export
        from .trained_run import TrainedRun

        run = TrainedRun.find(options.ckpt_path, options.config)
        data = run.described_data(options.ask_data)
        about = {
            "frame": data.pop("frame", None),
            "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "checkpoint": checkpoint_of(run),
            "metrics": metrics_of(run),
            "data": data,
        }
        golden = (options.frames, options.golden_seed)
        show(export(run.module(), options.out, options.name, about, *golden, options.fold_batchnorm), run.file)


def checkpoint_of(run: "TrainedRun") -> dict[str, Any]:
    """Which checkpoint it was, and how it was made but for what is told of each column."""
    from ...export.rtneural.sidecar import digest

    hparams = run.content.get("hyper_parameters", {})
    chosen = {key: value for key, value in hparams.items() if not isinstance(value, list)}
    known = {key: run.content.get(key) for key in ("epoch", "global_step")}
    return {"file": run.file.name, "sha256": digest(run.file), **known, "hyper_parameters": chosen}


def metrics_of(run: "TrainedRun") -> dict[str, Any]:
    """Test results of the run, each with its baselines; empty where it was not tested, or where others were.

    A fit tests the best weights: where there are some, the results are not those of another checkpoint.
    """
    from .run_summary import test_results

    best = run.file.with_name("best.ckpt")
    return {} if best.is_file() and not best.samefile(run.file) else dict(test_results(run.folder))


def show(report: Any, source: Path) -> None:
    """Print the report of an export."""
    from rich.table import Table

    from ..tables import console

    table = Table(title=f"{report.name}, from {source}", show_header=False)
    table.add_row("layers", " → ".join(report.layers))
    table.add_row("parameters", f"{report.parameters:,}")
    table.add_row("bytes", f"{report.bytes:,} ({report.bytes / report.parameters:.2f} a parameter)")
    table.add_row("largest difference", f"{report.difference:.1e} (interpreted file and PyTorch, golden frames)")
    for path in report.files:
        table.add_row("file", str(path))
    console().print(table)
