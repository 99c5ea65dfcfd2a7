"""Several runs in turn, with a record of what became of each: what stops or fails is gone on with later."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litmotif.files import write_atomically

from .. import configs, ending, run_folder
from .child import Runner

STOPPED = (ending.CTRL_C, ending.TERMINATED)


@dataclass(frozen=True)
class Member:
    """One run of several.

    Attributes:
        name: what it is called in the record and in tables.
        configs: laid over each other.
        overrides: of the command line.
        root: where its runs lie, as ``version_0`` and so on.
    """

    name: str
    configs: tuple[str, ...]
    overrides: tuple[str, ...]
    root: Path

    def request(self, subcommand: str, checkpoint: Path | str | None = None) -> list[str]:
        """The arguments of the command that carries it out."""
        named = [token for name in self.configs for token in ("-c", name)]
        resumed = ["--ckpt_path", str(checkpoint)] if checkpoint else []
        return [subcommand, *named, *self.overrides, "--trainer.default_root_dir", str(self.root), *resumed]

    def identity(self) -> str:
        """A digest of all that was asked for, what stands in the config files included."""
        digest = hashlib.sha256(json.dumps(self.request("fit")).encode())
        for name in (configs.DEFAULTS, *self.configs):
            digest.update(configs.find(name).read_bytes())
        return digest.hexdigest()


class Record:
    """What became of each member, in a file that is written before and after each run.

    A member counts as done where its run ended well and the same is asked for again; where it was stopped or failed,
    its newest checkpoint is gone on with.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def of(self, member: Member) -> dict[str, Any]:
        """The entry of a member; empty where something else was asked for."""
        entry = self.entries.get(member.name, {})
        return entry if entry.get("identity") == member.identity() else {}

    def run(self, member: Member) -> Path | None:
        """The folder of its run: the newest that came up since it was begun."""
        entry = self.of(member)
        fresh = [path for path in run_folder.versions(member.root) if path.name not in entry.get("earlier", [])]
        return Path(entry["run"]) if entry.get("run") else next(iter(fresh), None) if entry else None

    def status(self, member: Member) -> str:
        """``done``, ``failed``, ``stopped``, ``running`` (or cut off), or empty where it was never begun."""
        return str(self.of(member).get("status", ""))

    def done(self, member: Member) -> bool:
        """Whether there is nothing left to do."""
        run = self.run(member)
        return self.status(member) == "done" and run is not None and run.is_dir()

    def checkpoint(self, member: Member) -> Path | None:
        """Where to go on with a member that is not done."""
        run = self.run(member)
        try:
            return run_folder.find_checkpoint(str(run), run, ("last",)) if run and run.is_dir() else None
        except FileNotFoundError:
            return None

    def begin(self, member: Member, resumed: Path | None) -> None:
        """Note that it runs."""
        earlier = [path.name for path in run_folder.versions(member.root)]
        run = str(resumed.parent.parent) if resumed else None
        entry = {"identity": member.identity(), "status": "running", "run": run, "earlier": earlier}
        self.entries[member.name] = entry | {"seconds": self.of(member).get("seconds", 0.0) if resumed else 0.0}
        self._write()

    def end(self, member: Member, status: int, seconds: float) -> None:
        """Note how it ended."""
        run, entry = self.run(member), self.entries[member.name]
        entry["run"] = str(run) if run else None
        entry["status"] = "done" if status == 0 else "stopped" if status in STOPPED else "failed"
        entry["exit"], entry["seconds"] = status, round(entry["seconds"] + seconds, 1)
        self._write()

    def _write(self) -> None:
        write_atomically(self.path, json.dumps(self.entries, indent=1).encode())


def train(
    members: Sequence[Member],
    record: Record,
    runner: Runner,
    again: bool = False,
    resumed: Mapping[str, Path] | None = None,
) -> int:
    """Fit what is not done yet, in turn; a failure costs no other member, a stop ends the row.

    Args:
        members: in their order.
        record: of earlier starts, continued.
        runner: carries out one ``fit``.
        again: train all of them anew.
        resumed: checkpoints to go on with, by name, even of members that are done.

    Returns:
        0; 1 where a member failed; 130 or 143 after a stop.
    """
    for number, member in enumerate(members, 1):
        place = f"[{number}/{len(members)}] {member.name}"
        chosen = (resumed or {}).get(member.name)
        if record.done(member) and not again and chosen is None:
            print(f"{place}: done before, {record.run(member)}", flush=True)
            continue
        checkpoint = chosen or (None if again else record.checkpoint(member))
        print(f"{place}{f': goes on from {checkpoint}' if checkpoint else ''}", flush=True)
        record.begin(member, checkpoint)
        began = time.monotonic()
        status = runner(member.request("fit", checkpoint))
        record.end(member, status, time.monotonic() - began)
        if status in STOPPED:
            return status
    return ending.FAILED if any(not record.done(member) for member in members) else 0


def require_distinct(members: Sequence[Member]) -> None:
    """Refuse two members of one name: their runs would lie in one folder.

    Raises:
        ConfigError: names them.
    """
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise configs.ConfigError(f"{', '.join(twice)}: named twice; their runs would lie in one folder. Rename one.")
