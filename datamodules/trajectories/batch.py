"""What Trajectories hands to a module."""

from typing import NamedTuple

from torch import Tensor


class Window(NamedTuple):
    """N past steps, the current step (index N) and H future ones, W = N + 1 + H; physical units.

    Attributes:
        states: (B, W, S) float32, columns as ``Trajectories.layout`` names them; what belongs to the root is in the
            character frame of the current step.
        actions: (B, W, A) float32; the one of index i is done at state i and leads to state i + 1.
        item: position of each row in its split (B,) int64.
    """

    states: Tensor
    actions: Tensor
    item: Tensor
