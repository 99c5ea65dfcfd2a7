"""Inverse kinematics of limbs: two bones between a fixed and a wanted point, by the law of cosines."""

from torch import Tensor


def middle_joint(upper: Tensor | float, lower: Tensor | float, along: Tensor, length: Tensor, aside: Tensor) -> Tensor:
    """Where the knee is from the hip (..., 3) m, for an ankle at ``length * along``.

    Args:
        upper: length of the first bone (..., 1) m.
        lower: of the second.
        along: direction from hip to ankle (..., 3), a unit vector.
        length: distance from hip to ankle (..., 1) m; where the bones do not reach so far, the limb is straight.
        aside: direction (..., 3) to which the knee points, a unit vector at a right angle to ``along``.
    """
    cosine = ((upper**2 + length**2 - lower**2) / (2 * upper * length)).clamp(-1, 1)
    return upper * (cosine * along + (1 - cosine**2).clamp_min(0).sqrt() * aside)
