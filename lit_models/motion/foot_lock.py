"""Feet that stand stay where they stand: the root follows them, then inverse kinematics bends the legs.

A few millimetres of error in hip and knee move a foot that should be still, and a root that is a little too fast drags
it along. The model says itself when a foot stands (columns ``contacts`` of the features). The root is slowed down or
sped up by what the feet slide; what is left is the legs' part: a foot is held at its mean place over the time for which
it stands. Before and after, what that changes fades away.
"""

from typing import NamedTuple

import roma
import torch
from torch import Tensor

from litmotif.errors import ArgumentError
from litmotif.geometry.limbs import middle_joint
from litmotif.geometry.rotations import between

from .skeleton import MotionLayout

STRAIGHT = 1e-3
"""Slack, m: a leg stays so much shorter than thigh and shank together."""
RARE = 1e-3
"""Feet that stand near a step, in feet, below which they have no say about it."""


class Leg(NamedTuple):
    """Joints of a leg, and the column of ``contacts`` that says whether its end stands."""

    hip: int
    knee: int
    ankle: int
    end: int
    contact: int


def legs_of(layout: MotionLayout) -> list[Leg]:
    """A leg for each foot that no other foot hangs on: it ends in the toe where there is one, else in the ankle.

    Raises:
        ValueError: a foot that is not at the end of thigh and shank.
    """
    parents, found = layout.parents, []
    for contact, end in enumerate(layout.feet):
        if any(parents[foot] == end for foot in layout.feet):
            continue
        ankle = parents[end] if parents[end] in layout.feet else end
        knee = parents[ankle]
        hip = parents[knee] if knee > 0 else -1
        if hip < 1:
            raise ArgumentError(
                f"foot_lock: {layout.names[end]!r} is at the end of no thigh and shank. Set it to false."
            )
        found.append(Leg(hip, knee, ankle, end, contact))
    return found


def lock_feet(layout: MotionLayout, motion: Tensor, valid: Tensor, fade: int = 4, width: float = 2.0) -> Tensor:
    """Hold each foot where it stands.

    Args:
        layout: of the columns, with contacts.
        motion: physical (B, T, F).
        valid: frames that exist (B, T) bool, a prefix.
        fade: frames before and after a contact over which the change of a leg fades.
        width: frames, the standard deviation over which the change of the root's velocity is smoothed.

    Returns:
        (B, T, F): where features tell the root's velocity, the root moves as the feet allow; rotations of hips, knees
        and ankles are others where a foot stands or is about to.

    Raises:
        ValueError: features without contacts or rotations, or a foot without a leg.
    """
    if not layout.contacts:
        raise ArgumentError(f"foot_lock: features of kind {layout.kind!r} without contacts. Set data.contacts=true.")
    if layout.kind == "rot6d_velocity" and motion.shape[1] > 1:
        motion = layout.with_faster_root(motion, -sliding(layout, motion, valid, width))
    return _bent_legs(layout, motion, valid, fade)


def sliding(layout: MotionLayout, motion: Tensor, valid: Tensor, width: float) -> Tensor:
    """How fast the feet that stand slide on average (B, T - 1, 2), m/s over the ground, from each frame to the next.

    Args:
        layout: of the columns, with contacts.
        motion: physical (B, T, F).
        valid: frames that exist (B, T) bool, a prefix.
        width: frames, the standard deviation of a Gaussian over the steps at which feet stand; it bridges the others.
    """
    legs = legs_of(layout)
    stands = _stands(layout, motion, valid)[..., [leg.contact for leg in legs]]  # (B, T, legs)
    both = (stands[:, 1:] & stands[:, :-1]).double()  # (B, T - 1, legs)
    feet = layout.positions(torch.where(valid[..., None], motion.double(), 0.0))[..., [leg.end for leg in legs], :]
    ground = [axis for axis in range(3) if axis != layout.up]
    slid = (feet[..., ground].diff(dim=1) * both[..., None]).sum(dim=2)  # (B, T - 1, 2)
    step = torch.arange(slid.shape[1], device=motion.device).double()
    near = torch.exp(-((step[:, None] - step) / width).square() / 2)  # (T - 1, T - 1)
    return layout.fps * (near @ slid) / (near @ both.sum(dim=2, keepdim=True) + RARE)


