import copy

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon

from lit_models.core import optim
from lit_models.core.muon import matrices


class Network(nn.Module):
    """A matrix of each kind of layer, a table, a convolution, vectors, and two layers that share a matrix."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 6)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.memory = nn.GRU(6, 5, batch_first=True)
        self.convolution = nn.Conv1d(5, 6, 3)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.fixed = nn.Linear(6, 6).requires_grad_(False)

    def forward(self, x):
        x = self.table(x)
        x = self.memory(self.attention(x, x, x, need_weights=False)[0])[0]
        return self.fixed(self.second(self.first(self.convolution(x.mT).mT)))


def network():
    torch.manual_seed(0)
    return Network()


def step(model, optimizer, seed):
    x = torch.randint(7, (4, 9), generator=torch.Generator().manual_seed(seed))

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    return optimizer.step(closure)


def made(model):
    return optim.muon(model, optim.Optimizer(lr=0.01, weight_decay=0.1, betas=(0.9, 0.99)))


def test_matrices_are_those_of_layers_that_train_each_once():
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(matrix)] for matrix in matrices(model)] == [
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "memory.weight_ih_l0",
        "memory.weight_hh_l0",
        "first.weight",
    ]


def test_each_parameter_moves_as_by_torchs_muon_or_adamw_alone():
    model, other = network(), network()
    optimizer, hidden = made(model), matrices(other)
    taken = set(hidden)
    rest = [p for p in other.parameters() if p.requires_grad and p not in taken]
    parts = (
        Muon(hidden, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        AdamW([p for p in rest if p.ndim >= 2], lr=0.01, weight_decay=0.1, betas=(0.9, 0.99), fused=True),
        AdamW([p for p in rest if p.ndim < 2], lr=0.01, weight_decay=0.0, betas=(0.9, 0.99), fused=True),
    )
    for seed in range(3):
        assert step(model, optimizer, seed) > 0
        other.zero_grad()
        other(torch.randint(7, (4, 9), generator=torch.Generator().manual_seed(seed))).square().mean().backward()
        for part in parts:
            part.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert not torch.equal(model.first.weight, network().first.weight)


def test_a_restored_state_goes_on_as_if_nothing_had_happened():
    model = network()
    optimizer = made(model)
    step(model, optimizer, 0)
    twin = copy.deepcopy(model)
    restored = made(twin)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (1, 2):
        step(model, optimizer, seed)
        step(twin, restored, seed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    fresh = copy.deepcopy(model)
    step(fresh, made(fresh), 3)
    step(model, optimizer, 3)
    assert not torch.equal(model.first.weight, fresh.first.weight)


def test_both_parts_follow_the_learning_rate():
    model = network()
    optimizer = made(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    step(model, optimizer, 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1, 0.0]


def test_a_network_without_matrices_is_refused():
    with pytest.raises(ValueError, match="adamw"):
        made(nn.Conv1d(3, 4, 3))
