"""Symmetries of a grid world: turn or reflect what is seen, and the plan along with it.

A turn leaves a plan as it is, for its actions are the agent's own left and right; a reflection swaps them.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from litmotif.batches.plans import Observation

Symmetry = Literal["none", "mirror", "all"]
"""``mirror``: reflect every second time. ``all``: also turn a full view by quarters."""

AGENT = 10
LEFT, RIGHT = 0, 1


def swapped_words(words: Sequence[str]) -> list[int]:
    """Word ids after a reflection: ``left`` and ``right`` change places where both are known."""
    ids = list(range(len(words) + 1))
    if "left" in words and "right" in words:
        left, right = words.index("left") + 1, words.index("right") + 1
        ids[left], ids[right] = right, left
    return ids


def reflect(
    seen: Observation, plan: Tensor, variant: Tensor, symmetry: Symmetry, swapped: Tensor
) -> tuple[Observation, Tensor]:
    """Apply to each row the symmetry that its variant names.

    Args:
        seen: observations, B rows; a square view shows its world reflected about the main diagonal (which keeps the
            corners' goal in place), others upside down; a partial view, in which the agent looks up, left to right.
        plan: (B, L) actions.
        variant: (B,) numbers; bit 0 reflects, bits 1 and 2 are the quarter turns of ``all``.
        symmetry: ``mirror`` or ``all``.
        swapped: word ids after a reflection.
    """
    image, direction = seen.image.clone(), seen.direction.clone()
    full = bool((image[..., 0] == AGENT).flatten(1).any(dim=1).all())
    mirrored = variant % 2 == 1
    if full and image.shape[1] == image.shape[2]:
        image = torch.where(mirrored[:, None, None, None], image.transpose(1, 2), image)
        compass = torch.tensor([1, 0, 3, 2])
    else:
        image = torch.where(mirrored[:, None, None, None], image.flip(2 if full else 1), image)
        compass = torch.tensor([0, 3, 2, 1])
    direction = torch.where(mirrored, compass[direction], direction)
    if symmetry == "all" and full and image.shape[1] == image.shape[2]:
        quarters = variant // 2 % 4
        for turns in (1, 2, 3):
            rows = quarters == turns
            image[rows] = image[rows].rot90(turns, (1, 2))
        direction = (direction + quarters) % 4
    agent = image[..., 0] == AGENT
    image[..., 2] = torch.where(agent, direction[:, None, None].to(image.dtype), image[..., 2])
    turn = torch.where(plan == LEFT, RIGHT, torch.where(plan == RIGHT, LEFT, plan))
    mission = torch.where(mirrored[:, None], swapped[seen.mission], seen.mission)
    return Observation(image, direction, mission), torch.where(mirrored[:, None], turn, plan)
