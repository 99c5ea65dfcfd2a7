"""SLURM job script of a config: ``litmotif slurm``, from the templates in ``configs/slurm``."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace

from .. import configs
from ..errors import FAILED, RequestError
from ..run import resolved_config
from .frame import Command, CommandParser, config_tokens

OVERLAY = "trainer/slurm"
DIRECTIVES: dict[str, tuple[str, type, str]] = {
    "nodes": ("nodes", int, "how many"),
    "gpus": ("gpus-per-node", int, "a node; 0 trains on the CPU"),
    "tasks": ("ntasks-per-node", int, "processes a node; else one a GPU"),
    "cpus": ("cpus-per-task", int, "cores a process"),
    "mem": ("mem", str, "memory a node, such as 64G"),
    "time": ("time", str, "limit of one start, such as 2:00:00 or 1-00:00:00"),
    "partition": ("partition", str, "queue"),
    "account": ("account", str, "who pays"),
    "qos": ("qos", str, "quality of service"),
    "array": ("array", str, "tasks, such as 0-9%%4; each is a seed, or a line of $SWEEP"),
    "name": ("job-name", str, "of the job; else that of the experiment"),
}
"""Our options: what sbatch calls them, their types and their help."""


class Slurm(Command):
    """Writes a job script, and on request submits it."""

    runs_fit = True

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Options of sbatch, and of the ``fit`` that the job carries out."""
        parser.add_config()
        parser.add_argument("--template", type=str | None, help="of configs/slurm; else as --array and --nodes suggest")
        for name, (_, kind, text) in DIRECTIVES.items():
            parser.add_argument(f"--{name}", type=kind | None, help=text)
        parser.add_argument("--warning", type=int | None, help="seconds before the limit: it saves and requeues")
        parser.add_argument("--ckpt_path", type=str | None, help="go on from: last, a file, or a run folder")
        parser.add_argument("--output", type=str | None, help="the script; else EXPERIMENT.sbatch")
        parser.add_argument("--submit", action="store_true", help="run sbatch on it")

    def run(self, options: Namespace) -> int:
        """Rehearse, write, submit."""
        if not options.config:
            raise RequestError("no config: name one with -c.")
        kind = "array_sweep" if options.array else "several_nodes" if (options.nodes or 1) > 1 else "one_node"
        template = configs.folder() / "slurm" / f"{options.template or kind}.sbatch"
        if not template.is_file():
            there = ", ".join(sorted(path.stem for path in template.parent.glob("*.sbatch")))
            raise RequestError(f"--template {template.stem}: there are {there}.")
        fit = [*config_tokens(options.config), *options.overrides]
        fit += ["--ckpt_path", options.ckpt_path] if options.ckpt_path else []
        resolved_config([*fit, "-c", OVERLAY])  # a mistake is said now, not after hours in the queue
        path = Path(options.output or f"{configs.experiment_name(options.config).replace('/', '_')}.sbatch")
        text = fill(template.read_text(), path.name, options.request, fit, _directives(options))
        if path.exists() and path.read_text() != text:
            raise FileExistsError(f"{path} is there and differs: remove it, or choose another --output.")
        path.write_text(text)
        print(f"written: {path}")
        return _submit(path) if options.submit else 0


def _directives(options: Namespace) -> dict[str, str | None]:
    """What sbatch is told: values by directive, None takes one away."""
    told: dict[str, str | None] = {"job-name": configs.experiment_name(options.config)}
    told |= {theirs: str(options[ours]) for ours, (theirs, *_) in DIRECTIVES.items() if options[ours] is not None}
    if options.warning is not None:
        told["signal"] = f"SIGUSR1@{options.warning}"
    if options.gpus and options.tasks is None:
        told["ntasks-per-node"] = str(options.gpus)
    if options.gpus == 0:
        told["gpus-per-node"] = None
        told.setdefault("ntasks-per-node", "1")
    return told


def fill(template: str, name: str, said: str, fit: Sequence[str], told: Mapping[str, str | None]) -> str:
    """The job script ``name`` that a template becomes.

    Args:
        template: its text.
        name: of the file.
        said: the command that asked for it.
        fit: arguments of ``litmotif fit``; more can be given behind the script's name.
        told: values by directive of sbatch; None takes one away.
    """
    for text in (name, *(value for value in told.values() if value is not None)):
        if not text.isprintable():
            raise RequestError(f"{text!r}: a line of a job script takes no line breaks; leave them out.")
    lines = template.splitlines()
    lines[1] = f"# sbatch {shlex.quote(name)}   # written by: {' '.join(said.splitlines())}"
    for directive, value in told.items():
        here = [number for number, line in enumerate(lines) if re.match(rf"#SBATCH --{directive}\b", line)]
        new = [] if value is None else [f"#SBATCH --{directive}={_quoted(value)}"]
        place = here[0] if here else max(n for n, line in enumerate(lines) if line.startswith("#SBATCH")) + 1
        lines[place : place + len(here)] = new
    on_cpu = ["--trainer.accelerator=cpu"] if "gpus-per-node" in told and told["gpus-per-node"] is None else []
    return "\n".join(lines).replace('"$@"', shlex.join([*fit, *on_cpu]) + ' "$@"') + "\n"


def _quoted(value: str) -> str:
    """A value as sbatch reads it: in double quotes where it holds a blank or the like.

    Raises:
        RequestError: no quotes can hold it.
    """
    if re.fullmatch(r"[\w@%+=:,./\[\]-]+", value):
        return value
    if set(value) & set('"\\'):
        raise RequestError(f"{value!r}: sbatch takes no quotes and no backslashes there.")
    return f'"{value}"'


def _submit(path: Path) -> int:
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise FileNotFoundError(f"there is no sbatch here. On the cluster's login node: sbatch {path}")
    done = subprocess.run([sbatch, os.fspath(path)], check=False)  # noqa: S603
    return FAILED if done.returncode else 0
