"""Export of a trained model for another runtime: ``litmotif export FORMAT``."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.table import Table

from ...export.rtneural import Report, export
from ...export.rtneural.sidecar import digest
from ..tables import console
from .frame import Command, CommandParser
from .trained_run import TrainedRun

FORMATS = {"rtneural": "the dynamic JSON format of RTNeural (real-time inference in C++), with golden frames"}


class Export(Command):
    """Writes the files of a format, with a sidecar that says where they come from."""

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
        run = TrainedRun.find(options.ckpt_path, options.config)
        data, content = run.described_data(options.ask_data), run.content
        hparams = content.get("hyper_parameters", {})
        about = {
            "frame": data.pop("frame", None),
            "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "checkpoint": {
                "file": run.file.name,
                "sha256": digest(run.file),
                "epoch": content.get("epoch"),
                "global_step": content.get("global_step"),
                "hyper_parameters": {k: v for k, v in hparams.items() if not isinstance(v, list)},  # not of each column
            },
            "metrics": run.results(),
            "data": data,
        }
        golden = (options.frames, options.golden_seed)
        report = export(run.module, options.out, options.name, about, *golden, options.fold_batchnorm)
        console().print(summary(report, run.file))


def summary(report: Report, source: Path) -> Table:
    """What was written, and how near it comes to the module."""
    table = Table(title=f"{report.name}, from {source}", show_header=False)
    table.add_row("layers", " → ".join(report.layers))
    table.add_row("parameters", f"{report.parameters:,}")
    table.add_row("bytes", f"{report.bytes:,} ({report.bytes / report.parameters:.2f} a parameter)")
    table.add_row("largest difference", f"{report.difference:.1e} (interpreted file and PyTorch, golden frames)")
    for path in report.files:
        table.add_row("file", str(path))
    return table
