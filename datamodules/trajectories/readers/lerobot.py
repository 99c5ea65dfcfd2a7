"""LeRobot datasets: ``meta/info.json`` and parquet tables of observation.state and action, versions 2.1 and 3.0.

A state of other names is asked for by ``state_keys``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from litmotif.arrays import allowance
from litmotif.bounds import read_json

from ...core import DataError
from ...files.broken import MAX_BAD, Tally
from ...files.checks import floats, need, one_fps, optional
from ...robots.recording import Recording, Slice

INFO = Path("meta") / "info.json"
STATE, ACTION, EPISODE, FRAME = "observation.state", "action", "episode_index", "frame_index"
VERSIONS = ("v2.0", "v2.1", "v3.0")


def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    state_keys: Sequence[str] | None = None,
    max_bad: float = MAX_BAD,
) -> list[Recording]:
    """All episodes of a dataset; pictures are not read.

    Episode k is called ``name/k``.

    Args:
        path: the dataset.
        name: goes before the names of recordings.
        fps: steps a second; None takes the dataset's.
        state_keys: columns of the state, side by side; None: ``observation.state``.
        max_bad: share of tables, and of episodes, that may be broken.

    Raises:
        ModuleNotFoundError: pyarrow is not installed.
        DataError: another version, no tables, a missing column, numbers that are no good, or frames out of order.
    """
    path = Path(path)
    info = _info(path)
    rate = one_fps(path / INFO, info.get("fps"), fps)
    files = sorted((path / "data").rglob("*.parquet"))
    if not files:
        raise DataError(f"{path / 'data'}: no parquet file. Copy the dataset's data folder whole.")
    keys = tuple(state_keys or (STATE,))
    episodes: dict[int, list[tuple[Path, dict[str, Tensor]]]] = {}
    tally = Tally(path, len(files), max_bad)
    for file in files:  # an episode may go on in the next file
        with tally.member(file):
            columns = _columns(file, keys)
            index = columns[EPISODE].long()
            for episode in sorted(set(index.tolist())):
                part = {key: value[index == episode] for key, value in columns.items()}
                episodes.setdefault(episode, []).append((file, part))
    tally.settle()
    tally, recordings = Tally(path, len(episodes), max_bad), list[Recording]()
    for episode, parts in sorted(episodes.items()):
        with tally.member(f"episode {episode}"):
            recordings.append(_episode(f"{name or path.name}/{episode}", rate, parts, episode, keys))
    tally.settle()
    return recordings


def looks_like(path: Path) -> bool:
    """Whether the folder is described as a dataset."""
    return (path / INFO).is_file()


def _info(path: Path) -> dict[str, Any]:
    try:
        info = read_json(path / INFO)
        version = info["codebase_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path / INFO}: no readable description of a LeRobot dataset ({error!r}).") from error
    if version not in VERSIONS:
        raise DataError(f"{path / INFO}: codebase_version={version}: {', '.join(VERSIONS)} can be read.")
    return dict(info)


def _columns(file: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    """The columns that matter: (N, S) for each part of the state, (N, A), (N,), (N,)."""
    arrow, parquet = optional("pyarrow"), optional("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(file)
        names = table.schema_arrow.names
        if missing := [key for key in keys if key not in names]:
            raise DataError(
                f"{file}: no column {', '.join(missing)}; there are: {', '.join(names)}. Name those of the state: "
                "data.state_keys=[...]."
            )
        need(file, names, (ACTION, EPISODE, FRAME), "column")
        _require_room(file, table.metadata)
        table = table.read(columns=[*keys, ACTION, EPISODE, FRAME])
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{file}: no readable parquet file ({error}). It may be cut off: copy it again.") from error
    return {key: _column(file, key, table[key].combine_chunks()) for key in table.column_names}


def _require_room(file: Path, about: Any) -> None:
    """Raise a DataError where a table declares more values than a file of its size can hold."""
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    values = sum(max(0, group.column(number).num_values) for group in groups for number in range(group.num_columns))
    if 8 * max(values, about.num_rows) > allowance(file.stat().st_size):
        raise DataError(f"{file}: it declares {values:,} values, more than a file of its size can hold.")


def _column(file: Path, key: str, column: Any) -> Tensor:
    """One column of numbers (N,), or of lists of numbers (N, D)."""
    lists = hasattr(column, "values")
    flat = (column.flatten() if lists else column).to_numpy(zero_copy_only=False)
    if not len(column) or column.null_count or len(flat) % len(column):
        raise DataError(f"{file}: {key}: at least 1 row, and the same number of values in each.")
    if key in (EPISODE, FRAME):
        return floats(file, key, flat, ())
    return floats(file, key, flat.reshape(len(column), -1))


def _episode(
    name: str, fps: float, parts: list[tuple[Path, dict[str, Tensor]]], episode: int, keys: tuple[str, ...]
) -> Recording:
    file = parts[0][0]
    try:
        columns = {key: torch.cat([part[key] for _, part in parts]) for key in (*keys, ACTION, FRAME)}
    except RuntimeError as error:
        raise DataError(f"{file}: episode {episode} changes its number of columns in the next file.") from error
    wrong = (columns[FRAME].long() != torch.arange(len(columns[FRAME]))).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{file}: episode {episode}: {FRAME} is {int(columns[FRAME][row])} in its row {row}. "
            "Frames count from 0 without gaps: copy all files of the dataset."
        )
    actions = columns[ACTION]
    return Recording(
        name=name,
        fps=fps,
        source=f"{file}: episode {episode}",
        local=torch.cat([columns[key] for key in keys], dim=1),
        slices=tuple(Slice(key, columns[key].shape[1]) for key in keys),
        actions=actions,
        action_slices=(Slice(ACTION, actions.shape[1]),),
    )
