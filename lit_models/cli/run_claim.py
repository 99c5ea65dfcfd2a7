"""Claim of a run folder: every run gets one of its own, and one process at a time trains in it."""

import contextlib
import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from litmotif.errors import LitmotifError
from litmotif.files import write_atomically

CHILD = "LITMOTIF_RUN_FOLDER"
"""Tells the processes that Lightning starts which folder the first one claimed."""
LOCK, OWNER = ".lock", ".owner"
LEFT_OVER = ("*.partial", "*.tmp")
"""What a write leaves beside its file where SIGKILL has cut it off; the names begin with a dot."""
PATIENCE = 20.0
"""Seconds that the processes of a killed run, such as loaders' workers, may take to notice and end."""
PLAIN_ID = re.compile(r"\w[\w.-]{0,63}")


class RunFolderError(LitmotifError, RuntimeError):
    """A run folder that cannot be had; the message says who has it, or what to do."""


def versions(root: Path) -> list[Path]:
    """The run folders below ``root``, newest first."""
    return _numbered(root, "version")


def evaluations(run: Path, subcommand: str) -> list[Path]:
    """What ``validate``, ``test`` or ``predict`` has left in a run folder, newest first."""
    return _numbered(run, subcommand)


def newest(run: Path, subcommand: str, name: str) -> Path:
    """The newest file of this name of an evaluation; that of the run itself where there is none."""
    found = (folder / name for folder in evaluations(run, subcommand))
    return next((path for path in found if path.is_file()), run / name)


def _numbered(root: Path, kind: str) -> list[Path]:
    found = [path for path in root.glob(f"{kind}_*") if path.is_dir()]
    return sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)] or [0], reverse=True)


# ---------------------------------------------------------------------- whose folder
def claim(root: Path, resumed: Path | None = None, subcommand: str = "fit", dry: bool = False) -> Path:
    """The folder of this run, made by this process, unless it is not the first one of the run.

    Args:
        root: where the runs of the experiment lie.
        resumed: the checkpoint; a fit goes on in its folder, and what evaluates it makes one inside of that.
        subcommand: what is done; all but ``fit`` change nothing that a fit has written.
        dry: nothing is made.

    Raises:
        RunFolderError: it cannot be made, or the environment names none.
    """
    if "LOCAL_RANK" in os.environ and CHILD in os.environ:
        return _of_first_process(os.environ[CHILD])
    run = resumed.parent.parent if resumed is not None and resumed.parent.name == "checkpoints" else None
    if subcommand == "fit":
        folder = run or _claim_next(root, "version", dry)
    else:
        writable = run is not None and os.access(run, os.W_OK)
        folder = _claim_next(run if run is not None and writable else root, subcommand, dry)
    os.environ[CHILD] = str(folder.absolute())
    return folder


def _of_first_process(named: str) -> Path:
    if not Path(named).is_dir():
        raise RunFolderError(f"{CHILD}={named}: no such folder.", "It is for Lightning's own processes: unset it.")
    return Path(named)


