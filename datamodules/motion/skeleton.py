"""A skeleton: a tree of ball joints, as plain data that YAML can write, and where its joints are in a pose."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from litmotif.geometry.kinematics import check_tree, tree_of

from ..core import DataError

Layout = Literal["humanml3d", "smplx", "smplh", "beat", "deepmimic"]
Vector = tuple[float, float, float]
_FEET = ("ankle", "foot", "heel", "toe")
_FACE = ("jaw", "left_eye_smplhf", "right_eye_smplhf")


@dataclass(frozen=True)
class Skeleton:
    """J joints, each of which turns freely in its parent's frame; an end of a bone is a joint that never turns.

    Attributes:
        names: J unique names.
        parents: index of each joint's parent, -1 for the root, which comes first; parents stand before children.
        offsets: (J, 3) m from the parent, in the parent's frame; the root's is 0 and never used.
        up: axis of the world that points upwards.
        feet: names of the joints that touch the ground: heels, ankles, toes.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: tuple[Vector, ...]
    up: Literal["y", "z"] = "y"
    feet: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Turn sequences to tuples and check the tree.

        Raises:
            DataError: no tree, names that occur twice, an offset that is no finite vector, unknown feet or axis.
        """
        for key in ("names", "parents", "feet"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        check_tree(self.names, self.parents)
        offsets = torch.as_tensor(self.offsets, dtype=torch.float64)
        if offsets.shape != (len(self.names), 3) or not offsets.isfinite().all():
            raise DataError(
                f"skeleton: offsets {tuple(offsets.shape)} of {len(self.names)} joints: a finite (x, y, z) for each."
            )
        object.__setattr__(self, "offsets", vectors(offsets))
        unknown = [foot for foot in self.feet if foot not in self.names]
        if unknown:
            raise DataError(f"skeleton: feet {', '.join(unknown)} are no joints; there are {', '.join(self.names)}.")
        if self.up not in ("y", "z"):
            raise DataError(f"skeleton: up={self.up}: y or z.")

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Skeleton":
        """From plain data, the inverse of ``plain``.

        Raises:
            DataError: a key is missing, or the tree is none.
        """
        missing = [key for key in ("names", "parents", "offsets") if key not in plain]
        if missing:
            raise DataError(f"skeleton: {', '.join(missing)} missing; there are: {', '.join(plain) or 'no keys'}.")
        return cls(plain["names"], plain["parents"], plain["offsets"], plain.get("up", "y"), plain.get("feet", ()))

    @property
    def plain(self) -> dict[str, Any]:
        """As YAML can write it."""
        return {
            "names": list(self.names),
            "parents": list(self.parents),
            "offsets": [list(offset) for offset in self.offsets],
            "up": self.up,
            "feet": list(self.feet),
        }

    @property
    def vertical(self) -> int:
        """Which of x, y, z points up: 1 or 2."""
        return "xyz".index(self.up)

    @property
    def leaves(self) -> tuple[int, ...]:
        """Joints without children."""
        return tuple(joint for joint in range(len(self.names)) if joint not in self.parents)

    def forward(self, root_pos: Tensor, rotations: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Where the joints are: p_j = p_parent + R_parent o_j, R_j = R_parent r_j.

        Args:
            root_pos: (..., 3) m in the world.
            rotations: (..., J, 4) unit quaternions x y z w, each joint in its parent's frame, the root in the world.
            offsets: (..., J, 3) m in the parents, where joints move there as well; None: the skeleton's.

        Returns:
            (..., J, 3) m in the world.

        Raises:
            DataError: another number of joints.
        """
        if rotations.shape[-2:] != (len(self.names), 4):
            raise DataError(f"rotations {tuple(rotations.shape)}: (..., {len(self.names)}, 4) on this skeleton.")
        if offsets is None:
            offsets = torch.tensor(self.offsets, dtype=root_pos.dtype, device=root_pos.device)
        tree = tree_of(self.parents)
        return tree.positions(root_pos, rotations[..., tree.inner, :], offsets)

    def orientations(self, rotations: Tensor) -> Tensor:
        """Of all joints in the world, (..., J, 4) x y z w, from local ones."""
        nowhere = rotations[..., :3]
        return tree_of(self.parents)(nowhere[..., 0, :], rotations, nowhere)[1]  # type: ignore[no-any-return]


def vectors(values: Tensor) -> tuple[Vector, ...]:
    """Rows of a tensor (J, 3) as plain numbers."""
    return tuple((x, y, z) for x, y, z in values.tolist())


def find_feet(names: Sequence[str]) -> tuple[str, ...]:
    """Names of joints that sound like ankles, feet, heels or toes."""
    return tuple(name for name in names if any(part in name.lower() for part in _FEET))


@cache
def layout(name: Layout) -> Skeleton:
    """A known skeleton; all but DeepMimic's have the offsets of a generic adult, as ``layouts.json`` says.

    Raises:
        DataError: no such layout.
    """
    if name == "smplh":  # SMPL-X without jaw and eyes
        whole = layout("smplx")
        kept = [joint for joint, one in enumerate(whole.names) if one not in _FACE]
        return Skeleton(
            tuple(whole.names[joint] for joint in kept),
            tuple(kept.index(whole.parents[joint]) if joint else -1 for joint in kept),
            tuple(whole.offsets[joint] for joint in kept),
            whole.up,
            whole.feet,
        )
    layouts = json.loads((Path(__file__).parent / "layouts.json").read_text())
    if name not in layouts:
        raise DataError(f"layout={name}: one of {', '.join((*layouts, 'smplh'))}.")
    joints = layouts[name]["joints"]
    names = [joint[0] for joint in joints]
    return Skeleton(
        tuple(names),
        tuple(-1 if parent is None else names.index(parent) for _, parent, *_ in joints),
        tuple(joint[2:] for joint in joints),
        layouts[name]["up"],
        tuple(layouts[name]["feet"]),
    )
