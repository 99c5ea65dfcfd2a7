"""Losses and metrics where little is left: one column, one value, small errors, nothing."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lit_models.midi import losses
from lit_models.midi.metrics import Regression
from lit_models.midi.stack import LayerStack


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_smoothing_spreads_its_share_evenly_over_the_columns_of_the_mask(columns):
    logits, mask = draw(1, 4), torch.arange(4)[None] < columns
    found = losses.class_nll(logits, torch.tensor([[1.0, 0, 0, 0]]), mask, smoothing=0.3)[0]
    log_p = logits.log_softmax(-1)[0]
    torch.testing.assert_close(found, -(0.7 * log_p[0] + 0.3 * log_p[:columns].mean()))


def test_moments_are_those_of_the_values_that_the_mask_leaves():
    p, t = draw(6, 2), draw(6, 2, seed=1)
    mask = draw(6, 2, seed=2) > 0
    found = losses.moments(p, t, mask)
    for column in range(2):
        x, y = (values[mask[:, column], column].double() for values in (p, t))
        expected = [len(x), x.sum(), y.sum(), x @ x, y @ y, x @ y]
        torch.testing.assert_close(found[:, column], torch.stack([torch.as_tensor(v).double() for v in expected]))


def test_of_nothing_the_mean_and_the_concordance_are_nought():
    assert float(losses.mean(torch.zeros(2))) == 0.0
    assert losses.concordance(torch.zeros(6, 3, dtype=torch.float64)).tolist() == [0.0] * 3


def test_one_value_has_the_concordance_of_two_constants():
    """Without variance only the distance of the means is left: it is 0."""
    sums = losses.moments(torch.tensor([[2.0]]), torch.tensor([[5.0]]), torch.ones(1, 1, dtype=torch.bool))
    assert float(losses.concordance(sums)) == pytest.approx(0.0, abs=1e-9)


def test_small_errors_stay_small_and_one_column_has_no_direction():
    target = draw(3, 5, 1)
    prediction, everywhere = target + 0.01, torch.ones(3, 5, 1, dtype=torch.bool)
    metric = Regression(1, prefix="x_")
    metric.update(prediction, target, everywhere)
    found = metric.compute()
    assert float(found["x_mse"]) == pytest.approx(1e-4, rel=1e-4)
    assert float(found["x_rmse"]) == pytest.approx(0.01, rel=1e-4)
    assert float(found["x_mae"]) == pytest.approx(0.01, rel=1e-4)
    assert set(found) == {f"x_{name}" for name in ("mse", "mae", "rmse", "correlation", "r2", "ccc")}
    pair = Regression(2)
    pair.update(draw(3, 5, 2), draw(3, 5, 2, seed=1), everywhere.expand(3, 5, 2))
    assert {"cosine", "r"} < set(pair.compute())


def test_batch_statistics_of_frames_that_exist_are_those_of_torch():
    norm, stack = nn.BatchNorm1d(3), LayerStack([nn.BatchNorm1d(3)])
    x, valid = draw(2, 6, 3), torch.arange(6).expand(2, 6) < torch.tensor([[6], [4]])
    out, state = stack(x, valid=valid)
    torch.testing.assert_close(out[valid], norm(x[valid]))
    assert not out[~valid].any()
    assert state == (None,)


def test_a_state_of_another_stack_is_refused_and_a_plain_layer_is_exported_as_it_is():
    stack, last = LayerStack([nn.Linear(3, 2, bias=False), nn.Tanh()]), nn.Sigmoid()
    assert stack.chain(last) == [*stack.layers, last]
    with pytest.raises(ValueError, match="shorter"):
        stack(draw(1, 4, 3), (None,))
    tied = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    plain, _ = LayerStack([tied]).chain(last)
    assert type(plain) is nn.Linear
    torch.testing.assert_close(plain(draw(4, 3)), F.linear(draw(4, 3), tied.weight, tied.bias))
