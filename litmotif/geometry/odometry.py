"""Odometry: where a body gets to over the ground by its turns and steps, and what it sees from there; y up."""

import torch
from torch import Tensor

from .rotations import turned


def travelled(turns: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Turns and steps added up along the frames.

    Args:
        turns: about y from the frame before to this one (..., T) rad.
        steps: from the frame before to this one (..., T, 2) m, (x, z), seen from the heading of this frame.

    Returns:
        Heading (..., T) rad and place (..., T, 2) m, (x, z).
    """
    angle = turns.cumsum(dim=-1)
    return angle, about_y(steps, angle).cumsum(dim=-2)


def placed(points: Tensor, angle: Tensor, ground: Tensor) -> Tensor:
    """Points (..., T, N, 3) m turned about y by a heading (..., T) and moved to a place on the ground (..., T, 2)."""
    plane = about_y(points[..., [0, 2]], angle[..., None]) + ground[..., None, :]  # (..., T, N, 2)
    return torch.stack((plane[..., 0], points[..., 1], plane[..., 1]), dim=-1)


def about_y(xz: Tensor, angle: Tensor) -> Tensor:
    """Vectors (..., 2) over the ground, (x, z), turned to the left about y by ``angle`` (...) rad."""
    return turned(xz, -angle)


def humanml3d_positions(features: Tensor, joints: int = 22) -> Tensor:
    """Positions (..., T, J, 3) m of HumanML3D's 12 J - 1 columns (Guo et al., CVPR 2022, section 5), y up.

    Columns: half the turn to the next frame about y, rad; the root's step to it over the ground, (x, z) in the frame
    that faces forward; its height; the other joints in that frame, above the root's place on the ground. The first
    frame stands at x = z = 0 and faces +z.
    """
    before = torch.cat((torch.zeros_like(features[..., :1, :3]), features[..., :-1, :3]), dim=-2)
    angle, ground = travelled(-2 * before[..., 0], before[..., 1:])
    root = torch.stack((ground[..., 0], features[..., 3], ground[..., 1]), dim=-1)  # (..., T, 3)
    others = features[..., 4 : 1 + 3 * joints].reshape(*features.shape[:-1], joints - 1, 3)
    return torch.cat((root[..., None, :], placed(others, angle, ground)), dim=-2)