def is_first_process() -> bool:
    """Whether this process is the first one of its run, as far as the environment tells before they meet."""
    ranks = ("RANK", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def _claim_next(root: Path, kind: str, dry: bool) -> Path:
    for name, shared in _names(root, kind):
        folder = root / name
        if dry or not is_first_process():
            return folder  # what others write goes where the first process says
        try:
            folder.mkdir(parents=True, exist_ok=shared)
        except FileExistsError:
            if not folder.is_dir():
                raise RunFolderError(f"{folder} is there, and is no folder.", "Move it away.") from None
        except OSError as error:
            remedy = "Choose another place: --trainer.default_root_dir FOLDER."
            raise RunFolderError(f"The run folder {folder} cannot be made ({error.strerror}).", remedy) from error
        else:
            return folder
    raise AssertionError("names do not end")


def _names(root: Path, kind: str) -> Iterator[tuple[str, bool]]:
    """Names to try, and whether all processes of this run come to the same without asking."""
    job, step = _id("SLURM_JOB_ID"), _id("SLURM_STEP_ID")
    if job is None:
        ids = [path.name.removeprefix(f"{kind}_") for path in _numbered(root, kind)]
        number = max((int(one) for one in ids if one.isdigit()), default=-1)
        while True:
            number += 1
            yield f"{kind}_{number}", False
    if step is not None:  # started by srun
        yield f"{kind}_{job}" + (f"_{step}" if step != "0" else ""), True
    yield f"{kind}_{job}", os.environ.get("SLURM_RESTART_COUNT", "0") != "0"  # a requeued job goes on in its folder
    number = 0
    while True:  # a second run of one job has its own
        number += 1
        yield f"{kind}_{job}_{number}", False


def _id(variable: str) -> str | None:
    value = os.environ.get(variable)
    if value is not None and not PLAIN_ID.fullmatch(value):
        raise RunFolderError(f"{variable}={value!r} is no number of a job: it would become the name of a folder.")
    return value


def slurm_job() -> str:
    """This process's job, and its step where ``srun`` has started it: ``812.0``; empty outside of SLURM."""
    return ".".join(found for found in (_id("SLURM_JOB_ID"), _id("SLURM_STEP_ID")) if found is not None)


# ---------------------------------------------------------------------- who writes to it
class Hold:
    """The hold of one process on a run folder: it ends with the process, however that ends.

    Args:
        folder: of the run.

    Raises:
        RunFolderError: another process trains in it; names its number.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handle: int | None = None
        try:
            self.handle = self._acquire()
            write_atomically(folder / OWNER, f"{os.getpid()} {socket.gethostname()}\n".encode())
            clean(folder)
        except OSError as error:  # a file system without locks, or one that cannot be written
            rank_zero_warn(f"{folder} is not locked ({error}): start no second run in it.")

    def _acquire(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while (handle := _lock(self.folder / LOCK)) is None:
            pid, host = self._owner()
            if not pid or host != socket.gethostname() or _lives(pid) or time.monotonic() > deadline:
                who = f"process {pid} on {host}" if pid else "another process"
                raise RunFolderError(
                    f"{self.folder} is in use: {who} trains in it.",
                    "Wait for its end, or stop it; a new run without --ckpt_path gets a folder of its own.",
                )
            time.sleep(0.1)  # its children notice and end
        return handle

    def _owner(self) -> tuple[int, str]:
        try:
            pid, host = (self.folder / OWNER).read_text(encoding="utf-8").split()
            return int(pid), host
        except (OSError, ValueError):
            return 0, ""

    def release(self) -> None:
        """Let go; a folder in which nothing has come up is taken away."""
        if self.handle is None:
            return
        with contextlib.suppress(OSError):
            (self.folder / OWNER).unlink()
            if {path.name for path in self.folder.iterdir()} <= {LOCK}:
                (self.folder / LOCK).unlink()
                self.folder.rmdir()
        os.close(self.handle)
        self.handle = None


def _lock(path: Path) -> int | None:
    """The handle that holds a lock until it is closed; None where another process has it."""
    for mode in (os.O_RDONLY, os.O_RDWR):  # NFS locks only what is open for writing
        handle = os.open(path, mode | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            if error.errno != errno.EBADF or mode == os.O_RDWR:
                raise
        else:
            return handle
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def clean(folder: Path) -> None:
    """Take away what a killed process has left half-written, and links to files, through which nothing is written.

    Only the holder of the folder may.
    """
    for path in [path for path in folder.iterdir() if path.is_symlink() and not path.is_dir()]:
        path.unlink()
    for pattern in LEFT_OVER:
        for path in [*folder.glob(f".{pattern}"), *folder.glob(f"*/.{pattern}")]:
            with contextlib.suppress(OSError):
                path.unlink()
