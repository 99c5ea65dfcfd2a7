"""Native npz: states (N, S), actions (N, A) and episode_ends (E,) of all episodes of a set, one after another.

Optional: fps; layout, a JSON text (``Recording.layout``); joint_pos (N, J) rad, joint_names, joint_limits (J, 2) rad;
contacts (N, B) and body_names. With a root in the layout the first columns of ``states`` are its position, velocity
and rotation in the world: rotation vectors where it is spatial, headings where it is planar.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch
from torch import Tensor

from litmotif.bounds import parse_json
from litmotif.errors import ArgumentTypeError
from litmotif.geometry.frames import Frame, to_world
from litmotif.geometry.rotations import heading

from ...core import DataError
from ...files.arrays import Npz, npz
from ...files.checks import one_fps
from ...files.guard import guarded
from ...robots.recording import Recording, Slice, common_layout

KEYS = ("states", "actions", "episode_ends")
looks_like = npz(*KEYS)
_WORLD = Frame(torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64))
"""The world as a character frame."""


@guarded
def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Recording]:
    """All episodes of a file.

    Episode k is called ``name/k``.

    Raises:
        DataError: a key is missing, shapes or the layout disagree, or numbers are no good.
    """
    arrays = Npz(path, *KEYS)
    path = arrays.path
    layout = _layout(path, arrays)
    states, actions = arrays.floats("states"), arrays.floats("actions")
    ends = _ends(path, arrays["episode_ends"], len(states))
    if len(actions) != len(states):
        raise DataError(f"{path}: {len(states)} states and {len(actions)} actions: one action a state.")
    state = [Slice.of(entry) for entry in layout.get("state", [{"name": "state", "size": states.shape[1]}])]
    action = [Slice.of(entry) for entry in layout.get("action", [{"name": "action", "size": actions.shape[1]}])]
    for key, parts, table in (("state", state, states), ("action", action, actions)):
        if sum(part.size for part in parts) != table.shape[1]:
            raise DataError(f"{path}: layout.{key} names {sum(p.size for p in parts)} columns of {table.shape[1]}.")
    kind = layout.get("root")
    width = {None: 0, "planar": 5, "spatial": 9}.get(kind, -1)
    if width < 0 or sum(part.size for part in state[: 3 if kind else 0]) != width:
        raise DataError(f"{path}: layout.root={kind}: null, or planar (2 + 2 + 1 columns), or spatial (3 + 3 + 3).")
    root: dict[str, Any] = {}
    if kind:
        root = dict(zip(("root_pos", "root_quat", "root_vel"), to_world(states[None, :, :width], _WORLD), strict=True))
        root = {key: value[0] for key, value in root.items()}
    whole = Recording(
        name=name or path.stem,
        fps=one_fps(path, arrays.get("fps", layout.get("fps")), fps),
        source=str(path),
        **root,
        planar=kind == "planar",
        local=states[:, width:] if states.shape[1] > width else None,
        slices=tuple(state[3 if kind else 0 :]),
        actions=actions,
        action_slices=tuple(action),
        action_is_joint_position=bool(layout.get("action_is_joint_position", False)),
        **_named(path, arrays, layout, len(states)),
    )
    starts = [0, *ends[:-1]]
    bounds = enumerate(zip(starts, ends, strict=True))
    pieces = (whole.cut(start, end, f"{whole.name}/{k}") for k, (start, end) in bounds)
    return [replace(piece, motion=piece.name) for piece in pieces]  # an episode is a motion of its own


def write(path: str | Path, recordings: Sequence[Recording]) -> None:
    """The file that ``read`` gives back as the same recordings, but for their names.

    Raises:
        DataError: a recording has no actions, or their layouts differ.
    """
    layout = common_layout(recordings)
    if any(recording.actions is None for recording in recordings):
        raise DataError(f"{path}: the native format stores an action with each state; a recording has none.")
    states = [_state_columns(recording) for recording in recordings]
    arrays: dict[str, Any] = {
        "states": torch.cat(states).numpy(),
        "episode_ends": np.cumsum([len(recording) for recording in recordings]),
        "layout": np.array(json.dumps(layout)),
        "fps": np.array(layout["fps"]),
    }
    for key in ("actions", "joint_pos", "contacts"):
        parts = [recording.series().get(key) for recording in recordings]
        if all(part is not None for part in parts):
            arrays[key] = torch.cat([part for part in parts if part is not None]).numpy()
    np.savez(path, **arrays)


def _state_columns(recording: Recording) -> Tensor:
    """Root in the world and ``local``: (T, S)."""
    parts = [] if recording.local is None else [recording.local]
    if recording.root_pos is not None and recording.root_quat is not None and recording.root_vel is not None:
        turn = recording.root_quat
        rot = heading(turn)[:, None] if recording.planar else roma.unitquat_to_rotvec(turn)
        flat = 2 if recording.planar else 3
        parts = [recording.root_pos[:, :flat], recording.root_vel[:, :flat], rot, *parts]
    return torch.cat(parts, dim=1)


def _layout(path: Path, arrays: Npz) -> dict[str, Any]:
    if "layout" not in arrays:
        return {}
    try:
        layout = parse_json(str(arrays["layout"]), f"{path}: layout")
        if not isinstance(layout, dict):
            raise ArgumentTypeError("a mapping is needed")
        for key in ("state", "action"):
            [Slice.of(entry) for entry in layout.get(key, [])]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: layout is not the JSON text of a layout: {error!r}") from error
    return layout


def _ends(path: Path, values: "np.ndarray[Any, Any]", steps: int) -> list[int]:
    """Rising ends, the last at ``steps``."""
    ends = values.tolist() if values.ndim == 1 and values.dtype.kind in "iu" else []
    if not ends or ends[-1] != steps or any(b <= a for a, b in zip([0, *ends], ends, strict=False)):
        raise DataError(f"{path}: episode_ends={values.tolist()}: rising whole numbers, the last is {steps}, the rows.")
    return list(ends)


def _named(path: Path, arrays: Npz, layout: dict[str, Any], steps: int) -> dict[str, Any]:
    """Joints, limits, bodies and contacts."""
    joints = arrays["joint_names"].tolist() if "joint_names" in arrays else layout.get("joints", [])
    bodies = arrays["body_names"].tolist() if "body_names" in arrays else layout.get("bodies", [])
    limits = arrays.get("joint_limits", layout.get("joint_limits") or None)
    named: dict[str, Any] = {"joints": tuple(map(str, joints)), "bodies": tuple(map(str, bodies))}
    if limits is not None:
        limits = torch.as_tensor(np.asarray(limits, dtype=np.float64))
        if limits.shape != (len(joints), 2) or not (limits[:, 0] <= limits[:, 1]).all():
            raise DataError(f"{path}: joint_limits {tuple(limits.shape)}: lower and upper rad of {len(joints)} joints.")
        named["limits"] = limits
    for key, columns in (("joint_pos", len(joints)), ("contacts", None)):
        if key in arrays:
            named[key] = arrays.floats(key, columns)
            if len(named[key]) != steps:
                raise DataError(f"{path}: {key} has {len(named[key])} rows, states has {steps}.")
    return named
