"""Another number of steps a second."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from litmotif.geometry.rotations import slerp

from ..core import DataError
from ..robots.recording import Recording


def resample(recording: Recording, fps: float) -> Recording:
    """The same motion at ``fps`` steps a second, from the first step to as near the last as a step falls.

    Values are interpolated on straight lines, the root's rotation along the shorter great circle, contacts taken from
    the nearest step. Nothing is filtered: motion faster than half of ``fps`` turns into slower motion.

    Raises:
        DataError: ``fps`` is not above 0, or ``local`` was already made from the root and joints: their velocities
            belong to the old steps.
    """
    if not fps > 0:
        raise DataError(f"fps={fps}: steps a second, above 0.")
    if fps == recording.fps:
        return recording
    if recording.local is not None and recording.joint_pos is not None and recording.root_pos is not None:
        raise DataError(f"{recording.source or recording.name}: resample before features are made.")
    last = len(recording) - 1
    count = int(last * fps / recording.fps * (1 + 1e-9)) + 1
    place = (torch.arange(count, dtype=torch.float64) * recording.fps / fps).clamp_max(last)
    before = place.floor().long().clamp_max(max(last - 1, 0))
    after, share = (before + 1).clamp_max(last), (place - before)[:, None]
    between: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"root_quat": slerp, "contacts": _nearest}
    parts: dict[str, Any] = {
        key: between.get(key, torch.lerp)(value[before], value[after], share.to(value.dtype))
        for key, value in recording.series().items()
    }
    return replace(recording, fps=float(fps), **parts)


def _nearest(before: Tensor, after: Tensor, share: Tensor) -> Tensor:
    return torch.where(share < 0.5, before, after)
