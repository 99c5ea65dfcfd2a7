"""The samples of one update."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .environments import CollectorLike
from .network import Distribution
from .trust_region import Floats


@dataclass(frozen=True)
class Samples:
    """The samples of an update, flattened: S = T * N of this process.

    Attributes:
        observation: (S, D), standardised.
        action: (S, A), or (S,) for choices.
        log_prob: (S,) under the policy that acted.
        reward_advantage: (S,) standardised over all processes.
        cost_advantages: (S, m) of the limited costs, centred, in cost a step.
        old: the distributions of the policy that acted.
        index: (S,) number of each sample among those of all processes.
        gaps: (m,) (mean episode cost - limit) / mean episode length: cost a step, the unit of the advantages.
        episode_length: mean, by which ``gaps`` were divided.
        count: samples of all processes.
    """

    observation: Tensor
    action: Tensor
    log_prob: Tensor
    reward_advantage: Tensor
    cost_advantages: Tensor
    old: Distribution
    index: Tensor
    gaps: Floats
    episode_length: float
    count: int

    def double(self) -> "Samples":
        """The same in float64."""
        names = ("observation", "log_prob", "reward_advantage", "cost_advantages")
        tensors = {name: getattr(self, name).double() for name in names}
        action = self.action.double() if self.action.is_floating_point() else self.action
        return replace(self, **tensors, action=action, old=Distribution(*(part.double() for part in self.old)))

    def rows(self, chosen: Tensor) -> Tensor:
        """Positions here of the chosen samples of all processes, without those of other processes."""
        position = torch.full((self.count,), -1)
        position[self.index] = torch.arange(len(self.index))
        found = position[chosen]
        return found[found >= 0]


def sample_index(steps: int, rows: int, batch: CollectorLike) -> Tensor:
    """(T * N,) number of each sample of this process among those of all."""
    return (torch.arange(steps)[:, None] * batch.total + torch.arange(batch.first, batch.first + rows)).flatten()
