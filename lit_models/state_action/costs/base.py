"""Base of the guidance costs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..layout import StateLayout

Values = float | Sequence[Any] | Tensor
"""A number, nested lists of numbers, or a tensor."""


@dataclass(frozen=True, eq=False)
class Cost(ABC):
    """A cost of plans, a field of numbers at a time.

    Attributes:
        layout: of the columns.
        history: steps N before the current one.
        weight: factor; a tensor (B,) weighs each sample.
    """

    layout: StateLayout
    history: int
    weight: Values = field(default=1.0, kw_only=True)

    def __call__(self, states: Tensor, actions: Tensor) -> Tensor:
        """The weighted cost.

        Args:
            states: physical (B, W, S).
            actions: physical (B, W, A).

        Returns:
            (B,).
        """
        future = self.of_future(states[:, self.history + 1 :], actions[:, self.history :])
        return torch.as_tensor(self.weight).to(future) * future

    @abstractmethod
    def of_future(self, states: Tensor, actions: Tensor) -> Tensor:
        """The cost without its weight: states (B, H, S) after the current step, actions (B, H + 1, A) from it on."""

    def per_sample(self, name: str, like: Tensor, dims: int) -> Tensor:
        """A field as (B or 1, ...), where its last ``dims`` axes are its own."""
        value = torch.as_tensor(getattr(self, name)).to(like)
        return value if value.dim() > dims else value[None]

    def per_step(self, name: str, like: Tensor, dims: int) -> Tensor:
        """A field as (B or 1, H or 1, ...), where its last ``dims`` axes are its own."""
        value = self.per_sample(name, like, dims)
        return value if value.dim() > dims + 1 else value[:, None]

    def require(self, name: str, *sizes: int) -> None:
        """Refuse a field whose last axis has none of these sizes."""
        shape = tuple(torch.as_tensor(getattr(self, name)).shape)
        if not shape or shape[-1] not in sizes:
            wanted = " or ".join(map(str, sizes))
            raise ArgumentError(f"{name} has shape {shape}; {wanted} numbers are needed along its last axis.")
