"""Run queue: several runs in turn, with a journal of what became of each; what stops or fails is gone on with later."""

import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litmotif.bounds import read_json
from litmotif.errors import DataError

from .. import configs, run_claim, run_folder
from ..errors import FAILED, STOPPED
from .frame import Command, CommandParser, config_tokens
from .run_process import Runner, run
from .run_summary import write_json

RESERVED = {
    "--trainer.default_root_dir": "set --out; each run has a folder of its own below it.",
    "--ckpt_path": "a run that is not done goes on with its own.",
}
"""Overrides that a queue sets itself, see ``Command.reserved``."""


@dataclass(frozen=True)
class RunSpec:
    """Specification of one run: its name in the journal and in tables, and what ``fit`` is given below ``root``."""

    name: str
    configs: tuple[str, ...]
    overrides: tuple[str, ...]
    root: Path

    def arguments(self, subcommand: str, checkpoint: Path | str | None = None) -> list[str]:
        """The arguments of the command that carries it out."""
        resumed = ["--ckpt_path", str(checkpoint)] if checkpoint else []
        root = ["--trainer.default_root_dir", str(self.root)]
        return [subcommand, *config_tokens(self.configs), *self.overrides, *root, *resumed]

    def digest(self) -> str:
        """SHA-256 of all that was asked for, what stands in the config files included."""
        digest = hashlib.sha256(json.dumps(self.arguments("fit")).encode())
        for name in (configs.DEFAULTS, *self.configs):
            digest.update(configs.find(name).read_bytes())
        return digest.hexdigest()


class RunQueue:
    """Carries out runs in turn; a failure costs no other run, a stop ends the queue.

    Its journal is written before and after each run. A run counts as done where it ended well and the same is asked for
    again; where it was stopped or failed, its newest checkpoint is gone on with.

    Args:
        specs: of the runs, in their order.
        journal: file of earlier starts, continued.
        runner: carries out one run.

    Raises:
        ConfigError: two runs have one name: they would lie in one folder.
    """

    def __init__(self, specs: Sequence[RunSpec], journal: Path, runner: Runner) -> None:
        names = [spec.name for spec in specs]
        if twice := ", ".join(sorted({name for name in names if names.count(name) > 1})):
            raise configs.ConfigError(f"{twice}: named twice; their runs would lie in one folder. Rename one.")
        self.specs, self.journal, self.runner = list(specs), journal, runner
        self.entries: dict[str, dict[str, Any]] = _journal(journal)

    # ------------------------------------------------------------------ what is known of a run
    def entry(self, spec: RunSpec) -> dict[str, Any]:
        """Its entry in the journal; empty where something else was asked for."""
        entry = self.entries.get(spec.name, {})
        return entry if entry.get("identity") == spec.digest() else {}

    def folder(self, spec: RunSpec) -> Path | None:
        """Its run folder: the newest that came up since it was begun."""
        entry = self.entry(spec)
        fresh = [path for path in run_claim.versions(spec.root) if path.name not in entry.get("earlier", [])]
        return Path(entry["run"]) if entry.get("run") else next(iter(fresh), None) if entry else None

    def done(self, spec: RunSpec) -> bool:
        """Whether there is nothing left to do."""
        folder = self.folder(spec)
        return self.entry(spec).get("status") == "done" and folder is not None and folder.is_dir()

    def _checkpoint(self, spec: RunSpec) -> Path | None:
        """Where to go on with a run that is not done."""
        folder = self.folder(spec)
        try:
            return run_folder.find_checkpoint(str(folder), spec.root) if folder and folder.is_dir() else None
        except FileNotFoundError:
            return None

    # ------------------------------------------------------------------ carrying out
    def train(self, again: bool = False, resumed: Mapping[str, Path] | None = None) -> list[str]:
        """Fit what is not done yet.

        Args:
            again: train all of them anew.
            resumed: checkpoints to go on with, by name, even of runs that are done.

        Returns:
            Names of those that failed.

        Raises:
            SystemExit: 130 or 143 after a stop.
        """
        for spec, place in self._in_turn():
            chosen = (resumed or {}).get(spec.name)
            if self.done(spec) and not again and chosen is None:
                print(f"{place}: done before, {self.folder(spec)}", flush=True)
                continue
            checkpoint = chosen or (None if again else self._checkpoint(spec))
            print(f"{place}{f': goes on from {checkpoint}' if checkpoint else ''}", flush=True)
            self._fit(spec, checkpoint)
        return [spec.name for spec in self.specs if not self.done(spec)]

    def _fit(self, spec: RunSpec, checkpoint: Path | None) -> None:
        before = self.entry(spec).get("seconds", 0.0) if checkpoint else 0.0
        entry = self.entries[spec.name] = {
            "identity": spec.digest(),
            "status": "running",
            "run": str(checkpoint.parent.parent) if checkpoint else None,
            "earlier": [path.name for path in run_claim.versions(spec.root)],
            "seconds": before,
        }
        write_json(self.journal, self.entries)
        began = time.monotonic()
        status = self.runner(spec.arguments("fit", checkpoint))
        entry["run"] = str(folder) if (folder := self.folder(spec)) else None
        entry["status"] = "done" if status == 0 else "stopped" if status in STOPPED else "failed"
        entry["exit"], entry["seconds"] = status, round(before + time.monotonic() - began, 1)
        write_json(self.journal, self.entries)
        _leave_if_stopped(status)

    def evaluate(self, subcommand: str, checkpoints: Mapping[str, Path | str], *options: str) -> list[str]:
        """Carry out ``test`` or ``predict`` on the runs whose checkpoints are named; likewise."""
        failed = []
        for spec, place in self._in_turn():
            if spec.name in checkpoints:
                print(place, flush=True)
                status = self.runner([*spec.arguments(subcommand, checkpoints[spec.name]), *options])
                _leave_if_stopped(status)
                failed += [spec.name] if status else []
        return failed

    def _in_turn(self) -> Iterator[tuple[RunSpec, str]]:
        for number, spec in enumerate(self.specs, 1):
            yield spec, f"[{number}/{len(self.specs)}] {spec.name}"


