"""Spaces of any environment as what a network reads and answers: vectors of numbers; shares of a range, or choices."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from ..core import DataError

Array = NDArray[Any]
BOUNDED = 1e30
"""Bounds beyond it are none: some environments write the largest number of their type."""


class Observations:
    """Observations as vectors: Dict, Tuple and choices flattened as Gymnasium does, uint8 images divided by 255.

    Args:
        space: of one observation.
        name: of the environment, for messages.

    Raises:
        DataError: observations of this space have no fixed size.
    """

    def __init__(self, space: "spaces.Space[Any]", name: str) -> None:
        if not space.is_np_flattenable or any(isinstance(leaf, spaces.Text) for leaf in _leaves(space)):
            raise DataError(
                f"Observations of {name} have no fixed size: {space}.",
                "Wrap the environment so that it shows Box, Discrete, MultiBinary, MultiDiscrete, or a Dict or Tuple "
                "of these.",
            )
        self.space, self.name, self.scale = space, name, _scale(space)
        self.size = len(self.scale)

    def __call__(self, observation: Any) -> NDArray[np.float32]:
        """(D,) float32.

        Raises:
            DataError: it is not of the space that the environment declares.
        """
        try:
            flat = np.asarray(spaces.flatten(self.space, observation), dtype=np.float32).ravel() * self.scale
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise DataError(f"{self.name} gave an observation that is not in its {self.space}: {error}") from error
        return flat

    @property
    def images(self) -> list[tuple[int, ...]]:
        """Shapes of the uint8 images in it."""
        return [leaf.shape or () for leaf in _leaves(self.space) if _image(leaf)]


@dataclass(frozen=True)
class Actions:
    """Actions as a policy gives them, and as the environment takes them.

    Attributes:
        space: of the environment's actions.
        kind: ``continuous`` or ``choices``.
        size: A numbers in [-1, 1], or a choice among A; a list where several choices are made at once.
        low: (A,) in the environment's units: the lowest number, or the first choice.
        high: (A,) the highest number, or the last choice.
    """

    space: "spaces.Space[Any]"
    kind: str
    size: int | list[int]
    low: Array
    high: Array

    @property
    def policy_space(self) -> "spaces.Space[Any]":
        """What a policy gives."""
        if self.kind == "continuous":
            return spaces.Box(-1.0, 1.0, self.low.shape, np.float32)
        return spaces.Discrete(self.size) if isinstance(self.size, int) else spaces.MultiDiscrete(self.size)

    @property
    def bounds(self) -> list[list[float]]:
        """``low`` and ``high`` as plain numbers."""
        return [self.low.tolist(), self.high.tolist()]

    def to_environment(self, action: Array) -> Any:
        """The action that the environment takes."""
        dtype, shape = self.space.dtype, self.space.shape or ()
        if self.kind == "choices":
            return (
                (np.asarray(action, dtype=np.int64).reshape(self.low.shape) + self.low).astype(dtype).reshape(shape)[()]
            )
        share = 0.5 * (np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0) + 1.0)
        exact = self.low + share * (self.high - self.low)
        whole = np.rint(exact) if np.issubdtype(np.dtype(dtype), np.integer) else exact
        return np.clip(whole, self.low, self.high).astype(dtype).reshape(shape)


def actions_of(space: "spaces.Space[Any]", name: str) -> Actions:
    """How actions of a space are learned.

    Args:
        space: of the environment's actions.
        name: of the environment, for messages.

    Raises:
        DataError: hybrid actions, unbounded ones, or a space of another kind.
    """
    if isinstance(space, spaces.Discrete):
        first = np.array([space.start], dtype=np.int64)
        return Actions(space, "choices", int(space.n), first, first + int(space.n) - 1)
    if isinstance(space, spaces.MultiDiscrete):
        first, sizes = space.start.ravel().astype(np.int64), space.nvec.ravel().astype(np.int64)
        return Actions(space, "choices", sizes.tolist(), first, first + sizes - 1)
    if isinstance(space, spaces.MultiBinary):
        zeros = np.zeros(int(np.prod(space.shape)), dtype=np.int64)
        return Actions(space, "choices", [2] * len(zeros), zeros, zeros + 1)
    if isinstance(space, spaces.Box):
        low, high = space.low.ravel().astype(np.float64), space.high.ravel().astype(np.float64)
        if not (np.abs(np.concatenate((low, high))) < BOUNDED).all():
            raise DataError(
                f"The actions of {name} are not bounded: {space}.", "Wrap the environment in one with finite bounds."
            )
        return Actions(space, "continuous", len(low), low, high)
    kind = "Hybrid actions" if isinstance(space, spaces.Dict | spaces.Tuple) else "Actions"
    raise DataError(
        f"{kind} of {name}, {space}, cannot be learned here.",
        "Wrap the environment in one with actions of Box, Discrete, MultiDiscrete or MultiBinary.",
    )


def _leaves(space: "spaces.Space[Any]") -> "list[spaces.Space[Any]]":
    """The parts of nested Dict and Tuple spaces, in the order in which Gymnasium flattens them."""
    if isinstance(space, spaces.Dict):
        return [leaf for part in space.spaces.values() for leaf in _leaves(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in _leaves(part)]
    return [space]


def _scale(space: "spaces.Space[Any]") -> NDArray[np.float32]:
    """(D,) factors of a flattened observation."""
    parts = [np.full(spaces.flatdim(leaf), 1 / 255 if _bytes(leaf) else 1.0, np.float32) for leaf in _leaves(space)]
    return np.concatenate(parts) if parts else np.ones(0, np.float32)


def _bytes(space: "spaces.Space[Any]") -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8


def _image(space: "spaces.Space[Any]") -> bool:
    return _bytes(space) and len(space.shape or ()) >= 2
