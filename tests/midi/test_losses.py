"""Losses against torch, with masks."""

import pytest
import torch
import torch.nn.functional as F

from lit_models.midi import losses


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_ratio_is_the_mean_of_what_is_left():
    values, mask = draw(3, 4), draw(3, 4, seed=1) > 0
    torch.testing.assert_close(losses.mean(losses.ratio(values, mask)), values[mask].mean())
    assert losses.mean(losses.ratio(values, torch.zeros_like(mask))) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_is_torchs_where_all_classes_are_known(smoothing):
    logits, index = draw(5, 6), torch.tensor([0, 3, 2, 5, 1])
    sums = losses.class_nll(logits, F.one_hot(index, 6).float(), torch.ones(5, 6, dtype=torch.bool), smoothing)
    torch.testing.assert_close(losses.mean(sums), F.cross_entropy(logits, index, label_smoothing=smoothing))


def test_classes_outside_the_vocabulary_become_impossible():
    logits = torch.zeros(1, 4, requires_grad=True)
    mask = torch.tensor([[True, True, False, False]])
    losses.mean(losses.class_nll(logits, torch.tensor([[1.0, 0, 0, 0]]), mask, smoothing=0.5)).backward()
    assert (logits.grad[0, 2:] > 0).all()


def test_a_frame_without_a_class_does_not_count():
    target = torch.tensor([[1.0, 0], [0, 0], [0, 1]])
    mask = torch.tensor([[True, True], [True, True], [False, False]])
    assert losses.class_nll(draw(3, 2), target, mask)[1] == 1


def test_weighted_keys_are_torchs():
    logits, target = draw(2, 3, 5), (draw(2, 3, 5, seed=1) > 0).float()
    found = losses.mean(losses.keys_nll(logits, target, torch.ones(2, 3, 5, dtype=torch.bool), 3.0))
    weighted = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(3.0))
    torch.testing.assert_close(found, weighted * 5)


def test_keys_outside_the_mask_cost_nothing():
    logits, target = draw(1, 1, 5), torch.ones(1, 1, 5)
    known = torch.arange(5) < 2
    nats, frames = losses.keys_nll(logits, target, known.expand(1, 1, 5))
    torch.testing.assert_close(nats, F.softplus(-logits[..., :2]).sum())
    assert frames == 1


def test_hubers_loss_is_the_square_near_nought_and_a_line_far_away():
    zero = torch.zeros(2)
    found = losses.distance(torch.tensor([0.05, 3.0]), zero, "huber", 0.1)
    torch.testing.assert_close(found, torch.tensor([0.05**2, 2 * 0.1 * 3.0 - 0.1**2]))
    with pytest.raises(ValueError, match="'mse' or 'huber'"):
        losses.distance(zero, zero, "l1", 0.1)
