"""Starts the command in processes forked from one that has already run it once: a start costs a tenth.

    python -m tests.launcher

Reads a JSON list of ``Start`` a line, those that run together, and answers with the JSON list of each ``End``. What it
forks runs ``sys.exit(main())`` as ``python -m lit_models`` does, with the end of the interpreter that belongs to it.
"""

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY = "LITMOTIF_FAULTS_READY"
"""Of a started process: the handle on which it says that training begins."""


@dataclass
class Start:
    """One start of the command.

    Attributes:
        arguments: of the command.
        folder: where it works.
        output: file for what it says.
        environment: what it has besides this process's.
        delay: seconds from the beginning of training to SIGKILL; None kills nothing.
    """

    arguments: list[str]
    folder: str
    output: str
    environment: dict[str, str] = field(default_factory=dict)
    delay: float | None = None


@dataclass
class End:
    """How it ended: exit status, or the negative number of the signal, and its seconds of CPU."""

    status: int
    seconds: float


class Launcher:
    """The fork server as its user sees it.

    Args:
        folder: for its cache.
    """

    def __init__(self, folder: Path) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "LITMOTIF_"))
        }
        environment |= {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "LITMOTIF_CACHE": str(folder / "cache"),
            "MPLCONFIGDIR": str(folder / "mpl"),
            "CUDA_VISIBLE_DEVICES": "",  # threads of a device would not outlive a fork
        }
        command = [sys.executable, "-m", __name__]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=folder)
        self.seconds = 0.0

    def run(self, *starts: Start) -> list[End]:
        """Start all of them and wait for the end of each."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps([asdict(start) for start in starts]), file=self.process.stdin, flush=True)
        ends = [End(**end) for end in json.loads(self.process.stdout.readline())]
        self.seconds += sum(end.seconds for end in ends)
        return ends

    def close(self) -> None:
        """End the server."""
        self.process.communicate(timeout=60)


def _warm_up() -> None:
    """Run the command once: half of what a start costs is imported only when it is needed.

    Of the rest, a third goes to the parsers of subcommands that nobody asks for, and to collections of garbage that
    visit all that is imported.
    """
    import torch
    from lightning.pytorch.cli import LightningCLI

    from lit_models.cli import main

    from .faults.runs import write_config

    torch.set_num_threads(1)
    only = {"fit": LightningCLI.subcommands()["fit"]}
    LightningCLI.subcommands = staticmethod(lambda: only)
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "said").open("w") as said:
        os.chdir(folder)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert main(["fit", "-c", str(write_config("MDLMDiT", Path(folder)))]) == 0
        os.chdir("/")
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    gc.collect()
    gc.freeze()


def _wait(pid: int, ready: int, delay: float | None) -> End:
    handle = os.pidfd_open(pid)
    if delay is not None:
        begun, _, _ = select.select([ready, handle], [], [])
        if ready in begun and not select.select([handle], [], [], delay)[0]:
            os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(handle)
    return End(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime)


def _become(start: Start, ready: int) -> list[str]:
    """Make the forked process what a shell would have started."""
    said = os.open(start.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle in (1, 2):
        os.dup2(said, handle)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(start.folder)
    os.environ |= start.environment | {READY: str(ready)}
    sys.argv = ["litmotif", *start.arguments]
    return start.arguments


def _serve() -> list[str] | None:
    """Fork for each start; in the forked process, return its arguments."""
    _warm_up()
    answers = os.fdopen(os.dup(1), "w")
    while line := sys.stdin.readline():
        begun = []
        for start in [Start(**fields) for fields in json.loads(line)]:
            ready, telling = os.pipe()
            os.set_inheritable(telling, True)
            pid = os.fork()
            if not pid:
                os.close(ready)
                return _become(start, telling)
            os.close(telling)
            begun.append((pid, ready, start.delay))
        ends = [asdict(_wait(*each)) for each in begun]
        print(json.dumps(ends), file=answers, flush=True)
        for _, ready, _ in begun:
            os.close(ready)
    return None


if __name__ == "__main__":
    asked = _serve()
    if asked is not None:
        from lit_models.cli import main

        sys.exit(main(asked))
