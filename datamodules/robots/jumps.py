"""Jumps: between two steps a joint or the root moves faster than the robot can; tracking lost and found again."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import roma
from torch import Tensor

from litmotif.errors import DataError

from .recording import Recording

Jumps = Literal["keep", "drop", "split"]


class Limits(NamedTuple):
    """Speeds above which a step is a jump; the fastest joints of the G1 do about 37 rad/s unloaded."""

    joint: float = 30.0
    """rad/s"""
    root: float = 10.0
    """m/s"""
    turn: float = 20.0
    """rad/s"""


class Jump(NamedTuple):
    """One step that is too fast."""

    recording: str
    step: int
    """The jump is from here to the next step."""
    part: str
    """Name of the joint, ``root`` or ``root turn``."""
    speed: float
    unit: str


def find_jumps(recording: Recording, limits: Limits = Limits()) -> list[Jump]:
    """All jumps of a recording, by step."""
    pos, quat, joint_pos, fps = recording.root_pos, recording.root_quat, recording.joint_pos, recording.fps
    parts: list[tuple[Tensor, float, Sequence[str], str]] = []  # speeds (T - 1, n), limit, n names, unit
    if joint_pos is not None:
        parts.append((joint_pos.diff(dim=0).abs() * fps, limits.joint, recording.joints, "rad/s"))
    if pos is not None:
        parts.append((_length(pos.diff(dim=0)) * fps, limits.root, ["root"], "m/s"))
    if quat is not None:
        turn = roma.unitquat_to_rotvec(roma.quat_product(roma.quat_conjugation(quat[:-1]), quat[1:]))
        parts.append((_length(turn) * fps, limits.turn, ["root turn"], "rad/s"))
    jumps = [
        Jump(recording.name, step, names[column], float(speed[step, column]), unit)
        for speed, limit, names, unit in parts
        for step, column in (speed > limit).nonzero().tolist()
    ]
    return sorted(jumps, key=lambda jump: jump.step)


def clean(
    recordings: Sequence[Recording],
    how: Jumps,
    limits: Limits = Limits(),
    shortest: int = 3,
) -> tuple[list[Recording], list[Jump]]:
    """Find jumps and do something about them.

    Args:
        recordings: any.
        how: ``keep`` all as they are, ``drop`` recordings with a jump, or ``split`` them there, into pieces named
            ``name@first step``.
        limits: what counts as a jump.
        shortest: pieces with fewer steps are left out.

    Returns:
        What is left, and every jump found.

    Raises:
        DataError: ``how`` is something else, or nothing is left.
    """
    if how not in ("keep", "drop", "split"):
        raise DataError(f"jumps={how}: keep, drop or split.")
    left: list[Recording] = []
    found: list[Jump] = []
    for recording in recordings:
        jumps = find_jumps(recording, limits)
        found += jumps
        if not jumps or how == "keep":
            left.append(recording)
        elif how == "split":
            edges = [0, *sorted({jump.step + 1 for jump in jumps}), len(recording)]
            pieces = [(a, b) for a, b in pairwise(edges) if b - a >= shortest]
            left += [recording.cut(start, stop, f"{recording.name}@{start}") for start, stop in pieces]
    if recordings and not left:
        raise DataError(
            f"jumps={how} leaves none of {len(recordings)} recordings. Choose data.jumps=split or data.jumps=keep."
        )
    return left, found


def report(jumps: Sequence[Jump], rows: int | None = None) -> str:
    """A table of jumps, the fastest first: recording, step, part, speed; ``rows`` None shows all."""
    if not jumps:
        return "no jumps"
    shown = sorted(jumps, key=lambda jump: -jump.speed)[:rows]
    width, part = max(len(jump.recording) for jump in shown), max(len(jump.part) for jump in shown)
    lines = [f"{j.recording:{width}}  {j.step:7d}  {j.part:{part}}  {j.speed:8.1f} {j.unit}" for j in shown]
    head = f"{'recording':{width}}  {'step':>7}  {'part':{part}}  {'speed':>8}"
    rest = f"... and {len(jumps) - len(shown)} more" if len(shown) < len(jumps) else ""
    return "\n".join(line for line in (head, *lines, rest) if line)


def _length(vectors: Tensor) -> Tensor:
    """(T, 3) -> (T, 1)."""
    return vectors.square().sum(-1, keepdim=True).sqrt()
