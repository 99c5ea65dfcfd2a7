"""Minari on disk: ``main_data.hdf5`` with groups ``episode_k`` of observations (T + 1, ...) and actions (T, ...).

Or ``data_format: arrow``: a folder a number ``k`` with Arrow files of T + 1 rows, the last action of which is padding.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from litmotif.arrays import allowance
from litmotif.bounds import DEPTH, read_json

from ...core import DataError
from ...files.broken import MAX_BAD, Tally
from ...files.checks import floats, need, one_fps, optional
from ...files.guard import guarded
from ...robots.recording import Recording, Slice

FILE, METADATA = "main_data.hdf5", "metadata.json"
_COLUMNS = ("observations", "actions")
_EPISODE = re.compile(r"episode_\d{1,9}")


class _Allowance:
    """Memory that the arrays of a file may take together, as float64: what a file declares may be without end."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, allowance(path.stat().st_size)

    def spend(self, key: str, node: Any) -> None:
        """Account for a data set before it is read.

        Raises:
            DataError: it is none, lies in another file, or is larger than the file explains.
        """
        if not hasattr(node, "shape") or node.dtype.kind != "f":
            kind = getattr(node, "dtype", type(node).__name__)
            raise DataError(f"{self.path}: {key} is {kind}: only continuous values (floats) can be diffused.")
        if node.external or node.is_virtual:
            raise DataError(f"{self.path}: {key} lies in another file, which is not opened. Copy the data in.")
        self.left -= 8 * node.size
        if self.left < 0 or not node.ndim:
            raise DataError(f"{self.path}: {key} has the shape {node.shape}, more than a file of its size can hold.")


@guarded
def read(
    path: str | Path, name: str | None = None, fps: float | None = None, max_bad: float = MAX_BAD
) -> list[Recording]:
    """All episodes. The last observation, after which nothing was done, is left out.

    Episode k is called ``name/k``, after the folder above ``data`` where there is no name. The format keeps no rate.

    Args:
        path: ``main_data.hdf5``, or ``metadata.json`` beside the folders of Arrow files.
        name: goes before the names of recordings.
        fps: steps a second.
        max_bad: share of episodes that may be broken.

    Returns:
        Recordings without a root. Dict and Tuple spaces become a slice for each of their arrays, in the file's order.

    Raises:
        ModuleNotFoundError: h5py, or pyarrow, is not installed.
        DataError: the file does not open or is cut off, has no episodes, lacks a key, or holds discrete actions.
    """
    path = Path(path)
    name = name or folder_of(path).resolve().name
    fps = one_fps(path, None, fps)
    if path.name == METADATA:
        return _arrow(path, name, fps, max_bad)
    h5py, recordings = optional("h5py"), list[Recording]()
    try:
        with h5py.File(path, "r") as file:
            keys = sorted((key for key in file if _EPISODE.fullmatch(key)), key=lambda key: int(key[8:]))
            need(path, keys or list(file), [] if keys else ["episode_0"], "group")
            tally, left = Tally(path, len(keys), max_bad), _Allowance(path)
            for key in keys:
                with tally.member(f"{path}: {key}"):
                    recordings.append(_episode(path, key, file[key], f"{name}/{key[8:]}", fps, left))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: no readable HDF5 file ({error}). It may be cut off: copy it again.") from error
    tally.settle()
    return recordings


def looks_like(path: Path) -> bool:
    """Whether the file is called so, or describes Arrow files."""
    if path.name == FILE:
        return True
    if path.name != METADATA:
        return False
    try:
        return bool(read_json(path)["data_format"] == "arrow")
    except (ValueError, KeyError, TypeError):
        return False


def _arrow(path: Path, name: str, fps: float, max_bad: float) -> list[Recording]:
    folders = sorted((one for one in path.parent.iterdir() if one.name.isdigit()), key=lambda one: int(one.name))
    if not folders:
        raise DataError(f"{path}: no episode beside it: copy the dataset's data folder whole.")
    tally, recordings = Tally(path.parent, len(folders), max_bad), list[Recording]()
    for folder in folders:
        with tally.member(folder):
            table = _table(folder)
            need(folder, table, _COLUMNS, "column")
            table["actions"] = _cut(table["actions"])
            recordings.append(_episode(folder, f"episode {folder.name}", table, f"{name}/{folder.name}", fps))
    tally.settle()
    return recordings


def _table(folder: Path) -> dict[str, Any]:
    """Columns of the Arrow files of an episode: arrays, or a dict of them for each struct."""
    arrow, dataset = optional("pyarrow"), optional("pyarrow.dataset")
    files = sorted(map(str, folder.glob("*.arrow")))
    if not files:
        raise DataError(f"{folder}: no Arrow file. Copy the dataset's data folder whole.")
    try:
        table = dataset.dataset(files, format="arrow").to_table().combine_chunks()
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{folder}: no readable Arrow file ({error}). It may be cut off: copy it again.") from error
    return {key: _array(folder, key, table[key].combine_chunks()) for key in table.column_names if key in _COLUMNS}


def _array(folder: Path, key: str, column: Any) -> Any:
    """A column of numbers (N,) or lists of them (N, D); of a struct, a dict of its fields."""
    if optional("pyarrow").types.is_struct(column.type):
        return {field.name: _array(folder, f"{key}/{field.name}", column.field(field.name)) for field in column.type}
    flat = (column.flatten() if hasattr(column, "values") else column).to_numpy(zero_copy_only=False)
    if not len(column) or column.null_count or len(flat) % len(column):
        raise DataError(f"{folder}: {key}: at least 1 row, and the same number of values in each.")
    return flat.reshape(len(column), -1)


def _cut(actions: Any) -> Any:
    """Without the last row, which pads them."""
    return {key: _cut(value) for key, value in actions.items()} if isinstance(actions, dict) else actions[:-1]


def folder_of(path: Path) -> Path:
    """The dataset's folder: the one that holds the file, or the one above where that is called ``data``."""
    return path.parent.parent if path.parent.name == "data" else path.parent


def _episode(path: Path, key: str, group: Any, name: str, fps: float, left: _Allowance | None = None) -> Recording:
    if not hasattr(group, "keys"):
        raise DataError(f"{path}: {key} is no group of observations and actions.")
    need(f"{path}: {key}", group, ("observations", "actions"))
    states, slices = _flat(path, f"{key}/observations", group["observations"], "observation", left)
    actions, action_slices = _flat(path, f"{key}/actions", group["actions"], "action", left)
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


def _flat(
    path: Path, key: str, node: Any, name: str, left: _Allowance | None, depth: int = 0
) -> tuple["np.ndarray[Any, Any]", tuple[Slice, ...]]:
    """The arrays at and under ``node`` side by side, (T, D), and what each is."""
    if hasattr(node, "keys"):
        linked = left is not None and any(hasattr(node.get(child, getlink=True), "filename") for child in node)
        if linked or depth > DEPTH:
            raise DataError(f"{path}: {key} leads into another file or goes in a circle, which is not followed.")
        parts = [_flat(path, f"{key}/{child}", node[child], f"{name}/{child}", left, depth + 1) for child in node]
        if not parts or len({len(array) for array, _ in parts}) != 1:
            raise DataError(f"{path}: {key} needs arrays, all of one length.")
        return np.concatenate([array for array, _ in parts], axis=1), tuple(s for _, slices in parts for s in slices)
    if left is not None:
        left.spend(key, node)
    array = np.asarray(node)
    if array.dtype.kind != "f":
        raise DataError(f"{path}: {key} is {array.dtype}: only continuous values (floats) can be diffused.")
    array = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
    return array, (Slice(name, array.shape[1]),)
