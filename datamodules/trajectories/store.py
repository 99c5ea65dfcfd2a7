"""Trajectory store: all recordings as one set of tensors, from which windows are gathered."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.geometry.frames import Frame, to_character

from ..core import DataError
from ..robots.recording import Layout, Recording, common_layout

ROOT = ("root_pos", "root_quat", "root_vel")
_CHUNK = 8192
"""Windows at a time when statistics are made."""


class Statistics(NamedTuple):
    """Of each column over the windows one learns from."""

    state_mean: Tensor
    """(S,)"""
    state_std: Tensor
    """(S,)"""
    action_mean: Tensor
    """(A,)"""
    action_std: Tensor
    """(A,)"""


class TrajectoryStore:
    """N steps of all recordings in one set of float32 tensors. A window never reaches from one recording to the next.

    Args:
        recordings: of one layout, with actions.

    Attributes:
        layout: of states and actions.
        names: R names.
        ends: (R,) where each recording ends among the N steps.
        steps: by name (N, ...): ``actions``; ``local`` and the root in the world, where there are any; and whatever
            else runs along the steps of all recordings.

    Raises:
        DataError: there is none, their layouts differ, or one has no actions, no states, or a root without velocity.
    """

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self.layout: Layout = common_layout(recordings)
        self.planar = self.layout["root"] == "planar"
        series = [recording.series() for recording in recordings]
        for recording, present in zip(recordings, series, strict=True):
            missing = {"actions", *(ROOT if self.layout["root"] else ())} - set(present)
            if missing or not self.layout["state"]:
                raise DataError(f"{recording.source or recording.name}: no {', '.join(sorted(missing)) or 'states'}.")
        shared = [key for key in series[0] if all(key in present for present in series)]
        self.names = [recording.name for recording in recordings]
        self.ends = torch.tensor([len(recording) for recording in recordings]).cumsum(0)
        self.steps = {key: torch.cat([present[key] for present in series]).float() for key in shared}

    def to(self, device: torch.device | str) -> "TrajectoryStore":
        """Move the steps; windows are then gathered there."""
        self.steps = {key: value.to(device) for key, value in self.steps.items()}
        return self

    def starts(self, window: int, recordings: Sequence[int] | None = None, stride: int = 1) -> Tensor:
        """First steps (M,) int64 of all windows of ``window`` steps in ``recordings`` (None: all).

        Raises:
            DataError: no recording is that long.
        """
        lengths = self.ends.diff(prepend=self.ends.new_zeros(1))
        chosen = range(len(self.names)) if recordings is None else recordings
        ranges = [
            torch.arange(int(self.ends[k] - lengths[k]), int(self.ends[k]) - window + 1, stride)
            for k in chosen
            if lengths[k] >= window
        ]
        if not ranges:
            longest = max((int(lengths[k]) for k in chosen), default=0)
            raise DataError(
                f"a window of {window} steps is longer than every recording: of {len(chosen)}, the longest has "
                f"{longest} steps. Shorten history or horizon, or lower fps."
            )
        return torch.cat(ranges)

    def windows(self, starts: Tensor, window: int, current: int) -> tuple[Tensor, Tensor, Frame | None]:
        """Gather windows.

        Args:
            starts: (B,) first steps, from ``starts``.
            window: steps W.
            current: index of the current step in the window.

        Returns:
            States (B, W, S) in the character frame of the current step, actions (B, W, A), both in physical units; and
            that frame (B,), None without a root.
        """
        index = self._index(starts, window)
        states, frame = self._root(index, current)
        if "local" in self.steps:
            states.append(self.steps["local"][index])
        return torch.cat(states, dim=-1), self.steps["actions"][index], frame

    def gather(self, key: str, starts: Tensor, window: int) -> Tensor:
        """Windows (B, W, ...) of one entry of ``steps`` as it is, such as ``contacts``."""
        return self.steps[key][self._index(starts, window)]

    def statistics(self, starts: Tensor, window: int, current: int, floor: float | None = None) -> Statistics:
        """Mean and standard deviation of each column, over all steps of all windows.

        Args:
            starts: (M,) windows to learn from.
            window: steps W.
            current: index of the current step in the window.
            floor: least standard deviation; None refuses columns that do not vary.

        Raises:
            DataError: a column does not vary; it names each.
        """
        covered = torch.zeros(len(self.steps["actions"]) + 1, dtype=torch.float64)
        covered.index_add_(0, starts.cpu(), torch.ones(len(starts), dtype=torch.float64))
        covered.index_add_(0, starts.cpu() + window, -torch.ones(len(starts), dtype=torch.float64))
        weight = covered.cumsum(0)[:-1].round()  # windows that hold a step
        moments = []
        if self.layout["root"]:  # what a column is depends on the window
            chunks = torch.tensor_split(starts, tuple(range(_CHUNK, len(starts), _CHUNK)))
            parts = [self._root(self._index(chunk, window), current)[0][0] for chunk in chunks]
            moments.append(_moments(torch.cat(parts).flatten(0, 1), None))
        if "local" in self.steps:
            moments.append(_moments(self.steps["local"], weight))
        action_mean, action_std = _moments(self.steps["actions"], weight)
        state_mean, state_std = (torch.cat(parts) for parts in zip(*moments, strict=True))
        for key, mean, std in (("state", state_mean, state_std), ("action", action_mean, action_std)):
            self._must_vary(key, mean, std, floor)
        low = floor or 0.0
        spread = (state_std.clamp_min(low), action_std.clamp_min(low))
        return Statistics(state_mean.float(), spread[0].float(), action_mean.float(), spread[1].float())

    # ------------------------------------------------------------------
    def _index(self, starts: Tensor, window: int) -> Tensor:
        """Steps (B, W)."""
        device = self.steps["actions"].device
        return starts.to(device)[:, None] + torch.arange(window, device=device)

    def _root(self, index: Tensor, current: int) -> tuple[list[Tensor], Frame | None]:
        """Root columns (B, W, 9) or (B, W, 5), if there are any."""
        if not self.layout["root"]:
            return [], None
        pos, quat, vel = (self.steps[key][index] for key in ROOT)
        root, frame = to_character(pos, quat, vel, current, self.planar)
        return [root], frame

    def _must_vary(self, key: str, mean: Tensor, std: Tensor, floor: float | None) -> None:
        still = (std <= 1e-6 * (1 + mean.abs())).nonzero().flatten().tolist()
        if still and floor is None:
            names = [f"{part['name']}[{k}]" for part in self.layout[key] for k in range(part["size"])]
            raise DataError(
                f"columns of {key} that never vary in training: {', '.join(names[column] for column in still)}. "
                "Leave them out of the data, or give a floor of their standard deviation."
            )


def _moments(values: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) float64 of (N, D), each row counting ``weight`` (N,) times."""
    values = values.double().cpu()
    weight = torch.ones(len(values), dtype=torch.float64) if weight is None else weight
    mean = (weight @ values) / weight.sum()
    return mean, ((weight @ (values - mean).square()) / weight.sum()).sqrt()
