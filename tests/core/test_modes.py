"""Planning and generating leave each part of a module in its own mode, also where they raise."""

import pytest
import torch
from torch import nn

from lit_models.core.modes import evaluating
from tests.conformance.cases import make

CALLS = {
    "MDLMDiT": lambda module, data: module.plan(next(iter(data.train_dataloader())).observation),
    "StateActionDDPM": lambda module, data: module.plan(*next(iter(data.train_dataloader()))[:2]),
    "MotionDDPM": lambda module, data: module.generate("a step", num_frames=8),
    "MelodyTransformer": lambda module, data: module.generate(
        torch.ones(1, 2, module.hparams["output_size"]),
        2,
        encode=lambda _: torch.zeros(1, module.hparams["input_size"]),
    ),
}


def test_each_part_returns_to_its_own_mode():
    module = nn.Sequential(nn.Dropout(), nn.Dropout())
    module[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False]


@pytest.mark.parametrize("name", CALLS)
def test_the_mode_comes_back_where_the_network_raises(name):
    module, data = make(name)
    data.prepare_data()
    data.setup("fit")
    modes = []

    def fail(network, *_):
        modes.append(network.training)
        raise KeyError("in the network")

    module.train()
    for part in module.network.modules():
        part.register_forward_pre_hook(fail)
    with pytest.raises(KeyError, match="in the network"):
        CALLS[name](module, data)
    assert modes == [False]
    assert module.training
