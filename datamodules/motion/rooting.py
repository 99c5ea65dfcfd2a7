"""Root of a skeleton: the joint that carries the body, where a file puts it below a joint that stands still.

Motion builders hang the hips, which travel, on a ``Reference``, ``Armature`` or ``joint_Root`` at the origin, and
beside them perhaps a camera, or targets of hands and feet. Features of rotations hold the travel of the first joint
alone, so that the hips have to be that, and what they do not carry is left out.
"""

from collections.abc import Sequence
from dataclasses import replace

import roma
import torch
from torch import Tensor

from .clip import Clip
from .skeleton import Skeleton

_TRAVEL = 0.5  # of the reach of what a joint carries: further than any bone stretches
_LIMB = 3  # joints, of which a leg has at least so many
_STILL = 1e-4  # m: a joint that moves less in its parent is held by a bone


def trunk(parents: Sequence[int], local: Tensor, free: Sequence[bool]) -> int:
    """The joint that carries the body: the root, or one below it that moves in its parent and carries most joints.

    Where what hangs beside it is more than a camera, it also has to travel.

    Args:
        parents: of J joints.
        local: (T, J, 3) where they are in their parents, in any unit.
        free: whether each may move in its parent.
    """
    lengths, sizes, tips = _below(parents, local.median(dim=0).values.norm(dim=-1).tolist())
    found = here = 0
    while True:
        children = [joint for joint, parent in enumerate(parents) if parent == here]
        child = max(children, key=lambda joint: sizes[joint], default=here)
        if child == here or tips[child] < 2 or 2 * sizes[child] <= len(parents):
            return found
        alone = all(sizes[joint] < _LIMB for joint in children if joint != child)
        if free[child] and (alone or _travel(local[:, child]) > _TRAVEL * lengths[child]):
            found = child
        elif not alone:
            return found
        here = child


def _travel(places: Tensor) -> float:
    """The diagonal of the box around places (T, 3)."""
    return float((places.amax(dim=0) - places.amin(dim=0)).norm())


def _below(parents: Sequence[int], bones: Sequence[float]) -> tuple[list[float], list[int], list[int]]:
    """Of each joint: the longest way along bones to a tip, how many joints it carries, itself included, and tips."""
    lengths, sizes, tips = [0.0] * len(parents), [1] * len(parents), [0] * len(parents)
    for joint in range(len(parents) - 1, -1, -1):
        tips[joint] = tips[joint] or 1
        if (parent := parents[joint]) >= 0:
            lengths[parent] = max(lengths[parent], lengths[joint] + bones[joint])
            sizes[parent] += sizes[joint]
            tips[parent] += tips[joint]
    return lengths, sizes, tips


def reach(parents: Sequence[int], rest: Tensor, root: int) -> float:
    """The longest way along bones (J, 3) from where the body branches, at or below ``root``, to a tip."""
    lengths, *_ = _below(parents, rest.norm(dim=-1).tolist())
    return lengths[_hub(parents, root)]


def _hub(parents: Sequence[int], root: int) -> int:
    """The first joint with several children at or below ``root``; ``root`` where none has."""
    here = root
    while len(children := [joint for joint, parent in enumerate(parents) if parent == here]) == 1:
        here = children[0]
    return here if children else root


def carried(parents: Sequence[int], root: int) -> list[int]:
    """The joints at and below ``root``, in their order."""
    found = {root}
    for joint, parent in enumerate(parents):
        if parent in found:
            found.add(joint)
    return sorted(found)


def rerooted(skeleton: Skeleton, rotations: Tensor, positions: Tensor, root: int) -> tuple[Skeleton, Tensor, Tensor]:
    """The same motion of the joints at and below ``root``, which becomes the root; the others go.

    Args:
        skeleton: of J joints.
        rotations: (T, J, 4) local, x y z w.
        positions: (T, J, 3) m in the world.
        root: the new one.

    Returns:
        Skeleton, rotations and positions of the joints that stay.
    """
    kept = carried(skeleton.parents, root)
    names = tuple(skeleton.names[joint] for joint in kept)
    body = replace(
        skeleton,
        names=names,
        parents=(-1, *(kept.index(skeleton.parents[joint]) for joint in kept[1:])),
        offsets=((0.0, 0.0, 0.0), *(skeleton.offsets[joint] for joint in kept[1:])),
        feet=tuple(foot for foot in skeleton.feet if foot in names),
    )
    world = skeleton.orientations(rotations)[:, root]
    return body, torch.cat((world[:, None], rotations[:, kept[1:]]), dim=1), positions[:, kept]


def rooted(clip: Clip) -> Clip:
    """The clip with the joint that carries its body as the root; most clips are so already."""
    if clip.rotations is None or clip.stretch < _STILL:
        return clip
    parents, rotations = clip.skeleton.parents, clip.rotations.double()
    places = clip.positions.double()
    above = [max(parent, 0) for parent in parents]
    turns = roma.quat_conjugation(clip.skeleton.orientations(rotations))[:, above]
    local = roma.quat_action(turns, places - places[:, above])
    free = [_travel(local[:, joint]) > _STILL for joint in range(len(parents))]
    if not (root := trunk(parents, local, free)):
        return clip
    body, rotations, places = rerooted(clip.skeleton, rotations, places, root)
    feet = [clip.skeleton.feet.index(foot) for foot in body.feet]
    contacts = None if clip.contacts is None else clip.contacts[:, feet]
    return replace(clip, skeleton=body, rotations=rotations, positions=places, root_pos=places[:, 0], contacts=contacts)
