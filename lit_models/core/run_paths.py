"""Paths of a run folder in its checkpoints, as seen from these: they outlive a move, and lead nowhere else."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = "here://"
"""How a path begins that is seen from the folder of the checkpoint."""


def here(state: Any, folder: Path) -> Any:
    """What callbacks keep, with paths in the run folder as seen from its checkpoints: they outlive a move."""
    return _renamed(state, lambda text: _as_here(text, folder))


def there(state: Any, folder: Path) -> Any:
    """The same with the paths of this machine; one that leads out of the run folder by a detour becomes empty.

    ``ModelCheckpoint`` deletes files under the names that it finds here.
    """
    return _renamed(state, lambda text: _as_there(text, folder))


def _as_here(text: str, folder: Path) -> str:
    if not os.path.isabs(text) or not Path(text).is_relative_to(folder.parent):
        return text
    return f"{HERE}{os.path.relpath(text, folder)}"


def _as_there(text: str, folder: Path) -> str:
    if not text.startswith(HERE):
        return "" if os.path.isabs(text) and os.path.normpath(text) != text.rstrip("/") else text
    path = Path(os.path.normpath(folder / text.removeprefix(HERE)))
    return str(path) if path.is_relative_to(folder.parent) else ""


def _renamed(state: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(state, dict):
        return {_renamed(key, rename): _renamed(value, rename) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_renamed(item, rename) for item in state)
    return rename(state) if type(state) is str else state
