"""Episodes as tensors: windows of L slots to learn from, and starts to try a policy from."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from litmotif.batches.plans import END, Observation, PlanBatch

from ..core import Draw
from .augment import Symmetry, reflect
from .envs import Start
from .generate import Episode


class Windows(NamedTuple):
    """I windows of L slots, with up to P plans that are equally good.

    Attributes:
        image: (I, W, H, 3) uint8.
        direction: (I,) int64.
        mission: (I, N) int64.
        plans: (I, P, L) uint8, END behind each plan.
        choices: (I,) int64: how many of the P plans there are.
        floor: (I,) float32: -log p of a plan for the uniform expert, nats.
        first: (I,) bool: the window begins where its episode begins.
    """

    image: Tensor
    direction: Tensor
    mission: Tensor
    plans: Tensor
    choices: Tensor
    floor: Tensor
    first: Tensor


class Episodes(NamedTuple):
    """E episodes to try a policy in.

    Attributes:
        start: (E, 4) int64: seed, x, y, heading.
        actions: (E, T) int64: the expert's actions, -1 behind the last.
        optimal: (E,) int64: their number where it is the optimum, -1 where that is unknown.
        returns: (E,) float32: what the environment gave the expert.
    """

    start: Tensor
    actions: Tensor
    optimal: Tensor
    returns: Tensor

    def starts(self) -> list[Start]:
        """Where the episodes begin."""
        return [Start(*row) for row in self.start.tolist()]


def plan_offsets(length: int, horizon: int, stride: int | None) -> range:
    """Where the windows of a plan begin: every ``stride`` actions, or one behind the other so that none is cut off."""
    return range(0, length, stride or horizon)


def word_ids(mission: str, known: Mapping[str, int]) -> list[int]:
    """Ids of a mission's words; 0 for a word that the training split does not have."""
    return [known.get(word, 0) for word in mission.split()] if known else []


def make_windows(
    episodes: Sequence[Episode], horizon: int, stride: int | None, words: Sequence[str], mission_length: int
) -> Windows:
    """Cut episodes into windows.

    Args:
        episodes: solved episodes.
        horizon: slots L of a window.
        stride: a window every so many actions; None takes as few as cover the plan.
        words: the vocabulary.
        mission_length: words N a mission is padded to.
    """
    known = {word: index + 1 for index, word in enumerate(words)}
    places = [(e, o) for e in episodes for o in plan_offsets(len(e.actions), horizon, stride)]
    choices = [_plans(episode, offset, horizon, stride) for episode, offset in places]
    widest = max(len(plans) for plans in choices)
    table = np.full((len(places), widest, horizon), END, dtype=np.uint8)
    mission = np.zeros((len(places), mission_length), dtype=np.int64)
    for row, ((episode, _), plans) in enumerate(zip(places, choices, strict=True)):
        for column, plan in enumerate(plans):
            table[row, column, : len(plan)] = plan
        ids = word_ids(episode.mission, known)[:mission_length]
        mission[row, : len(ids)] = ids
    floor = [e.logs[o] - e.logs[min(o + horizon, len(e.actions))] for e, o in places]
    return Windows(
        torch.from_numpy(np.stack([episode.images[offset] for episode, offset in places])),
        torch.tensor([int(episode.directions[offset]) for episode, offset in places]),
        torch.from_numpy(mission),
        torch.from_numpy(table),
        torch.tensor([len(plans) for plans in choices]),
        torch.tensor(floor, dtype=torch.float32),
        torch.tensor([offset == 0 for _, offset in places]),
    )


def _plans(episode: Episode, offset: int, horizon: int, stride: int | None) -> list[list[int]]:
    length = len(episode.actions)
    if stride is None and length <= horizon and episode.alternatives:
        return episode.alternatives
    return [episode.actions[offset : offset + horizon].tolist()]


def make_episodes(episodes: Sequence[Episode]) -> Episodes:
    """The starts and the expert's actions of ``episodes``."""
    longest = max(len(episode.actions) for episode in episodes)
    actions = np.full((len(episodes), longest), -1, dtype=np.int64)
    for row, episode in enumerate(episodes):
        actions[row, : len(episode.actions)] = episode.actions
    optimal = [-1 if math.isnan(episode.logs[0]) else len(episode.actions) for episode in episodes]
    return Episodes(
        torch.tensor([list(episode.start) for episode in episodes]),
        torch.from_numpy(actions),
        torch.tensor(optimal),
        torch.tensor([episode.reward for episode in episodes], dtype=torch.float32),
    )


class PlanTable:
    """Gathers batches out of windows; a draw's variant chooses among equally good plans and among symmetries.

    Args:
        windows: the data.
        episodes: that the windows were cut from.
        symmetry: what may be done to a window, see ``augment``.
        swapped: ids of the mission's words after a reflection (word i becomes ``swapped[i]``).
    """

    def __init__(
        self, windows: Windows, episodes: Episodes, symmetry: Symmetry = "none", swapped: Sequence[int] = (0,)
    ) -> None:
        self.windows, self.episodes, self.symmetry = windows, episodes, symmetry
        self.swapped = torch.tensor(swapped)

    def __len__(self) -> int:
        """Windows."""
        return len(self.windows.choices)

    def __getitems__(self, draws: Sequence[Draw]) -> PlanBatch:
        """One batch."""
        index, variant = torch.tensor(draws).unbind(dim=1)
        w = self.windows
        plan = w.plans[index, variant % w.choices[index]].long()
        seen = Observation(w.image[index], w.direction[index], w.mission[index])
        if self.symmetry != "none":
            seen, plan = reflect(seen, plan, variant // 2**16, self.symmetry, self.swapped)
        return PlanBatch(seen, plan, w.floor[index], index)
