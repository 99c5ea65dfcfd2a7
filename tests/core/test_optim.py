import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LambdaLR

from lit_models.core import optim
from lit_models.core.optim import Schedule


def rates(factor, steps, lr=0.1):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = LambdaLR(optimizer, factor)
    seen = []
    for _ in range(steps):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


def reference(scheduler_class, steps, lr=0.1, **kwargs):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = scheduler_class(optimizer, **kwargs)
    seen = []
    for _ in range(steps):
        seen.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return seen


def test_cosine_with_a_floor_equals_torchs():
    ours = rates(optim.multiplier(Schedule("cosine", floor=0.2), 50), 50)
    assert ours == pytest.approx(reference(CosineAnnealingLR, 50, T_max=50, eta_min=0.02))


def test_exponential_equals_torchs():
    ours = rates(optim.multiplier(Schedule("exponential", gamma=0.9), math.inf), 30)
    assert ours == pytest.approx(reference(ExponentialLR, 30, gamma=0.9))


def test_linear_ends_at_its_floor_and_warmup_starts_low():
    factor = optim.multiplier(Schedule("linear", warmup=10, floor=0.1), 110)
    assert [factor(i) for i in range(10)] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert factor(60) == pytest.approx(0.55)
    assert factor(110) == factor(500) == pytest.approx(0.1)


def test_constant_stays():
    assert set(rates(optim.multiplier(Schedule(), math.inf), 5)) == {0.1}


def test_a_schedule_without_an_end_says_what_to_set():
    with pytest.raises(ValueError, match=r"trainer\.max_steps"):
        optim.multiplier(Schedule("cosine"), math.inf)


def test_decay_groups_spare_vectors_and_frozen_parameters():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module[2].weight.requires_grad_(False)
    decayed, spared = optim.decay_groups(module, 0.3)
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert decayed["weight_decay"] == 0.3
    assert spared["weight_decay"] == 0.0
    assert len(spared["params"]) == 4


def test_restored_states_follow_new_hyper_parameters():
    module = nn.Linear(2, 2)
    optimizer = optim.adamw(module, optim.Optimizer(lr=0.1, weight_decay=0.3, betas=(0.9, 0.99)))
    scheduler = LambdaLR(optimizer, optim.multiplier(Schedule("linear"), 10))
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    states, schedules = [optimizer.state_dict()], [scheduler.state_dict()]
    optim.rescale_restored(states, schedules, lr=2.0, decay=0.5)
    optimizer.load_state_dict(states[0])
    scheduler.load_state_dict(schedules[0])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * 0.6)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * 0.5)
