"""What the module reads of its data: any batch with these parts will do."""

from typing import NamedTuple, Protocol

from torch import Tensor


class ObservationLike(Protocol):
    """What a module reads of an observation."""

    @property
    def image(self) -> Tensor:
        """Cells (B, W, H, 3) uint8: object, colour and state ids."""

    @property
    def direction(self) -> Tensor:
        """Heading (B,) int64."""

    @property
    def mission(self) -> Tensor:
        """Word ids (B, N) int64, 0 pads."""


class Batch(Protocol):
    """What the module reads of a batch."""

    @property
    def observation(self) -> ObservationLike:
        """The observations, B rows."""

    @property
    def plan(self) -> Tensor:
        """Actions, then END to the horizon: (B, L) int64."""

    @property
    def floor(self) -> Tensor:
        """Exact -log p of the plan under the expert, nats (B,); NaN where unknown."""

    @property
    def item(self) -> Tensor:
        """Position of each row in its split (B,) int64."""


class Observation(NamedTuple):
    """One observation as tensors, for ``plan``."""

    image: Tensor
    direction: Tensor
    mission: Tensor
