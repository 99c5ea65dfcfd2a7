"""BVH: a tree with channels, then a row of channel values a frame.

What the file does not say is the unit of length, which way is up, and whether the root's OFFSET comes on top of its
position channels. Each is told by an option, or else by a rule that is written at that option. Any other joint's
position channels replace its OFFSET, which then says nothing: where the actor stood, or 0.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.checks import beginning, naming, one_fps, parse_floats, read_text
from ..clip import Clip
from ..rooting import carried, reach, rerooted, trunk
from ..skeleton import Skeleton, find_feet, vectors
from . import beside

RootOffset = Literal["auto", "replace", "add"]
_REACH = (0.7, 2.0)  # m: bones from the hips to the furthest tip, fingers or toes, of a child and of a giant
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
    pause: float | None = None,
    audio_rate: int | None = None,
) -> list[Clip]:
    """One clip; end sites become joints called ``<joint>_end``, unless they are at their joint.

    Speech or music (.wav) and words (.TextGrid) of its name are taken with it, beside the file or in ``wav``,
    ``audio``, ``textgrid`` beside its folder, as BEAT, ZeroEGGS and GENEA have them.

    A root that only holds the joint that travels (``Reference``, ``joint_Root``) is left out with what else hangs on
    it, see ``rooting``.

    Args:
        path: the file.
        name: of the clip.
        fps: frames a second, whatever the file says; None takes its Frame Time, rounded to a whole number where it is
            one but for rounding (0.041667 s is 24).
        scale: metres a unit; None: m, dm, cm or mm, so that the bones from the hips to the furthest tip measure 0.7 to
            2 m together; joints with position channels are where these mostly put them.
        up: None: z if the skeleton at rest measures at least twice along z what it does along y, and half of what
            it does along x; y otherwise.
        root_offset: whether the root's OFFSET is added to its position channels, or replaced by them as every other
            joint's. ``auto``: added only if the lowest joint then stands within 0.25 m of height 0, and does not
            otherwise.
        pause: cut the recording into its sentences, at silences of that many seconds; needs a transcript.
        audio_rate: the rate (Hz) that sound must have; None: any.

    Raises:
        DataError: it is broken (with the line), or its units are strange, or sound is too short or of another rate.
    """
    path = Path(path)
    lines = read_text(path, errors="replace").splitlines()
    nodes, motion = _hierarchy(path, lines)
    rate, values = _motion(path, lines, motion, sum(len(node.channels) for node in nodes))
    parents, names = tuple(node.parent for node in nodes), tuple(node.name for node in nodes)
    moved, rotations = _local(nodes, values)
    free = [any(not turns for _, turns in node.channels) for node in nodes]
    root = trunk(parents, moved, free)
    rest = moved.median(dim=0).values
    metres = scale if scale is not None else _metres(path, reach(parents, rest, root))
    moved, rest = moved * metres, rest * metres
    upwards = up or _upwards(rest, parents, root)
    rest[0] = 0
    with naming(path):
        skeleton = Skeleton(names, parents, vectors(rest), upwards, find_feet(names))
    positions = skeleton.forward(moved[:, 0], rotations, moved)
    offset = metres * torch.tensor(nodes[root].offset, dtype=torch.float64).expand(len(moved), 3)
    if root:
        offset = roma.quat_action(skeleton.orientations(rotations)[:, parents[root]], offset)
    axis = "xyz".index(upwards)
    if free[root] and (
        root_offset == "add" or (root_offset == "auto" and _hovers(positions[..., axis], offset[:, axis]))
    ):
        positions = positions + offset[:, None]
    skeleton, rotations, positions = rerooted(skeleton, rotations, positions, root)
    said = beside.words(path)
    clip = Clip(
        name or path.stem, one_fps(path, rate, fps), skeleton, positions[:, 0], rotations, positions, source=str(path),
        captions=beside.caption(said), audio=beside.audio(path, audio_rate),
    )  # fmt: skip
    return [clip] if pause is None else beside.sentences(clip, said, pause)


def looks_like(path: Path) -> bool:
    """Whether the file begins as a BVH does."""
    return beginning(path, ".bvh").lstrip().upper().startswith("HIERARCHY")


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
    head = [re.fullmatch(rf"\s*{key}\s*(?::|\s)\s*(\S+)\s*", line, re.IGNORECASE)
            for key, (_, line) in zip(("Frames", r"Frame\s+Time"), text, strict=False)]  # fmt: skip
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
def _local(nodes: list[_Node], values: Tensor) -> tuple[Tensor, Tensor]:
    """Places (T, J, 3) and rotations (T, J, 4) of joints in their parents: channels turn one after the other."""
    moved = torch.tensor([node.offset for node in nodes], dtype=torch.float64).repeat(len(values), 1, 1)
    rotations = roma.identity_quat((len(values), len(nodes)), dtype=torch.float64).clone()
    column = 0
    for joint, node in enumerate(nodes):
        for axis, turns in node.channels:
            value = values[:, column]
            if turns:
                turn = roma.euler_to_unitquat("XYZ"[axis], value[:, None], degrees=True)
                rotations[:, joint] = roma.quat_product(rotations[:, joint], turn)
            else:
                moved[:, joint, axis] = value
            column += 1
    return moved, rotations


def _metres(path: Path, far: float) -> float:
    fitting = [metres for metres in _UNITS.values() if _REACH[0] <= far * metres <= _REACH[1]]
    if not fitting:
        raise DataError(
            f"{path}: bones from the hips to the furthest tip measure {far:g} units together, which is no human in "
            f"{', '.join(_UNITS)}. Give scale=... (metres a unit); in a config data.options: {{scale: ...}}."
        )
    return fitting[0]


def _upwards(rest: Tensor, parents: tuple[int, ...], root: int) -> Literal["y", "z"]:
    places = {root: torch.zeros(3, dtype=rest.dtype)}
    for joint in carried(parents, root)[1:]:
        places[joint] = places[parents[joint]] + rest[joint]
    body = torch.stack(list(places.values()))
    spread = (body.amax(dim=0) - body.amin(dim=0)).tolist()
    return "z" if spread[2] >= 2 * spread[1] and 2 * spread[2] >= spread[0] else "y"


def _hovers(heights: Tensor, offset: Tensor) -> bool:
    """Whether adding the root's offset (T,) puts the lowest joint on the ground, and nothing else does."""
    low = heights.amin(dim=1).median()
    return abs(float(low + offset.median())) < _GROUND < abs(float(low))
