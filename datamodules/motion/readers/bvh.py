"""BVH: a tree with channels, then a row of channel values a frame.

What the file does not say is the unit of length, which way is up, and whether the root's OFFSET comes on top of its
position channels. Each is told by an option, or else by a rule that is written at that option.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.checks import beginning, naming, one_fps, parse_floats
from ..clip import Clip
from ..skeleton import Skeleton, find_feet, vectors

RootOffset = Literal["auto", "replace", "add"]
_REACH = (0.7, 2.0)  # m: bones from the root to the furthest tip, hips to fingers or toes, of a child and of a giant
_UNITS = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001}
_GROUND = 0.25  # m: a lowest joint this near to height 0 stands on the ground
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.IGNORECASE)


@dataclass
class _Node:
    name: str
    parent: int
    offset: list[float] = field(default_factory=list)
    channels: list[tuple[int, bool]] = field(default_factory=list)
    """Axis 0 to 2, and whether it turns."""


def read(
    path: str | Path,
    name: str | None = None,
    fps: float | None = None,
    scale: float | None = None,
    up: Literal["y", "z"] | None = None,
    root_offset: RootOffset = "auto",
) -> list[Clip]:
    """One clip; end sites become joints called ``<joint>_end``, unless they are at their joint.

    Args:
        path: the file.
        name: of the clip.
        fps: frames a second; None takes the file's Frame Time, rounded to a whole number where it is one but for
            rounding (0.041667 s is 24).
        scale: metres a unit; None: m, dm, cm or mm, so that the bones from the root to the furthest tip measure 0.7 to
            2 m together.
        up: None: z if the skeleton at rest measures at least twice along z what it does along y, and half of what
            it does along x; y otherwise.
        root_offset: whether the root's OFFSET is added to its position channels, or replaced by them as every other
            joint's. ``auto``: added only if the lowest joint then stands within 0.25 m of height 0, and does not
            otherwise.

    Raises:
        DataError: it is broken (with the line), its units are strange, or its rate is another.
    """
    path = Path(path)
    lines = path.read_text(errors="replace").splitlines()
    nodes, motion = _hierarchy(path, lines)
    rate, values = _motion(path, lines, motion, sum(len(node.channels) for node in nodes))
    parents = [node.parent for node in nodes]
    offsets = torch.tensor([node.offset for node in nodes], dtype=torch.float64)
    metres = scale if scale is not None else _metres(path, offsets, parents)
    offsets = offsets * metres
    moved, rotations = _local(nodes, values, offsets, metres)
    upwards = up or _upwards(offsets, parents)
    axis = "xyz".index(upwards)
    names = [node.name for node in nodes]
    feet = find_feet(names)
    rest = moved.mean(dim=0)
    rest[0] = 0
    with naming(path):
        skeleton = Skeleton(tuple(names), tuple(parents), vectors(rest), upwards, feet)
    positions = skeleton.forward(moved[:, 0], rotations, moved)
    if root_offset == "add" or (root_offset == "auto" and _hovers(positions[..., axis], float(offsets[0, axis]))):
        positions = positions + offsets[0]
    return [
        Clip(
            name or path.stem, one_fps(path, rate, fps), skeleton, positions[:, 0], rotations, positions,
            source=str(path),
        )
    ]  # fmt: skip


def looks_like(path: Path) -> bool:
    """Whether the file begins as a BVH does."""
    return beginning(path, ".bvh").lstrip("\ufeff \t\r\n").upper().startswith("HIERARCHY")


# ---------------------------------------------------------------------- text
def _hierarchy(path: Path, lines: list[str]) -> tuple[list[_Node], int]:
    """Nodes in the order of the file, and the line (from 0) that says MOTION."""
    nodes: list[_Node] = []
    above: list[int] = []  # joints whose braces are open
    opened = -1
    for row, line in enumerate(lines):
        for part in line.replace("{", "\n{\n").replace("}", "\n}\n").split("\n"):
            words = part.split()
            if not words:
                continue
            match words[0].upper():
                case "MOTION":
                    if above or not nodes:
                        raise DataError(f"{path}:{row + 1}: MOTION before the braces of HIERARCHY close.")
                    return _without_empty_ends(nodes), row
                case "HIERARCHY":
                    pass
                case "ROOT" | "JOINT" | "END":
                    if (words[0].upper() == "ROOT") == bool(nodes):
                        raise DataError(f"{path}:{row + 1}: {part.strip()!r}: one ROOT, and it comes first.")
                    parent = above[-1] if above else -1
                    end = words[0].upper() == "END"
                    called = nodes[parent].name + "_end" if end else " ".join(words[1:])
                    nodes.append(_Node(called, parent))
                    opened = len(nodes) - 1
                case "{":
                    above.append(opened)
                case "}" if above:
                    above.pop()
                case "OFFSET" if above:
                    nodes[above[-1]].offset = parse_floats(f"{path}:{row + 1}", words[1:], 3)
                case "CHANNELS" if above:
                    nodes[above[-1]].channels = _channels(path, row, words)
                case _:
                    raise DataError(f"{path}:{row + 1}: {part.strip()!r} has no place in a HIERARCHY.")
    raise DataError(f"{path}: no MOTION: the file is cut off, or no BVH.")


def _without_empty_ends(nodes: list[_Node]) -> list[_Node]:
    """Drop end sites at their joint: they mark a leaf only."""
    for node in nodes:
        if not node.offset:
            node.offset = [0.0, 0.0, 0.0]
    parents = {node.parent for node in nodes}
    kept = [row for row, node in enumerate(nodes) if node.channels or any(node.offset) or row in parents]
    for row in kept:
        nodes[row].parent = kept.index(nodes[row].parent) if row else -1
    return [nodes[row] for row in kept]


def _channels(path: Path, row: int, words: list[str]) -> list[tuple[int, bool]]:
    found = [_CHANNEL.fullmatch(word) for word in words[2:]]
    channels = [("XYZ".index(one[1].upper()), one[2].lower() == "rotation") for one in found if one]
    if len(words) < 2 or words[1] != str(len(found)) or len(channels) != len(found) or len(set(channels)) < len(found):
        raise DataError(
            f"{path}:{row + 1}: {' '.join(words)!r}: CHANNELS, how many, and that many of Xposition, Yposition, "
            "Zposition, Xrotation, Yrotation, Zrotation, each once."
        )
    return channels


def _motion(path: Path, lines: list[str], start: int, columns: int) -> tuple[float, Tensor]:
    """Frames a second and channel values (T, C)."""
    text = [(row, line) for row, line in enumerate(lines[start + 1 :], start + 1) if line.strip()]
    head = [re.fullmatch(rf"\s*{key}:?\s+(\S+)\s*", line, re.IGNORECASE)
            for key, (_, line) in zip(("Frames", "Frame Time"), text, strict=False)]  # fmt: skip
    if len(head) < 2 or head[0] is None or head[1] is None:
        raise DataError(f"{path}:{start + 2}: after MOTION come 'Frames: <number>' and 'Frame Time: <seconds>'.")
    frames = parse_floats(f"{path}:{text[0][0] + 1}", [head[0][1]], 1)[0]
    seconds = parse_floats(f"{path}:{text[1][0] + 1}", [head[1][1]], 1)[0]
    rows = text[2:]
    if frames != len(rows) or not rows:
        raise DataError(
            f"{path}:{text[0][0] + 1}: Frames: {head[0][1]}, but {len(rows)} rows follow. The file is cut off, or the "
            "number wrong: copy it again, or write the number of rows there."
        )
    if seconds <= 0:
        raise DataError(f"{path}:{text[1][0] + 1}: Frame Time: {seconds:g}: seconds, above 0.")
    values = torch.tensor(
        [parse_floats(f"{path}:{row + 1}", line.split(), columns) for row, line in rows], dtype=torch.float64
    )
    return whole(1 / seconds), values.reshape(len(rows), columns)


def whole(rate: float) -> float:
    """A rate that rounding of its inverse has moved from a whole number, put back."""
    return float(round(rate)) if abs(rate - round(rate)) < 1e-4 * rate else rate


# ---------------------------------------------------------------------- geometry
def _local(nodes: list[_Node], values: Tensor, offsets: Tensor, metres: float) -> tuple[Tensor, Tensor]:
    """Positions (T, J, 3) m and rotations (T, J, 4) of joints in their parents: channels turn one after the other."""
    moved = offsets.repeat(len(values), 1, 1)
    rotations = roma.identity_quat((len(values), len(nodes)), dtype=torch.float64).clone()
    column = 0
    for joint, node in enumerate(nodes):
        for axis, turns in node.channels:
            value = values[:, column]
            if turns:
                turn = roma.euler_to_unitquat("XYZ"[axis], value[:, None], degrees=True)
                rotations[:, joint] = roma.quat_product(rotations[:, joint], turn)
            else:
                moved[:, joint, axis] = value * metres
            column += 1
    return moved, rotations


def _metres(path: Path, offsets: Tensor, parents: list[int]) -> float:
    reach = [0.0]
    for offset, parent in zip(offsets[1:], parents[1:], strict=True):
        reach.append(reach[parent] + float(offset.norm()))
    fitting = [metres for metres in _UNITS.values() if _REACH[0] <= max(reach) * metres <= _REACH[1]]
    if not fitting:
        raise DataError(
            f"{path}: bones from the root to the furthest tip measure {max(reach):g} units together, which is no human "
            f"in {', '.join(_UNITS)}. Give scale=... (metres a unit)."
        )
    return fitting[0]


def _upwards(offsets: Tensor, parents: list[int]) -> Literal["y", "z"]:
    places = [torch.zeros(3, dtype=offsets.dtype)]
    for offset, parent in zip(offsets[1:], parents[1:], strict=True):
        places.append(places[parent] + offset)
    rest = torch.stack(places)
    spread = (rest.amax(dim=0) - rest.amin(dim=0)).tolist()
    return "z" if spread[2] >= 2 * spread[1] and 2 * spread[2] >= spread[0] else "y"


def _hovers(heights: Tensor, offset: float) -> bool:
    """Whether adding the root's offset puts the lowest joint on the ground, and nothing else does."""
    low = float(heights.amin(dim=1).median())
    return abs(low + offset) < _GROUND < abs(low)
