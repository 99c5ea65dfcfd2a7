"""Tiny batches for tests of the module: random observations of a 5 x 5 grid and plans of six slots."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lit_models import MDLMDiT
from lit_models.mdlm.network import END
from lit_models.mdlm.observation import AGENT

from ..nested import merged

HORIZON = 6


class Observation(NamedTuple):
    image: Tensor
    direction: Tensor
    mission: Tensor


class Batch(NamedTuple):
    observation: Observation
    plan: Tensor
    floor: Tensor
    item: Tensor


def batch(rows=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(1, 4, (rows, 5, 5, 3), generator=generator).byte()
    image[:, 2, 2, 0] = AGENT
    direction = torch.randint(4, (rows,), generator=generator)
    plan = torch.randint(3, (rows, HORIZON), generator=generator)
    length = torch.randint(1, HORIZON, (rows, 1), generator=generator)
    plan = torch.where(torch.arange(HORIZON) < length, plan, END)
    observation = Observation(image, direction, torch.zeros(rows, 0, dtype=torch.int64))
    return Batch(observation, plan, torch.zeros(rows), torch.arange(rows))


def loader(batches):
    return DataLoader(batches, batch_size=None)


def module(**changes):
    torch.manual_seed(0)
    settings = {
        "horizon": HORIZON,
        "view_size": [5, 5],
        "network": {"hidden_size": 16, "num_layers": 1, "num_heads": 2},
        "optimizer": {"lr": 1e-2},
    }
    return MDLMDiT(**merged(settings, changes))
