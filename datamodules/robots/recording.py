"""A recording: one uninterrupted stretch of motion, however its file was laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from torch import Tensor

from litmotif.errors import DataError

Layout = dict[str, Any]
"""Column layout that a datamodule tells a module, as YAML can write it: ``Recording.layout``."""


class Slice(NamedTuple):
    """Some columns that belong together."""

    name: str
    size: int
    unit: str = ""
    frame: str = "none"
    """``character``: of the window's current step; ``local``: of each step itself; ``none``."""

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Slice":
        """From an entry of a layout."""
        return cls(str(entry["name"]), int(entry["size"]), str(entry.get("unit", "")), str(entry.get("frame", "none")))


@dataclass(frozen=True)
class Recording:
    """T steps at a fixed rate; every reader lowers to it. Tensors are float64 as read.

    Attributes:
        name: unique among the recordings.
        fps: steps a second.
        source: the file it was read from.
        root_pos: (T, 3) m in the world, z up; None for systems without a root.
        root_quat: (T, 4) x y z w, the root in the world.
        root_vel: (T, 3) m/s in the world.
        planar: the root moves on the ground: height 0, turning about the vertical only.
        local: (T, L) features that no change of the world's frame touches.
        slices: of the L columns.
        actions: (T, A): what is done at a step and leads to the next one; None where only the motion is known.
        action_slices: of the A columns.
        action_is_joint_position: actions are joint targets in rad, in the order of ``joints``.
        joint_pos: (T, J) rad.
        joints: J names.
        limits: (J, 2) rad.
        bodies: names of the B bodies that ``local`` or ``contacts`` speak of.
        contacts: (T, B) 1 in contact, 0 not.
        motion: what it was cut or mirrored from: recordings of one motion stay in one split. By default ``name``.
    """

    name: str
    fps: float
    source: str = ""
    root_pos: Tensor | None = None
    root_quat: Tensor | None = None
    root_vel: Tensor | None = None
    planar: bool = False
    local: Tensor | None = None
    slices: tuple[Slice, ...] = ()
    actions: Tensor | None = None
    action_slices: tuple[Slice, ...] = ()
    action_is_joint_position: bool = False
    joint_pos: Tensor | None = None
    joints: tuple[str, ...] = ()
    limits: Tensor | None = None
    bodies: tuple[str, ...] = ()
    contacts: Tensor | None = None
    motion: str = ""

    def __post_init__(self) -> None:
        """Check that the parts are of one length and their names count their columns.

        Raises:
            DataError: they are not.
        """
        if not self.motion:
            object.__setattr__(self, "motion", self.name)
        if not self.fps > 0:
            raise DataError(f"{self.source or self.name}: fps={self.fps}: steps a second, above 0.")
        lengths = {name: len(value) for name, value in self.series().items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise DataError(f"{self.source or self.name}: {lengths or 'no'} steps: at least 1, the same in each array.")
        for what, named, value in (
            ("slices", sum(part.size for part in self.slices), self.local),
            ("action_slices", sum(part.size for part in self.action_slices), self.actions),
            ("joints", len(self.joints), self.joint_pos),
        ):
            if value is not None and named != value.shape[1]:
                raise DataError(f"{self.source or self.name}: {what} name {named} columns of {value.shape[1]}.")

    def __len__(self) -> int:
        """Steps T."""
        return len(next(iter(self.series().values())))

    def series(self) -> dict[str, Tensor]:
        """Everything that runs along the T steps, by the name of its field."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "limits"}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def cut(self, start: int, stop: int, name: str | None = None) -> "Recording":
        """Steps ``start`` to before ``stop``."""
        parts: dict[str, Any] = {key: value[start:stop] for key, value in self.series().items()}
        return replace(self, name=name or self.name, **parts)

    @property
    def layout(self) -> Layout:
        """The columns of states and actions: root in the character frame of a window, then ``local``."""
        kind = None if self.root_pos is None else "planar" if self.planar else "spatial"
        sizes = {"planar": (2, 2, 1), "spatial": (3, 3, 3)}.get(kind or "", ())
        units = (("root_pos", "m"), ("root_vel", "m/s"), ("root_rot", "rad"))
        root = [Slice(name, size, unit, "character") for (name, unit), size in zip(units, sizes, strict=False)]
        return {
            "root": kind,
            "state": [part._asdict() for part in (*root, *self.slices)],
            "action": [{"name": part.name, "size": part.size, "unit": part.unit} for part in self.action_slices],
            "fps": float(self.fps),
            "joints": list(self.joints),
            "joint_limits": [] if self.limits is None else self.limits.tolist(),
            "bodies": list(self.bodies),
            "action_is_joint_position": self.action_is_joint_position,
        }


def common_layout(recordings: Sequence[Recording]) -> Layout:
    """The layout that all share.

    Raises:
        DataError: there is no recording, or two disagree; it names both files and the key.
    """
    if not recordings:
        raise DataError("No recording: give a folder with at least one.")
    first = recordings[0].layout
    for other in recordings[1:]:
        for key, value in other.layout.items():
            if value != first[key]:
                raise DataError(
                    f"{recordings[0].source or recordings[0].name} and {other.source or other.name} differ in {key}: "
                    f"{first[key]} and {value}. Put them into folders of their own, or resample to one fps."
                )
    return first
