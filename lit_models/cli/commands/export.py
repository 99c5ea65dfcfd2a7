"""``litmotif export FORMAT``: a trained model as files for another runtime."""

import datetime
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .. import configs, ending, run_folder
from .options import OptionsParser

if TYPE_CHECKING:
    from jsonargparse import Namespace

FORMATS = {"rtneural": "the dynamic JSON format of RTNeural (real-time inference in C++), with golden frames"}
WHICH = ("last", "best")


def command(arguments: list[str]) -> int:
    """Run it; the exit status."""
    if not arguments or arguments[0] not in FORMATS:
        return _formats(arguments)
    options = _parser(arguments[0]).parse_args(arguments[1:])
    try:
        file = find(options.config, options.ckpt_path)
    except (configs.ConfigError, FileNotFoundError) as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    try:
        _export(file, options)
    except Exception as error:
        ending.report(error)
        return ending.FAILED
    return 0


def _formats(arguments: Sequence[str]) -> int:
    asked_for_help = bool(arguments) and arguments[0] in ("-h", "--help")
    if arguments and not asked_for_help:
        print(f"litmotif: there is no format {arguments[0]!r}.", file=sys.stderr)
    lines = [f"  {name:10} {meaning}" for name, meaning in FORMATS.items()]
    text = "\n".join(["usage: litmotif export FORMAT [options]", "", *lines, "", "litmotif export FORMAT --help"])
    print(text, file=sys.stdout if asked_for_help else sys.stderr)
    return 0 if asked_for_help else 2


def _parser(name: str) -> OptionsParser:
    parser = OptionsParser(f"export {name}", f"Write a trained model in {FORMATS[name]}.")
    parser.add_configs()
    parser.add_argument("--ckpt_path", type=str, default="best", help="best, last, a file, or a run folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--name", type=str, default=None, help="of the files; the class in lower case by default")
    parser.add_argument("--frames", type=int, default=256, help="golden frames")
    parser.add_argument("--golden_seed", type=int, default=0, help="of the golden frames")
    parser.add_argument("--fold_batchnorm", type=bool, default=True, help="fold batch normalisation where exact")
    parser.add_argument("--ask_data", type=bool, default=True, help="put the data's own description into the sidecar")
    return parser


def _export(file: Path, options: "Namespace") -> None:
    from ...core import checkpoint
    from ...export.rtneural import export

    kept = checkpoint.read(file)
    data = data_of(kept, options.ask_data)
    about = {
        "frame": data.pop("frame", None),
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "checkpoint": checkpoint_of(file, kept),
        "metrics": metrics_of(file),
        "data": data,
    }
    report = export(
        checkpoint.load(file),
        options.out,
        options.name,
        about,
        options.frames,
        options.golden_seed,
        options.fold_batchnorm,
    )
    _show(report, file)


def find(requested: list[str], which: str) -> Path:
    """The checkpoint that ``-c`` and ``--ckpt_path`` mean.

    Args:
        requested: configs, only to know where the runs lie.
        which: ``best`` or ``last`` of the newest run, a file, a run folder, or a folder of runs.

    Raises:
        ConfigError: no such config, or none where one is needed.
        FileNotFoundError: no such checkpoint; lists what was looked for.
    """
    if not requested and which in WHICH:
        raise configs.ConfigError(f"--ckpt_path {which} needs -c NAME, or give a checkpoint file or a run folder.")
    root = Path("runs") / configs.experiment_name(requested)
    for name in requested:
        content = yaml.safe_load(configs.check(configs.find(name)).read_text(encoding="utf-8"))
        root = Path((content.get("trainer") or {}).get("default_root_dir") or root)
    return run_folder.find_checkpoint(which, root, ("best", "last"))


def checkpoint_of(file: Path, kept: Mapping[str, Any]) -> dict[str, Any]:
    """Which checkpoint it was, and how it was made but for what is told of each column."""
    from ...export.rtneural.sidecar import digest

    chosen = {key: value for key, value in kept.get("hyper_parameters", {}).items() if not isinstance(value, list)}
    known = {"epoch": kept.get("epoch"), "global_step": kept.get("global_step"), "hyper_parameters": chosen}
    return {"file": file.name, "sha256": digest(file), **known}


def metrics_of(file: Path) -> dict[str, Any]:
    """Test results of the run, each with its baselines; empty where it was not tested, or where others were.

    A fit tests the best weights: where there are some, the results are not those of another checkpoint.
    """
    from .outcome import results

    best = file.with_name("best.ckpt")
    return {} if best.is_file() and not best.samefile(file) else dict(results(file.parent.parent))


def data_of(kept: Mapping[str, Any], ask: bool) -> dict[str, Any]:
    """The data of the run: its class and options, and what the datamodule says of itself.

    Args:
        kept: the checkpoint; Lightning keeps a datamodule's state under the name of its class.
        ask: build the datamodule and take in its ``describe()``, where it has one.

    Raises:
        ValueError: what the datamodule raises where its data is not here.
    """
    package = importlib.import_module("datamodules")
    name = next((name for name in package.__all__ if name in kept), None)
    options = dict(kept.get("datamodule_hyper_parameters", {}))
    found = {"class": name, "options": options}
    kind = getattr(package, name) if name else None
    if ask and kind is not None and hasattr(kind, "describe"):
        return {**found, **kind(**{key: value for key, value in options.items() if key[0] != "_"}).describe()}
    return found


def _show(report: Any, file: Path) -> None:
    from rich.table import Table

    from ..console import console

    table = Table(title=f"{report.name}, from {file}", show_header=False)
    table.add_row("layers", " → ".join(report.layers))
    table.add_row("parameters", f"{report.parameters:,}")
    table.add_row("bytes", f"{report.bytes:,} ({report.bytes / report.parameters:.2f} a parameter)")
    table.add_row("largest difference", f"{report.difference:.1e} (interpreted file and PyTorch, golden frames)")
    for path in report.files:
        table.add_row("file", str(path))
    console().print(table)
