"""Files that are there whole or not at all."""

import io
import os
import tempfile
from pathlib import Path

from matplotlib.figure import Figure


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary name beside ``path``, then rename.

    Args:
        path: the file; its folder is made where it is missing.
        content: all of it.

    Raises:
        OSError: the disk is full, or the folder cannot be written; the former file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def to_png(figure: Figure, dpi: int = 120) -> bytes:
    """A picture as the bytes of its file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    return picture.getvalue()