def _bent_legs(layout: MotionLayout, motion: Tensor, valid: Tensor, fade: int) -> Tensor:
    """The motion (B, T, F) with the legs bent so that feet that stand stay where they are on average."""
    pose = layout(torch.where(valid[..., None], motion.double(), 0.0))
    assert pose.rotations is not None  # noqa: S101 (features with contacts have rotations)
    stands = _stands(layout, motion, valid)
    _, world = layout.tree(pose.positions[..., 0, :], pose.rotations, layout.offsets)
    local = pose.rotations.clone()  # (B, T, J, 3, 3)
    changed = torch.zeros(*valid.shape, layout.joints, dtype=torch.bool, device=motion.device)
    for leg in legs_of(layout):
        shift = held(pose.positions[..., leg.end, :], stands[..., leg.contact], fade)  # (B, T, 3)
        above, hip, knee, ankle = (world[..., joint, :, :] for joint in (layout.parents[leg.hip], *leg[:3]))
        first, second, third = (pose.positions[..., joint, :] for joint in leg[:3])
        thigh, shank = bent(first, second, third, shift)
        hip, knee = thigh @ hip, shank @ knee
        moves = (shift != 0).any(dim=-1) & valid
        for joint, upper, lower in zip(leg[:3], (above, hip, knee), (hip, knee, ankle), strict=True):
            local[..., joint, :, :] = upper.transpose(-1, -2) @ lower
            changed[..., joint] = moves
    return layout.with_rotations(motion, local, changed)


def _stands(layout: MotionLayout, motion: Tensor, valid: Tensor) -> Tensor:
    """Which feet the model says to stand, bool (B, T, feet)."""
    return (motion[..., layout.contact_columns] > 0.5) & valid[..., None]


def held(place: Tensor, stands: Tensor, fade: int) -> Tensor:
    """How far a foot is from where it shall be (B, T, 3): 0 far from every contact.

    Args:
        place: of the foot (B, T, 3).
        stands: whether it shall stay (B, T) bool; each run of frames has its own mean place.
        fade: frames until nothing is left of the shift at the edge of a run.
    """
    batch, frames = stands.shape
    begins = stands & ~torch.nn.functional.pad(stands, (1, 0))[:, :-1]
    run = begins.cumsum(dim=1) + torch.arange(batch, device=place.device)[:, None] * (frames + 1)  # (B, T)
    mean = place.new_zeros(batch * (frames + 1), 4)  # sums over each run, and how many
    counted = torch.cat([place, torch.ones_like(place[..., :1])], dim=-1)
    mean.index_add_(0, run[stands], counted[stands])
    mean = mean[run]
    shift = torch.where(stands[..., None], mean[..., :3] / mean[..., 3:].clamp(min=1) - place, 0.0)
    step = torch.arange(frames, device=place.device).expand(batch, frames)
    last = torch.where(stands, step, -1).cummax(dim=1).values  # the nearest contact before, and after
    after = torch.where(stands, step, frames).flip(1).cummin(dim=1).values.flip(1)
    left = _fading(torch.where(last < 0, frames, step - last), fade)
    coming = _fading(torch.where(after == frames, frames, after - step), fade)
    total = (left + coming).clamp(min=1)
    old, new = (shift.gather(1, at.clamp(0, frames - 1)[..., None].expand_as(shift)) for at in (last, after))
    blend = (left / total)[..., None] * old + (coming / total)[..., None] * new
    return torch.where(stands[..., None], shift, blend)


def bent(hip: Tensor, knee: Tensor, ankle: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Turns of thigh and shank (..., 3, 3) in the world that move the ankle by ``shift``, the knee in its plane.

    Where the leg is too short for that, the ankle goes as far as it reaches. All arguments are (..., 3), m.
    """
    thigh, shank = knee - hip, ankle - knee
    upper, lower = (torch.linalg.vector_norm(bone, dim=-1, keepdim=True) for bone in (thigh, shank))
    reach = ankle + shift - hip
    along = torch.nn.functional.normalize(reach, dim=-1)
    longest = upper + lower - STRAIGHT
    longest = torch.maximum(longest, torch.linalg.vector_norm(ankle - hip, dim=-1, keepdim=True))  # as it was
    length = torch.linalg.vector_norm(reach, dim=-1, keepdim=True)
    length = torch.minimum(torch.maximum(length, (upper - lower).abs() + STRAIGHT), longest)
    aside = torch.nn.functional.normalize(thigh - (thigh * along).sum(dim=-1, keepdim=True) * along, dim=-1)
    knee_to = middle_joint(upper, lower, along, length, aside)
    turns = between(thigh, knee_to), between(shank, length * along - knee_to)
    return roma.unitquat_to_rotmat(turns[0]), roma.unitquat_to_rotmat(turns[1])


def _fading(steps: Tensor, fade: int) -> Tensor:
    """From 1 at 0 steps to 0 after ``fade`` of them, without a jump of velocity at either end."""
    share = (1 - steps.double() / (fade + 1)).clamp(min=0)
    return share * share * (3 - 2 * share)
