"""ASF and AMC (Acclaim), as CMU has them: a skeleton in one file, the angles of its bones frame by frame in others.

A bone turns about axes of its own: R = C M C^-1, with C from its ``axis`` and M from its angles, and all bones of a
skeleton at rest share the frame of the world. The bone's joint is where it begins; bones without children get a joint
``<bone>_end`` where they end. (Three bones of CMU's skeletons begin at the root: they are 0 long as joints.)
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import roma
import torch
from torch import Tensor

from ...core import DataError
from ...files.checks import naming, one_fps, parse_floats, read_text
from ..captions import table_of
from ..clip import Clip
from ..skeleton import Skeleton, find_feet

_INCH = 0.0254  # m; an ASF's length is in inches, times the number that `units` gives
_TURNS = ("rx", "ry", "rz")
_MOVES = ("tx", "ty", "tz")


@dataclass
class _Bone:
    name: str
    parent: str = ""
    direction: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    length: float = 0.0
    axis: tuple[list[float], str] = field(default_factory=lambda: ([0.0, 0.0, 0.0], "XYZ"))
    dof: list[str] = field(default_factory=list)


@dataclass
class _Asf:
    path: Path
    metres: float
    degrees: bool
    bones: dict[str, _Bone]
    skeleton: Skeleton
    position: list[float]


def looks_like(path: Path) -> bool:
    """Whether it is an AMC file; an ASF alone is no motion."""
    return path.suffix.lower() == ".amc"


def read(path: str | Path, name: str | None = None, fps: float | None = None) -> list[Clip]:
    """One clip: an AMC file, with its skeleton beside it.

    Args:
        path: the AMC file. Its skeleton is ``<name up to the first _>.asf`` beside it, or the only ASF file there.
        name: of the clip.
        fps: frames a second, which no AMC holds; None takes column ``fps`` of a table of labels beside it.

    Raises:
        DataError: no skeleton, no rate, or one of the files is broken (with the line).
    """
    path = Path(path)
    asf = _asf(_beside(path))
    rows = _amc(path, asf)
    label = table_of(path).get(path.stem)
    rate = one_fps(path, None, fps if fps is not None or label is None else label.fps)
    root, rotations = _pose(asf, rows)
    return [Clip.posed(name or path.stem, rate, asf.skeleton, root, rotations, source=str(path))]


def _beside(path: Path) -> Path:
    own = path.with_name(path.stem.partition("_")[0] + ".asf")
    if own.is_file():
        return own
    found = sorted(path.parent.glob("*.asf"))
    if len(found) != 1:
        raise DataError(f"{path}: {len(found)} skeletons (*.asf) beside it and none is {own.name}: put it there.")
    return found[0]


# ---------------------------------------------------------------------- skeleton
def _asf(path: Path) -> _Asf:
    """Parse an ASF file."""
    sections: dict[str, list[tuple[int, list[str]]]] = {}
    current: list[tuple[int, list[str]]] = []
    for row, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words and words[0].startswith(":"):
            current = sections.setdefault(words[0].lower(), [])
        elif words:
            current.append((row, words))
    for key in (":root", ":bonedata", ":hierarchy"):
        if not sections.get(key):
            raise DataError(f"{path}: no section {key}; there are {', '.join(sections) or 'none'}.")
    units = {words[0].lower(): words[1] for _, words in sections.get(":units", []) if len(words) > 1}
    degrees = units.get("angle", "deg").lower().startswith("deg")
    metres = _INCH / parse_floats(f"{path}:0", [units.get("length", "1")])[0]
    bones = {"root": _root(path, sections[":root"])}
    places = (parse_floats(f"{path}:{row}", words[1:4]) for row, words in sections[":root"] if words[0] == "position")
    for bone in _bones(path, sections[":bonedata"]):
        bones[bone.name] = bone
    for row, words in sections[":hierarchy"]:
        if words[0] in ("begin", "end"):
            continue
        for child in words:
            if child not in bones:
                raise DataError(f"{path}:{row}: bone {child} is not in :bonedata.")
        for child in words[1:]:
            bones[child].parent = words[0]
    return _Asf(path, metres, degrees, bones, _skeleton(path, bones, metres), next(places, [0.0, 0.0, 0.0]))


def _root(path: Path, section: list[tuple[int, list[str]]]) -> _Bone:
    root = _Bone("root", dof=[*_MOVES, *_TURNS])
    for row, words in section:
        match words[0].lower():
            case "order":
                root.dof = [word.lower() for word in words[1:]]
            case "axis":
                root.axis = ([0.0, 0.0, 0.0], words[-1].upper())
            case "orientation" if any(parse_floats(f"{path}:{row}", words[1:4])):
                raise DataError(f"{path}:{row}: {' '.join(words)}: only a root with orientation 0 0 0 can be read.")
    if sorted(root.dof) != sorted((*_MOVES, *_TURNS)):
        raise DataError(f"{path}: order of the root: {root.dof}: each of TX TY TZ RX RY RZ once.")
    return root


def _bones(path: Path, section: list[tuple[int, list[str]]]) -> list[_Bone]:
    found: list[_Bone] = []
    for row, words in section:
        match words[0].lower():
            case "begin":
                found.append(_Bone(""))
            case "name":
                found[-1].name = words[1]
            case "direction":
                found[-1].direction = parse_floats(f"{path}:{row}", words[1:4])
            case "length":
                (found[-1].length,) = parse_floats(f"{path}:{row}", words[1:2])
            case "axis":
                found[-1].axis = (parse_floats(f"{path}:{row}", words[1:4]), words[4].upper())
            case "dof":
                found[-1].dof = [word.lower() for word in words[1:]]
                if set(found[-1].dof) - set(_TURNS):
                    raise DataError(f"{path}:{row}: dof {words[1:]}: only rx, ry, rz can be read.")
    return found


def _skeleton(path: Path, bones: dict[str, _Bone], metres: float) -> Skeleton:
    """Joints at the beginnings of bones, parents first, then an end for each bone without children."""
    names: list[str] = []

    def visit(bone: str) -> None:
        names.append(bone)
        for child in [other.name for other in bones.values() if other.parent == bone]:
            visit(child)

    visit("root")
    lost = [bone for bone in bones if bone not in names]
    if lost:
        raise DataError(f"{path}: {', '.join(lost)} not below the root in :hierarchy.")
    leaves = [bone for bone in names if bone not in {other.parent for other in bones.values()}]
    parents = [*(bones[bone].parent for bone in names), *leaves]
    joints = [*names, *(f"{leaf}_end" for leaf in leaves)]
    offsets = [(0.0, 0.0, 0.0)]
    for parent in parents[1:]:  # from where the parent bone begins to where it ends
        along, length = bones[parent].direction, bones[parent].length
        unit = math.sqrt(sum(x * x for x in along)) or 1.0
        x, y, z = (step / unit * length * metres for step in along)
        offsets.append((x, y, z))
    numbers = tuple(joints.index(parent) if parent else -1 for parent in parents)
    with naming(path):
        return Skeleton(tuple(joints), numbers, tuple(offsets), "y", find_feet(joints))


# ---------------------------------------------------------------------- motion
def _amc(path: Path, asf: _Asf) -> Tensor:
    """Values (T, D), D over the bones of the ASF and their degrees of freedom in its order."""
    frames: list[dict[str, list[float]]] = []
    degrees = asf.degrees
    for row, line in enumerate(read_text(path, errors="replace").splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            degrees = {":DEGREES": True, ":RADIANS": False}.get(words[0].upper(), degrees)
        elif len(words) == 1 and re.fullmatch(r"\d+", words[0]):
            frames.append({})
            if int(words[0]) != len(frames):
                raise DataError(f"{path}:{row}: frame {words[0]} where {len(frames)} is due: frames are missing.")
        else:
            bone = asf.bones.get(words[0])
            if bone is None or not frames:
                raise DataError(f"{path}:{row}: {words[0]}: no bone of {asf.path}, or before the first frame.")
            values = parse_floats(f"{path}:{row}", words[1:])
            if len(values) != len(bone.dof):
                raise DataError(
                    f"{path}:{row}: {len(values)} values for bone {bone.name}, whose dof in {asf.path.name} are "
                    f"{' '.join(bone.dof) or 'none'}."
                )
            frames[-1][bone.name] = values
    moving = [bone for bone in asf.bones.values() if bone.dof]
    for number, frame in enumerate(frames, start=1):
        missing = [bone.name for bone in moving if bone.name not in frame]
        if missing:
            raise DataError(f"{path}: frame {number} has no {', '.join(missing)}: the file may be cut off.")
    if not frames:
        raise DataError(f"{path}: no frame.")
    rows = torch.tensor([[v for bone in moving for v in frame[bone.name]] for frame in frames], dtype=torch.float64)
    turning = torch.tensor([dof in _TURNS for bone in moving for dof in bone.dof])
    return torch.where(turning, torch.deg2rad(rows), rows) if degrees else rows


def _pose(asf: _Asf, values: Tensor) -> tuple[Tensor, Tensor]:
    """Root (T, 3) m and local rotations (T, J, 4)."""
    rotations = roma.identity_quat((len(values), len(asf.skeleton.names)), dtype=torch.float64).clone()
    root, column = torch.tensor(asf.position, dtype=torch.float64).repeat(len(values), 1), 0
    for bone in asf.bones.values():
        angles, order = bone.axis
        given = torch.tensor(angles, dtype=torch.float64)
        own = _turn(order.lower(), [a.deg2rad() if asf.degrees else a for a in given[["XYZ".index(o) for o in order]]])
        turns: list[tuple[str, Tensor]] = []
        for dof in bone.dof:
            if dof in _TURNS:
                turns.append((dof[1], values[:, column]))
            else:
                root[:, "xyz".index(dof[1])] += values[:, column]
            column += 1
        if turns:
            turned = _turn("".join(axis for axis, _ in turns), [angle for _, angle in turns])
            whole = roma.quat_composition([own.expand_as(turned), turned, roma.quat_conjugation(own).expand_as(turned)])
            rotations[:, asf.skeleton.names.index(bone.name)] = whole
    return root * asf.metres, rotations


def _turn(order: str, angles: list[Tensor]) -> Tensor:
    """Turns (..., 4) about fixed axes, the first of ``order`` first."""
    turned: Tensor = roma.euler_to_unitquat(order, angles)
    return turned
