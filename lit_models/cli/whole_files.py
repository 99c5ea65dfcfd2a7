"""Checkpoints that are whole or not there: a full disk or a kill in the middle of a save costs no earlier one."""

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import TorchCheckpointIO


class WholeFiles(TorchCheckpointIO):
    """Writes beside the file and renames.

    Lightning writes to the system's temporary folder and moves; where that lies on another file system than the run,
    the move is a copy over the earlier checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save, or leave what was there.

        Raises:
            OSError: no space, or no permission.
        """
        whole = Path(path)
        partial = whole.with_name(f".{whole.name}.partial")
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
            partial.replace(whole)
        finally:
            partial.unlink(missing_ok=True)
