"""``litmotif slurm``: the job script of a config, from the templates in ``configs/slurm``."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace

from .. import configs, ending
from .options import OptionsParser

OVERLAY = "trainer/slurm"
DIRECTIVES = {
    "nodes": "nodes",
    "tasks": "ntasks-per-node",
    "gpus": "gpus-per-node",
    "cpus": "cpus-per-task",
    "time": "time",
    "mem": "mem",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "array": "array",
    "name": "job-name",
}
"""Our options, and what sbatch calls them."""


def command(arguments: list[str]) -> int:
    """Carry out ``litmotif slurm``.

    Args:
        arguments: what follows the command.

    Returns:
        The exit status: 0; 1 where the script cannot be written or submitted; 2 for a wrong request.
    """
    parser = _parser()
    try:
        options, overrides = parser.take(arguments)
        if not options.config:
            parser.error("no config: name one with -c.")
        for name in options.config:
            configs.check(configs.find(name))
        template = configs.folder() / "slurm" / f"{options.template or _template(options)}.sbatch"
        if not template.is_file():
            there = ", ".join(sorted(path.stem for path in template.parent.glob("*.sbatch")))
            parser.error(f"--template {template.stem}: there are {there}.")
    except configs.ConfigError as error:
        print(f"litmotif: {error}", file=sys.stderr)
        return 2
    except SystemExit as leaving:
        return int(leaving.code or 0)
    fit = [*(token for name in options.config for token in ("-c", name)), *overrides]
    if options.ckpt_path:
        fit += ["--ckpt_path", options.ckpt_path]
    if status := _rehearse(fit):
        return status
    path = Path(options.output or f"{configs.experiment_name(options.config).replace('/', '_')}.sbatch")
    said = shlex.join(["litmotif", "slurm", *arguments])
    text = fill(template.read_text(), path.name, said, fit, _directives(options))
    if path.exists() and path.read_text() != text:
        print(f"litmotif: {path} is there and differs: remove it, or choose another --output.", file=sys.stderr)
        return ending.FAILED
    path.write_text(text)
    print(f"written: {path}")
    return _submit(path) if options.submit else 0


def _parser() -> OptionsParser:
    parser = OptionsParser("slurm", "Write, and on request submit, the job script of a config.")
    parser.add_configs()
    parser.add_argument("--template", type=str | None, help="of configs/slurm; else as --array and --nodes suggest")
    parser.add_argument("--nodes", type=int | None, help="how many")
    parser.add_argument("--gpus", type=int | None, help="a node; 0 trains on the CPU")
    parser.add_argument("--tasks", type=int | None, help="processes a node; else one a GPU")
    parser.add_argument("--cpus", type=int | None, help="cores a process")
    parser.add_argument("--mem", type=str | None, help="memory a node, such as 64G")
    parser.add_argument("--time", type=str | None, help="limit of one start, such as 2:00:00 or 1-00:00:00")
    parser.add_argument("--warning", type=int | None, help="seconds before the limit at which it saves and requeues")
    parser.add_argument("--partition", type=str | None, help="queue")
    parser.add_argument("--account", type=str | None, help="who pays")
    parser.add_argument("--qos", type=str | None, help="quality of service")
    parser.add_argument("--array", type=str | None, help="tasks, such as 0-9%%4; each is a seed, or a line of $SWEEP")
    parser.add_argument("--name", type=str | None, help="of the job; else that of the experiment")
    parser.add_argument("--ckpt_path", type=str | None, help="go on from: last, a file, or a run folder")
    parser.add_argument("--output", type=str | None, help="the script; else EXPERIMENT.sbatch")
    parser.add_argument("--submit", action="store_true", help="run sbatch on it")
    return parser


def _template(options: Namespace) -> str:
    return "array_sweep" if options.array else "several_nodes" if (options.nodes or 1) > 1 else "one_node"


def _directives(options: Namespace) -> dict[str, str | None]:
    """What sbatch is told: values by directive, None takes one away."""
    given = {theirs: str(options[ours]) for ours, theirs in DIRECTIVES.items() if options[ours] is not None}
    told: dict[str, str | None] = {"job-name": configs.experiment_name(options.config), **given}
    if options.warning is not None:
        told["signal"] = f"SIGUSR1@{options.warning}"
    if options.gpus and options.tasks is None:
        told["ntasks-per-node"] = str(options.gpus)
    if options.gpus == 0:
        told["gpus-per-node"] = None
        told.setdefault("ntasks-per-node", "1")
    return told


def fill(template: str, name: str, said: str, fit: Sequence[str], told: Mapping[str, str | None]) -> str:
    """A job script out of a template.

    Args:
        template: its text.
        name: of the script.
        said: the command that asked for it.
        fit: arguments of ``litmotif fit``; more can be given behind the script's name.
        told: values by directive of sbatch; None takes one away.
    """
    lines = template.splitlines()
    lines[1] = f"# sbatch {shlex.quote(name)}   # written by: {said}"
    for directive, value in told.items():
        here = [number for number, line in enumerate(lines) if re.match(rf"#SBATCH --{directive}\b", line)]
        new = [] if value is None else [f"#SBATCH --{directive}={value}"]
        place = here[0] if here else max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) + 1
        lines[place : place + len(here)] = new
    on_cpu = ["--trainer.accelerator=cpu"] if "gpus-per-node" in told and told["gpus-per-node"] is None else []
    return "\n".join(lines).replace('"$@"', shlex.join([*fit, *on_cpu]) + ' "$@"') + "\n"


def _rehearse(fit: Sequence[str]) -> int:
    """Read the request as the job will: a mistake is said now, not after hours in the queue."""
    from ..run import run

    with contextlib.redirect_stdout(io.StringIO()):
        return run(["fit", *fit, "-c", OVERLAY, "--print_config"])


def _submit(path: Path) -> int:
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        print(f"litmotif: there is no sbatch here. On the cluster's login node: sbatch {path}", file=sys.stderr)
        return ending.FAILED
    done = subprocess.run([sbatch, os.fspath(path)], check=False)  # noqa: S603
    return ending.FAILED if done.returncode else 0
