"""Drawing motions at random and telling them in words: dice, scenes, and the clips that scenes become."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from ..core import random_stream
from .clip import Audio, Clip
from .humanoid import Array, Pose, solve
from .skeleton import layout

FPS = 20.0
LONGEST = 6.0  # s
_SUBJECTS = ("a person", "someone", "a man", "a woman", "the figure")
Choice = TypeVar("Choice")


class Dice:
    """Random draws that are a function of a seed and an index."""

    def __init__(self, seed: int, index: int) -> None:
        self.random = random_stream(seed, index)

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return float(self.random.uniform(low, high))

    def one_of(self, choices: Sequence[Choice]) -> Choice:
        """One of them, all alike."""
        return choices[int(self.random.integers(len(choices)))]

    def pace(self) -> tuple[float, tuple[str, ...]]:
        """A factor on speeds, and what one calls it."""
        factor, words = self.one_of(
            ((0.65, ("slowly", "at a slow pace")), (1.0, ("",)), (1.45, ("quickly", "at a fast pace")))
        )
        return factor * self.between(0.94, 1.06), words

    def count(self) -> int:
        """How often: 1 to 3."""
        return int(self.random.integers(1, 4))


class Scene(NamedTuple):
    """A motion and what can be said about it."""

    pose: Pose
    verbs: tuple[str, ...]
    """Ways to say what is done, third person."""
    adverbs: tuple[str, ...] = ("",)
    """Ways to say how; one follows the verb."""

    def captions(self, dice: Dice, number: int) -> tuple[str, ...]:
        """Some of the sentences that say all of it, none twice; the first is the plain one, of which each has one."""
        ways = [" ".join(f"{verb} {adverb}".split()) for verb in self.verbs for adverb in self.adverbs]
        chosen = [ways[i] for i in dice.random.permutation(len(ways))]
        told = [f"{dice.one_of(_SUBJECTS)} {chosen[i % len(chosen)]}" for i in range(number)]
        return tuple(dict.fromkeys([f"a person {ways[0]}", *told]))[:number]


def times(seconds: float) -> Array:
    """Moments of the frames of a clip."""
    result: Array = np.arange(round(min(seconds, LONGEST) * FPS)) / FPS
    return result


def clips_of(
    names: Sequence[str], scenes: Sequence[Scene], dice: Sequence[Dice], sounds: Sequence[Audio] | None = None
) -> list[Clip]:
    """Solve all scenes in one go and cut them into clips, called by their name and place.

    Args:
        names: of the actions.
        scenes: as many.
        dice: of each, for the wording of its captions.
        sounds: of each; none where None.
    """
    if not scenes:
        return []
    root, rotations = solve(Pose.join([scene.pose for scene in scenes]))
    skeleton, ends = layout("humanml3d"), list(accumulate(len(scene.pose.root) for scene in scenes))
    solved = (root, rotations, skeleton.forward(root, rotations))
    parts = zip(*(torch.tensor_split(values, ends[:-1]) for values in solved), strict=True)
    return [
        Clip(
            f"{names[i]}_{i:05d}",
            FPS,
            skeleton,
            root_pos=root_pos,
            rotations=turns,
            positions=positions,
            captions=scenes[i].captions(dice[i], 4),
            audio=None if sounds is None else sounds[i],
            contacts=torch.from_numpy(scenes[i].pose.contacts),
        )
        for i, (root_pos, turns, positions) in enumerate(parts)
    ]
