"""Skeleton features: from physical columns to joints in the world, differentiable."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from litmotif.errors import ArgumentError, MissingExtraError

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
    inner: Tensor
    above: Tensor
    by_depth: Tensor
    by_number: Tensor
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
        levels = _by_depth(self.parents)
        flat = [joint for level in levels for joint in level]
        inner = [joint for joint in flat if joint in self.parents]  # a leaf's rotation moves nothing
        self.widths = [len(level) for level in levels]
        self.inner_widths = [sum(joint in self.parents for joint in level) for level in levels]
        above = [0, *(levels[d - 1].index(self.parents[j]) for d in range(1, len(levels)) for j in levels[d])]
        self._index("inner", inner)
        self._index("above", above)  # place of the parent in its level
        self._index("by_depth", flat)
        self._index("by_number", [flat.index(joint) for joint in range(len(flat))])
        self._index("bone", list(range(1, len(flat))))
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
            return Pose(_humanml3d(motion, self.joints), None)
        rotations = self._rotations(self._columns(motion))
        positions = self.forward_kinematics(rotations, self._root(motion))
        if self.kind != "rot6d_velocity":
            return Pose(positions, rotations)
        angle, ground = self._travelled(motion)
        first = torch.stack([_about_y(column, angle) for column in rotations[..., 0, [0, 2], :].unbind(-1)], dim=-1)
        first = torch.stack([first[..., 0, :], rotations[..., 0, 1, :], first[..., 1, :]], dim=-2)  # (..., 3, 3)
        rotations = torch.cat([first[..., None, :, :], rotations[..., 1:, :, :]], dim=-3)
        return Pose(_travel(positions, angle, ground), rotations)

    def positions(self, motion: Tensor) -> Tensor:
        """What ``forward`` gives of them, without the rotations that nothing hangs on."""
        if not self.has_rotations:
            return self(motion).positions  # type: ignore[no-any-return]
        self._require(motion)
        rotations = self._rotations(self._columns(motion).index_select(-2, self.inner))
        positions = self._place(rotations, self._root(motion))
        return _travel(positions, *self._travelled(motion)) if self.kind == "rot6d_velocity" else positions

    def forward_kinematics(self, rotations: Tensor, root: Tensor) -> Tensor:
        """Where joints are: all of one depth of the tree at once.

        Args:
            rotations: local (..., J, 3, 3).
            root: position of the root (..., 3) m.

        Returns:
            (..., J, 3) m in the world.
        """
        return self._place(rotations.index_select(-3, self.inner), root)

    def _place(self, rotations: Tensor, root: Tensor) -> Tensor:
        """The same of the rotations of joints with children alone (..., I, 3, 3), by depth."""
        offsets = self.offsets.to(rotations.dtype)[self.by_depth, :, None]  # (J, 3, 1)
        turned, placed = rotations.new_zeros(()), root[..., None, :]
        found = [placed]
        with torch.autocast(rotations.device.type, enabled=False):
            levels = zip(
                torch.split(rotations, self.inner_widths, dim=-3),
                torch.split(offsets, self.widths),
                torch.split(self.above, self.widths),
                strict=True,
            )
            for depth, (local, offset, above) in enumerate(levels):
                if depth:
                    turned = turned.index_select(-3, above)  # (..., L, 3, 3), of the parents
                    placed = placed.index_select(-2, above) + (turned @ offset).squeeze(-1)  # (..., L, 3)
                    found.append(placed)
                turned = turned[..., : local.shape[-3], :, :] @ local if depth else local
            return torch.cat(found, dim=-2).index_select(-2, self.by_number)

    def _root(self, motion: Tensor) -> Tensor:
        """Where it is (..., 3); above its place on the ground where the columns tell its velocity."""
        if self.kind == "rot6d_velocity":
            return nn.functional.pad(motion[..., -1:], (1, 1))
        return motion[..., -3:] if self.root else torch.zeros_like(motion[..., -3:])

    def _travelled(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Heading (..., T) rad and place on the ground (..., T, 2) m: the steps added up from the first frame on."""
        steps = motion[..., -4:-1] / self.fps
        steps = torch.cat([torch.zeros_like(steps[..., :1, :]), steps[..., 1:, :]], dim=-2)
        angle = steps[..., 0].cumsum(dim=-1)
        return angle, _about_y(steps[..., 1:], angle).cumsum(dim=-2)

    def _columns(self, motion: Tensor) -> Tensor:
        """Those of rotations (..., J, 3 or 6)."""
        width = ROTATIONS[self.kind]
        return motion[..., : self.joints * width].reshape(*motion.shape[:-1], self.joints, width)

    def _rotations(self, columns: Tensor) -> Tensor:
        """Matrices (..., 3, 3) of columns (..., 3 or 6)."""
        try:
            import roma
        except ImportError as missing:
            raise MissingExtraError(
                f"features of kind {self.kind!r} need roma: pip install 'litmotif[motion]'."
            ) from missing
        if self.kind == "axis_angle":
            matrices: Tensor = roma.unitquat_to_rotmat(roma.rotvec_to_unitquat(columns))  # faster, and smooth at 0
        else:
            pair = columns.reshape(*columns.shape[:-1], 2, 3).transpose(-1, -2)  # (..., 3, 2)
            matrices = roma.special_gramschmidt(pair, epsilon=1e-6)
        return matrices

    def with_rotations(self, motion: Tensor, rotations: Tensor, changed: Tensor) -> Tensor:
        """The motion (..., T, F) with other local rotations (..., T, J, 3, 3) of joints that ``changed`` (..., T, J).

        The root, whose columns may tell it from its heading, keeps its own.
        """
        if self.kind == "axis_angle":
            import roma

            told = roma.rotmat_to_rotvec(rotations)
        else:
            told = rotations[..., :2].transpose(-1, -2).flatten(-2)
        columns = torch.where(changed[..., None], told.to(motion.dtype), self._columns(motion))
        columns = torch.cat([self._columns(motion)[..., :1, :], columns[..., 1:, :]], dim=-2).flatten(-2)
        return torch.cat([columns, motion[..., columns.shape[-1] :]], dim=-1)

    def with_faster_root(self, motion: Tensor, velocity: Tensor) -> Tensor:
        """The motion (..., T, F) whose root moves over the ground faster by ``velocity`` (..., T - 1, 2), m/s.

        Velocities are those of the world, (x, z), from each frame to the next; features tell the root's own.
        """
        columns = motion[..., self.root_columns].clone()
        angle, _ = self._travelled(motion)
        seen = _about_y(velocity, -angle[..., 1:])  # from the heading
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
        for key in ("parents", "offsets"):
            if len(skeleton[key]) != joints:
                raise ArgumentError(f"skeleton.{key} has {len(skeleton[key])} entries for {joints} names.")
        for joint, parent in enumerate(self.parents):
            if not (parent == -1 if joint == 0 else 0 <= parent < joint):
                raise ArgumentError(
                    f"skeleton.parents[{joint}]={parent} ({self.names[joint]!r}): the root comes first with -1, every "
                    "other joint after its parent."
                )
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


