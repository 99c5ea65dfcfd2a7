"""Minari on disk: ``main_data.hdf5`` with groups ``episode_k`` of observations (T + 1, ...) and actions (T, ...)."""

from pathlib import Path
from typing import Any

import numpy as np

from ...core import DataError
from ...files.checks import floats, need, one_fps, optional
from ...robots.recording import Recording, Slice

FILE = "main_data.hdf5"


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Recording]:
    """All episodes. The last observation, after which nothing was done, is left out.

    Episode k is called ``name/k``, after the folder above ``data`` where there is no name. The format keeps no rate.

    Returns:
        Recordings without a root. Dict and Tuple spaces become a slice for each of their arrays, in the file's order.

    Raises:
        ModuleNotFoundError: h5py is not installed.
        DataError: the file does not open or is cut off, has no episodes, lacks a key, or holds discrete actions.
    """
    path, h5py = Path(path), optional("h5py")
    name = name or folder_of(path).resolve().name
    fps = one_fps(path, None, fps)
    try:
        with h5py.File(path, "r") as file:
            keys = sorted((key for key in file if key.startswith("episode_")), key=lambda key: int(key[8:]))
            need(path, keys or list(file), [] if keys else ["episode_0"], "group")
            return [_episode(path, key, file[key], f"{name}/{key[8:]}", fps) for key in keys]
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: no readable HDF5 file ({error}). It may be cut off: copy it again.") from error


def looks_like(path: Path) -> bool:
    """Whether the file is called so."""
    return path.name == FILE


def folder_of(path: Path) -> Path:
    """The dataset's folder: the one that holds the file, or the one above where that is called ``data``."""
    return path.parent.parent if path.parent.name == "data" else path.parent


def _episode(path: Path, key: str, group: Any, name: str, fps: float) -> Recording:
    need(f"{path}: {key}", group, ("observations", "actions"))
    states, slices = _flat(path, f"{key}/observations", group["observations"], "observation")
    actions, action_slices = _flat(path, f"{key}/actions", group["actions"], "action")
    if len(states) != len(actions) + 1:
        raise DataError(f"{path}: {key} has {len(states)} observations and {len(actions)} actions: T + 1 and T.")
    return Recording(
        name=name,
        fps=fps,
        source=f"{path}: {key}",
        local=floats(path, f"{key}/observations", states[:-1]),
        slices=slices,
        actions=floats(path, f"{key}/actions", actions),
        action_slices=action_slices,
    )


def _flat(path: Path, key: str, node: Any, name: str) -> tuple["np.ndarray[Any, Any]", tuple[Slice, ...]]:
    """The arrays at and under ``node`` side by side, (T, D), and what each is."""
    if hasattr(node, "keys"):
        parts = [_flat(path, f"{key}/{child}", node[child], f"{name}/{child}") for child in node]
        if not parts or len({len(array) for array, _ in parts}) != 1:
            raise DataError(f"{path}: {key} needs arrays, all of one length.")
        return np.concatenate([array for array, _ in parts], axis=1), tuple(s for _, slices in parts for s in slices)
    array = np.asarray(node)
    if array.dtype.kind != "f":
        raise DataError(f"{path}: {key} is {array.dtype}: only continuous values (floats) can be diffused.")
    array = array.reshape(len(array), -1)
    return array, (Slice(name, array.shape[1]),)