def _journal(path: Path) -> dict[str, dict[str, Any]]:
    """What a journal says.

    Raises:
        DataError: it is none.
    """
    found = read_json(path) if path.is_file() else {}
    if not isinstance(found, dict) or not all(_is_entry(entry) for entry in found.values()):
        raise DataError(f"{path}: no journal of runs.", "Move it away: what it told of is trained anew.")
    return found


KINDS: dict[str, tuple[type, ...]] = {
    "run": (str, type(None)),
    "earlier": (list,),
    "seconds": (int, float),
    "status": (str,),
    "identity": (str,),
}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry[key], KINDS[key]) for key in KINDS.keys() & entry.keys())


class QueueCommand(Command):
    """A command whose runs stand in a queue.

    Args:
        runner: carries out one run.
    """

    runs_fit = True

    def __init__(self, runner: Runner = run) -> None:
        self.runner = runner

    def add_arguments(self, parser: CommandParser, arguments: Sequence[str]) -> None:
        """Configs, and where their runs lie."""
        parser.add_config()
        parser.add_argument("--out", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--again", action="store_true", help="train anew also what is done, or was cut off")


def exit_status(failed: Sequence[str]) -> int:
    """Name what failed; the exit status that follows."""
    if failed:
        print(f"litmotif: failed: {', '.join(failed)}. The same command tries them again.", file=sys.stderr)
    return FAILED if failed else 0


def _leave_if_stopped(status: int) -> None:
    if status in STOPPED:
        print("litmotif: stopped. The same command goes on where it was.", file=sys.stderr)
        raise SystemExit(status)
