"""Atomic checkpoint IO: no kill, full disk or flipped bit costs more than the newest checkpoint."""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from ..core.checkpoint import CheckpointError, damage, predecessor
from ..core.run_paths import here, there


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file, syncs and renames; opens only what is as it was written.

    ``last.ckpt`` keeps the one before it as ``previous.ckpt``, which is taken where ``last.ckpt`` is damaged. What the
    disk refuses is not saved: the run goes on, with a warning.

    Attributes:
        unsaved: checkpoints whose latest save failed, each with the reason.
    """

    def __init__(self) -> None:
        self.unsaved: dict[Path, str] = {}
        self._damaged: set[Path] = set()

    # ------------------------------------------------------------------ writing
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save, or warn and leave what was there."""
        whole = Path(path).absolute()  # a link there is replaced, not followed
        partial = whole.with_name(f".{whole.name}.partial")
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            _write(checkpoint | {"callbacks": here(checkpoint.get("callbacks", {}), whole.parent)}, partial)
            self._keep_predecessor(whole)
            partial.replace(whole)
            _sync_folder(whole.parent)
        except OSError as error:
            self.unsaved[whole] = str(error)
            there = f"{whole} is an earlier one" if whole.is_file() else "there is none of that name yet"
            rank_zero_warn(f"The checkpoint {whole.name} could not be saved ({error}); training goes on, {there}.")
        else:
            self.unsaved.pop(whole, None)
            self._damaged.discard(whole)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    def _keep_predecessor(self, whole: Path) -> None:
        before = predecessor(whole)
        if before is None or whole in self._damaged or not whole.is_file():
            return
        before.unlink(missing_ok=True)
        try:
            os.link(whole, before)  # a name more: at no moment is there no last.ckpt
        except OSError:  # a file system without hard links
            whole.replace(before)

    # ------------------------------------------------------------------ reading
    def intact(self, path: Path) -> Path:
        """``path``, or the one before it where ``path`` is damaged.

        Raises:
            CheckpointError: it is damaged, and there is no other.
        """
        fault = damage(path)
        if fault is None:
            return path
        before = predecessor(path)
        if before is None or not before.is_file() or damage(before):
            raise CheckpointError(f"{path} is damaged: {fault}. There is no whole one before it; take an earlier run.")
        self._damaged.add(path.absolute())
        message = f"litmotif: {path} is damaged: {fault}. Taken instead: {before}, the one before it."
        rank_zero_only(print)(message, file=sys.stderr)
        return before

    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load what is whole.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, and there is no other.
        """
        file = self.intact(Path(path))
        checkpoint: dict[str, Any] = super().load_checkpoint(file, map_location or _on_cpu, weights_only)
        return checkpoint | {"callbacks": there(checkpoint.get("callbacks", {}), file.absolute().parent)}


def _on_cpu(storage: Any, location: str) -> Any:
    return storage  # Lightning moves it


class _ErrorKeepingFile:
    """Takes all that is written and keeps the first failure: PyTorch's writer would hide it behind its own."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, block: Any) -> int:
        if self.error is None:
            try:
                self.file.write(block)
            except OSError as error:
                self.error = error
        return len(block)

    def flush(self) -> None:
        """Left to the end."""


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        keeping = _ErrorKeepingFile(file)
        torch.save(checkpoint, keeping)  # type: ignore[arg-type]
        if keeping.error:
            raise keeping.error
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the new name outlive a power cut too."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
