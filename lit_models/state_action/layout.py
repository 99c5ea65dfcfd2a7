"""Column layout of states and actions: names, units, frames, joints, bodies."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

from litmotif.errors import ArgumentError
from litmotif.names import nearest

Frame = Literal["character", "local", "none"]
Root = Literal["spatial", "planar"]

ROOT_SLICES: dict[str | None, tuple[tuple[str, int], ...]] = {
    "spatial": (("root_pos", 3), ("root_vel", 3), ("root_rot", 3)),
    "planar": (("root_pos", 2), ("root_vel", 2), ("root_rot", 1)),
    None: (),
}
"""Names and sizes of the columns that a state with a root begins with."""


def alternatives(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the likeliest known ones, else all of them."""
    names = list(known)
    if near := nearest(name, names):
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are: {', '.join(names)}." if names else "there are none."


@dataclass(frozen=True)
class Columns:
    """Neighbouring columns that belong together.

    Attributes:
        name: unique within its stream.
        size: how many.
        unit: such as ``m/s``.
        frame: ``character`` is the frame of the window's current step: origin on the ground under the root, x along its
            heading, z up. ``local`` is the same of each step by itself. ``none`` needs no frame.
    """

    name: str
    size: int
    unit: str
    frame: Frame = "none"


@dataclass(frozen=True)
class StateLayout:
    """The columns of a state and an action, as the datamodule tells them.

    Attributes:
        root: ``spatial`` (position 3 m, velocity 3 m/s, rotation vector 3 rad), ``planar`` (2, 2, heading 1) or None.
            With a root, the state begins with ``root_pos``, ``root_vel`` and ``root_rot`` in the character frame.
        state: columns of a state, in order.
        action: columns of an action, in order.
        fps: steps a second.
        joints: names, in the order of ``joint_pos`` and, if they are joint positions, of the actions.
        joint_limits: lower and upper angle of each joint, rad.
        bodies: names, in the order of ``body_pos``.
        action_is_joint_position: whether actions are targets of the joints, rad.

    Raises:
        ValueError: the parts contradict one another.
    """

    root: Root | None
    state: tuple[Columns, ...]
    action: tuple[Columns, ...]
    fps: float
    joints: tuple[str, ...] = ()
    joint_limits: tuple[tuple[float, float], ...] = ()
    bodies: tuple[str, ...] = ()
    action_is_joint_position: bool = False

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ArgumentError(f"layout: {problem}")

    @classmethod
    def from_plain(cls, layout: Mapping[str, Any]) -> "StateLayout":
        """Read what YAML can write.

        Args:
            layout: the attributes by name; columns as mappings, tuples as lists.

        Raises:
            ValueError: a key is missing or unknown, or the parts contradict one another.
        """
        plain = checked(cls, layout, "layout")
        for stream in ("state", "action"):
            plain[stream] = tuple(
                Columns(**checked(Columns, columns, f"layout.{stream}[{number}]"))
                for number, columns in enumerate(plain[stream])
            )
        limits = plain.get("joint_limits", ())
        for number, pair in enumerate(limits):
            if len(pair) != 2:
                raise ArgumentError(f"layout.joint_limits[{number}]={list(pair)}: give [lower, upper] in rad.")
        plain["joint_limits"] = tuple((float(lower), float(upper)) for lower, upper in limits)
        for names in ("joints", "bodies"):
            plain[names] = tuple(plain.get(names, ()))
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        """What ``from_plain`` reads: strings, numbers, bools, lists and dicts."""
        plain = asdict(self)
        plain |= {name: list(plain[name]) for name in ("state", "action", "joints", "bodies")}
        for columns in plain["action"]:
            del columns["frame"]
        return plain | {"joint_limits": [list(pair) for pair in self.joint_limits]}

    @property
    def state_size(self) -> int:
        """Columns S of a state."""
        return sum(columns.size for columns in self.state)

    @property
    def action_size(self) -> int:
        """Columns A of an action."""
        return sum(columns.size for columns in self.action)

    @property
    def state_names(self) -> list[str]:
        """A name for each column of a state, such as ``root_pos/x`` or ``joint_pos/left_knee_joint``."""
        return [f"{columns.name}/{part}" for columns in self.state for part in self._parts(columns)]

    @property
    def action_names(self) -> list[str]:
        """The same of an action."""
        if self.action_is_joint_position:
            return [f"{self.action[0].name}/{joint}" for joint in self.joints]
        return [f"{columns.name}/{part}" for columns in self.action for part in self._parts(columns)]

    @property
    def global_columns(self) -> list[int]:
        """Indices of the state's columns in the character frame."""
        frames = [columns.frame for columns in self.state for _ in range(columns.size)]
        return [index for index, frame in enumerate(frames) if frame == "character"]

    def __contains__(self, name: str) -> bool:
        return any(columns.name == name for columns in self.state)

    def slice(self, name: str) -> slice:
        """Where columns stand in a state.

        Args:
            name: of columns, or of a part: ``root_pos/x``, ``joint_pos/JOINT``, ``body_pos/BODY``.

        Raises:
            ValueError: the state has no such columns; names the likeliest.
        """
        name, _, part = name.partition("/")
        start = 0
        for columns in self.state:
            if columns.name == name:
                return slice(*self._part(columns, start, part)) if part else slice(start, start + columns.size)
            start += columns.size
        raise ArgumentError(
            f"the state has no columns {name!r}; {alternatives(name, [columns.name for columns in self.state])}"
        )

    def body(self, name: str) -> int:
        """The number of a body.

        Raises:
            ValueError: there is none of this name; names the likeliest.
        """
        if name not in self.bodies:
            raise ArgumentError(f"the layout has no body {name!r}; {alternatives(name, self.bodies)}")
        return self.bodies.index(name)

    def _owners(self, columns: Columns) -> Sequence[str]:
        if columns.name.startswith("joint_"):
            return self.joints
        return self.bodies if columns.name.startswith("body_") else ()

    def _part(self, columns: Columns, start: int, part: str) -> tuple[int, int]:
        owners = self._owners(columns) or self._parts(columns)
        if part not in owners:
            raise ArgumentError(f"{columns.name!r} has no part {part!r}; {alternatives(part, owners)}")
        each = columns.size // len(owners)
        first = start + each * owners.index(part)
        return first, first + each

    def _parts(self, columns: Columns) -> list[str]:
        owners = self._owners(columns)
        if owners:
            each = columns.size // len(owners)
            return [owner if each == 1 else f"{owner}/{'xyz'[axis]}" for owner in owners for axis in range(each)]
        return list("xyz"[: columns.size]) if columns.size in (2, 3) else [str(index) for index in range(columns.size)]

    def _problems(self) -> Iterable[str]:
        for stream, of_stream in (("state", self.state), ("action", self.action)):
            names = [columns.name for columns in of_stream]
            if not names:
                yield f"{stream} has no columns."
            if twice := sorted({name for name in names if names.count(name) > 1}):
                yield f"{stream} names {twice[0]!r} twice."
            for columns in of_stream:
                if not isinstance(columns.size, int) or columns.size < 1:
                    yield f"{stream} {columns.name!r} has size={columns.size!r}; at least 1 column."
                if columns.frame not in get_args(Frame):
                    hint = alternatives(columns.frame, get_args(Frame))
                    yield f"{stream} {columns.name!r} has frame={columns.frame!r}; {hint}"
        if not (math.isfinite(self.fps) and self.fps > 0):
            yield f"fps={self.fps}: a positive number of steps a second."
        yield from self._root_problems()
        yield from self._joint_problems()
        for columns in self.state:
            owners = self._owners(columns)
            if columns.name == "body_pos" and owners and columns.size != 3 * len(owners):
                yield f"'body_pos' has {columns.size} columns for {len(owners)} bodies; 3 each."
            if owners and columns.size % len(owners):
                yield f"{columns.name!r} has {columns.size} columns, which {len(owners)} names cannot share equally."

    def _root_problems(self) -> Iterable[str]:
        if self.root not in ROOT_SLICES:
            yield f"root={self.root!r}; choose 'spatial', 'planar' or null."
            return
        wanted = [Columns(name, size, "", "character") for name, size in ROOT_SLICES[self.root]]
        found = [Columns(columns.name, columns.size, "", columns.frame) for columns in self.state[: len(wanted)]]
        if found != wanted:
            shape = ", ".join(f"{columns.name} ({columns.size})" for columns in wanted)
            yield f"root={self.root!r} needs a state that begins with {shape}, all in frame 'character'."

    def _joint_problems(self) -> Iterable[str]:
        if len(self.joint_limits) not in (0, len(self.joints)):
            yield f"{len(self.joint_limits)} joint_limits for {len(self.joints)} joints."
        for joint, (lower, upper) in zip(self.joints, self.joint_limits, strict=False):
            if not lower < upper:
                yield f"joint_limits of {joint!r} are [{lower}, {upper}]; the lower one comes first."
        for kind, names in (("joints", self.joints), ("bodies", self.bodies)):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                yield f"{kind} name {twice[0]!r} twice."
        joints = len(self.joints)
        joint_pos = next((columns.size for columns in self.state if columns.name == "joint_pos"), None)
        if joint_pos not in (None, joints):
            yield f"'joint_pos' has {joint_pos} columns for {joints} joints."
        if self.action_is_joint_position and self.action_size != joints:
            yield f"action_is_joint_position, yet an action has {self.action_size} columns for {joints} joints."


def checked(kind: type, plain: Mapping[str, Any], where: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a dataclass as YAML gives them.

    Args:
        kind: the dataclass.
        plain: fields by name.
        where: they stand, for the message.
        without: fields that do not come from there.

    Returns:
        ``plain`` as a dict.

    Raises:
        ValueError: a field is unknown or missing.
    """
    known = {field.name: field for field in fields(kind) if field.name not in without}
    for key in plain:
        if key not in known:
            raise ArgumentError(f"{where}: unknown key {key!r}; {alternatives(str(key), known)}")
    missing = [name for name, field in known.items() if field.default is MISSING and name not in plain]
    if missing:
        raise ArgumentError(f"{where} lacks {', '.join(missing)}.")
    return dict(plain)
