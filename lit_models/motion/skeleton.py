"""Skeleton features: from physical columns to joints in the world, differentiable."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import roma
import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError
from litmotif.geometry.kinematics import Tree, check_tree
from litmotif.geometry.odometry import about_y, humanml3d_positions, placed, travelled
from litmotif.geometry.rotations import from_six, to_six

KINDS = ("positions", "axis_angle", "rot6d", "rot6d_velocity", "humanml3d")
ROTATIONS = {"axis_angle": 3, "rot6d": 6, "rot6d_velocity": 6}
"""Kinds that hold rotations, and their columns a joint."""


class Pose(NamedTuple):
    """Joints over time.

    Attributes:
        positions: (..., T, J, 3) m, in the world.
        rotations: (..., T, J, 3, 3), from each joint's frame to its parent's; None where features hold none.
    """

    positions: Tensor
    rotations: Tensor | None


class MotionLayout(nn.Module):
    """Decodes the features of a motion on one skeleton; its only state are index buffers, which no checkpoint keeps.

    Kinds of features, F columns: ``positions``, J * 3, m in the world; ``axis_angle``, J * 3 rotation vectors, rad;
    ``rot6d``, J * 6, the first two columns of each rotation matrix (Zhou et al., arXiv:1812.07035, section 4.2); with
    ``root`` the last two kinds end with the root's position, and without it the root stays at the origin;
    ``rot6d_velocity``, J * 6 + 4, the root's rotation seen from its heading, then from the frame before to this one the
    turn of the heading, rad/s, and the root's velocity to the left and ahead, m/s, then its height, m;
    ``humanml3d``, 12 J - 1 (Guo et al., CVPR 2022, section 5), of which the positions are read: its rotations belong to
    another skeleton and to another order of composition. Behind rotations, ``contacts`` columns may say how surely each
    foot stands, 0 to 1.

    Args:
        skeleton: ``names``, ``parents`` (-1 for the root, which comes first), ``offsets`` in m, ``up``, ``feet``.
        features: ``kind``, ``joints``, ``root``, ``size``, ``fps``, maybe ``contacts``.

    Raises:
        ValueError: an unknown kind or joint, no tree, or sizes that contradict each other; names the key.
    """

    offsets: Tensor
    bone: Tensor
    bone_parent: Tensor

    def __init__(self, skeleton: Mapping[str, Any], features: Mapping[str, Any]) -> None:
        super().__init__()
        self.names: list[str] = list(skeleton["names"])
        self.parents: list[int] = list(skeleton["parents"])
        self.kind: str = features["kind"]
        self.root = bool(features.get("root", False))
        self.size: int = features["size"]
        self.fps = float(features["fps"])
        self.contacts: int = features.get("contacts", 0)
        self._check(skeleton, features)
        self.up: int = "xyz".index(skeleton["up"])
        self.feet = self.joints_of(skeleton.get("feet", ()))
        self.tree = Tree(self.parents)
        self._index("bone", list(range(1, self.joints)))
        self._index("bone_parent", self.parents[1:])
        self.register_buffer("offsets", torch.tensor(skeleton["offsets"], dtype=torch.float64), persistent=False)

    @property
    def joints(self) -> int:
        """J."""
        return len(self.names)

    @property
    def has_rotations(self) -> bool:
        """Whether the features hold rotations, so that bones keep their lengths whatever is predicted."""
        return self.kind in ROTATIONS

    @property
    def root_columns(self) -> slice:
        """Those that tell where the root goes, which way it turns with them where they are velocities; maybe none."""
        widths = {"positions": slice(0, 3), "humanml3d": slice(0, 4), "rot6d_velocity": slice(-4, None)}
        return widths.get(self.kind, slice(-3, None) if self.root else slice(0, 0))

    @property
    def contact_columns(self) -> slice:
        """Those that tell whether each of ``feet`` stands; maybe none."""
        start = self.joints * ROTATIONS.get(self.kind, 0)
        return slice(start, start + self.contacts)

    def without_contacts(self, motion: Tensor) -> Tensor:
        """The other columns of a motion (..., F)."""
        contacts = self.contact_columns
        return torch.cat([motion[..., : contacts.start], motion[..., contacts.stop :]], dim=-1)

    @property
    def bone_lengths(self) -> Tensor:
        """Of the skeleton at rest (J - 1,) m, float64."""
        lengths: Tensor = torch.linalg.vector_norm(self.offsets[1:], dim=-1)
        return lengths

    def joints_of(self, names: Sequence[str]) -> list[int]:
        """Numbers of joints.

        Raises:
            ValueError: a name that the skeleton lacks.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ArgumentError(
                f"joints {', '.join(unknown)} are not in the skeleton, which has {', '.join(self.names)}."
            )
        return [self.names.index(name) for name in names]

    def forward(self, motion: Tensor) -> Pose:
        """Decode.

        Args:
            motion: physical (..., T, F).

        Returns:
            Positions (..., T, J, 3) m and rotations (..., T, J, 3, 3).

        Raises:
            ValueError: another number of columns.
        """
        self._require(motion)
        if self.kind == "positions":
            return Pose(motion.reshape(*motion.shape[:-1], self.joints, 3), None)
        if self.kind == "humanml3d":
            return Pose(humanml3d_positions(motion, self.joints), None)
        rotations = self._rotations(self._columns(motion))
        positions = self._place(rotations.index_select(-3, self.tree.inner), motion)
        if self.kind != "rot6d_velocity":
            return Pose(positions, rotations)
        angle, ground = self._travelled(motion)
        columns = rotations[..., 0, :, :].mT  # (..., T, 3, 3): the axes of the root turn with it
        first = placed(columns, angle, torch.zeros_like(ground)).mT
        rotations = torch.cat([first[..., None, :, :], rotations[..., 1:, :, :]], dim=-3)
        return Pose(placed(positions, angle, ground), rotations)

    def positions(self, motion: Tensor) -> Tensor:
        """What ``forward`` gives of them, without the rotations that nothing hangs on."""
        if not self.has_rotations:
            return self(motion).positions  # type: ignore[no-any-return]
        self._require(motion)
        rotations = self._rotations(self._columns(motion).index_select(-2, self.tree.inner))
        positions = self._place(rotations, motion)
        return placed(positions, *self._travelled(motion)) if self.kind == "rot6d_velocity" else positions

    def _place(self, rotations: Tensor, motion: Tensor) -> Tensor:
        """Joints (..., J, 3) m of the local rotations of those with children (..., I, 3, 3), about a motion's root."""
        return self.tree.positions(self._root(motion), rotations, self.offsets.to(rotations.dtype))

    def _root(self, motion: Tensor) -> Tensor:
        """Where it is (..., 3); above its place on the ground where the columns tell its velocity."""
        if self.kind == "rot6d_velocity":
            return nn.functional.pad(motion[..., -1:], (1, 1))
        return motion[..., -3:] if self.root else torch.zeros_like(motion[..., -3:])

    def _travelled(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Heading (..., T) rad and place on the ground (..., T, 2) m: the steps added up from the first frame on."""
        steps = motion[..., -4:-1] / self.fps
        steps = torch.cat([torch.zeros_like(steps[..., :1, :]), steps[..., 1:, :]], dim=-2)
        return travelled(steps[..., 0], steps[..., 1:])

    def _columns(self, motion: Tensor) -> Tensor:
        """Those of rotations (..., J, 3 or 6)."""
        width = ROTATIONS[self.kind]
        return motion[..., : self.joints * width].reshape(*motion.shape[:-1], self.joints, width)

    def _rotations(self, columns: Tensor) -> Tensor:
        """Matrices (..., 3, 3) of columns (..., 3 or 6)."""
        if self.kind == "axis_angle":
            return roma.unitquat_to_rotmat(roma.rotvec_to_unitquat(columns))  # type: ignore[no-any-return]  # fast
        return from_six(columns)

    def with_rotations(self, motion: Tensor, rotations: Tensor, changed: Tensor) -> Tensor:
        """The motion (..., T, F) with other local rotations (..., T, J, 3, 3) of joints that ``changed`` (..., T, J).

        The root, whose columns may tell it from its heading, keeps its own.
        """
        told = roma.rotmat_to_rotvec(rotations) if self.kind == "axis_angle" else to_six(rotations)
        columns = torch.where(changed[..., None], told.to(motion.dtype), self._columns(motion))
        columns = torch.cat([self._columns(motion)[..., :1, :], columns[..., 1:, :]], dim=-2).flatten(-2)
        return torch.cat([columns, motion[..., columns.shape[-1] :]], dim=-1)

    def with_faster_root(self, motion: Tensor, velocity: Tensor) -> Tensor:
        """The motion (..., T, F) whose root moves over the ground faster by ``velocity`` (..., T - 1, 2), m/s.

        Velocities are those of the world, (x, z), from each frame to the next; features tell the root's own.
        """
        columns = motion[..., self.root_columns].clone()
        angle, _ = self._travelled(motion)
        seen = about_y(velocity, -angle[..., 1:])  # from the heading
        columns[..., 1:3] += torch.cat([seen[..., :1, :], seen], dim=-2).to(motion.dtype)  # the first is as the second
        return torch.cat([motion[..., : -columns.shape[-1]], columns], dim=-1)

    def bones(self, positions: Tensor) -> Tensor:
        """Vectors from parents to their children (..., J - 1, 3) of positions (..., J, 3)."""
        return positions.index_select(-2, self.bone) - positions.index_select(-2, self.bone_parent)

    def _require(self, motion: Tensor) -> None:
        if motion.shape[-1] != self.size:
            raise ArgumentError(
                f"motion has {motion.shape[-1]} columns; features of kind {self.kind!r} have {self.size}."
            )

    def _index(self, name: str, joints: list[int]) -> None:
        self.register_buffer(name, torch.tensor(joints, dtype=torch.long), persistent=False)

    def _check(self, skeleton: Mapping[str, Any], features: Mapping[str, Any]) -> None:
        joints = len(self.names)
        check_tree(self.names, self.parents)
        if len(skeleton["offsets"]) != joints:
            raise ArgumentError(f"skeleton.offsets has {len(skeleton['offsets'])} entries for {joints} names.")
        if skeleton["up"] not in ("y", "z"):
            raise ArgumentError(f"skeleton.up={skeleton['up']!r}: choose 'y' or 'z'.")
        if self.kind not in KINDS:
            raise ArgumentError(f"features.kind={self.kind!r}: choose one of {', '.join(KINDS)}.")
        size = 12 * joints - 1 if self.kind == "humanml3d" else joints * ROTATIONS.get(self.kind, 3)
        if self.kind == "rot6d_velocity":
            size += 4
            if skeleton["up"] != "y":
                raise ArgumentError("features.kind='rot6d_velocity' turns about y: skeleton.up has to be 'y'.")
        elif self.root and self.has_rotations:
            size += 3
        if self.contacts not in (0, len(skeleton.get("feet", ())) if self.has_rotations else 0):
            raise ArgumentError(f"features.contacts={self.contacts}: one for each of skeleton.feet, behind rotations.")
        size += self.contacts
        if features["joints"] != joints or self.size != size:
            raise ArgumentError(
                f"features.joints={features['joints']}, features.size={self.size}: kind {self.kind!r} with root "
                f"{self.root} on a skeleton of {joints} joints has {size} columns."
            )