def _by_depth(parents: list[int]) -> list[list[int]]:
    """Joints of each depth of the tree, those with children first."""
    depth = [0] * len(parents)
    for joint, parent in enumerate(parents[1:], start=1):
        depth[joint] = depth[parent] + 1
    order = sorted(range(len(parents)), key=lambda joint: joint not in parents)
    return [[joint for joint in order if depth[joint] == level] for level in range(max(depth) + 1)]


def _humanml3d(motion: Tensor, joints: int) -> Tensor:
    """Positions (..., T, J, 3) of the 263 columns (J = 22): turns and steps of the root add up along the frames.

    Columns: half the turn to the next frame about y, rad; the root's step to it over the ground, (x, z) in the frame
    that faces forward; its height; the other joints in that frame, above the root's place on the ground.
    """
    turned, step = motion[..., 0], motion[..., 1:3]
    before = torch.cat([torch.zeros_like(turned[..., :1]), turned[..., :-1]], dim=-1)
    angle = -2 * before.cumsum(dim=-1)  # (..., T)
    steps = torch.cat([torch.zeros_like(step[..., :1, :]), step[..., :-1, :]], dim=-2)
    ground = _about_y(steps, angle).cumsum(dim=-2)  # (..., T, 2)
    root = torch.stack([ground[..., 0], motion[..., 3], ground[..., 1]], dim=-1)  # (..., T, 3)
    local = motion[..., 4 : 1 + 3 * joints].reshape(*motion.shape[:-1], joints - 1, 3)  # (..., T, J - 1, 3)
    plane = _about_y(local[..., [0, 2]], angle[..., None]) + ground[..., None, :]  # (..., T, J - 1, 2)
    others = torch.stack([plane[..., 0], local[..., 1], plane[..., 1]], dim=-1)
    return torch.cat([root[..., None, :], others], dim=-2)


def _travel(positions: Tensor, angle: Tensor, ground: Tensor) -> Tensor:
    """Positions (..., T, J, 3) turned about y by a heading (..., T) and moved to a place on the ground (..., T, 2)."""
    plane = _about_y(positions[..., [0, 2]], angle[..., None]) + ground[..., None, :]  # (..., T, J, 2)
    return torch.stack([plane[..., 0], positions[..., 1], plane[..., 1]], dim=-1)


def _about_y(xz: Tensor, angle: Tensor) -> Tensor:
    """Turn vectors (..., 2) over the ground by angles (...), rad, about the y axis."""
    cos, sin = angle.cos(), angle.sin()
    x, z = xz.unbind(-1)
    return torch.stack([cos * x + sin * z, cos * z - sin * x], dim=-1)
