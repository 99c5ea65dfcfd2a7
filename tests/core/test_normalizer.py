"""Standardisation: statistics that are given, counted, kept, and refused."""

import pytest
import torch

from lit_models.core.normalizer import Standardizer


def test_statistics_merged_by_count_are_those_of_all_rows_together():
    g = torch.Generator().manual_seed(0)
    parts = [torch.randn(n, 3, generator=g) * s + m for n, s, m in ((5, 1.0, 0.0), (700, 3.0, 50.0), (1, 0.0, -2.0))]
    moments = Standardizer(3, running=True)
    for part in parts:
        moments.merge(Standardizer.sums(part))
    rows = torch.cat(parts).double()
    torch.testing.assert_close(moments.mean, rows.mean(0))
    torch.testing.assert_close(moments.std, rows.std(0, unbiased=False))
    halves = Standardizer(3, running=True)  # two processes
    halves.merge(Standardizer.sums(rows[:300]) + Standardizer.sums(rows[300:]))
    torch.testing.assert_close(halves.mean, moments.mean)


def test_statistics_begin_as_the_identity_and_bound_what_they_pass():
    moments = Standardizer(2, running=True, limit=10.0)
    rows = torch.tensor([[0.5, -3.0]])
    assert torch.equal(moments(rows), rows)
    assert moments(torch.tensor([[1e6, -1e6]])).tolist() == [[10.0, -10.0]]


def test_what_is_merged_later_is_counted_together_with_what_was_merged_and_loaded():
    g = torch.Generator().manual_seed(1)
    rows = 2.0 + 3.0 * torch.randn(400, 2, generator=g, dtype=torch.float64)
    rows[:, 1] = 7.0  # never varies
    first, second = Standardizer(2, running=True), Standardizer(2, running=True)
    first.merge(Standardizer.sums(rows[:100]))
    second.load_state_dict(first.state_dict())
    second.merge(Standardizer.sums(rows[100:]))
    torch.testing.assert_close(second.mean, rows.mean(0))
    assert second.std.tolist() == [pytest.approx(float(rows[:, 0].std(correction=0))), 1.0]
    assert second.count == 400


def test_there_and_back_and_nothing_where_no_row_exists():
    normalizer = Standardizer(2, {"mean": [1.0, -2.0], "std": [0.5, 4.0]})
    x, valid = torch.tensor([[2.0, 2.0], [0.0, -2.0]]), torch.tensor([True, False])
    assert normalizer(x).tolist() == [[2.0, 1.0], [-2.0, 0.0]]
    assert normalizer(x, valid).tolist() == [[2.0, 1.0], [0.0, 0.0]]
    assert torch.equal(normalizer.physical(normalizer(x)), x)
    assert normalizer(x.double()).dtype == torch.float64
    assert normalizer(x.bfloat16()).dtype == torch.float32


def test_a_checkpoint_brings_statistics_or_takes_them():
    fitted, fresh = Standardizer(2, {"mean": [1.0, 2.0], "std": [3.0, 4.0]}), Standardizer(2)
    assert (fitted.fitted, fresh.fitted) == (True, False)
    empty = Standardizer(2).state_dict()
    fresh.load_state_dict(fitted.state_dict())
    assert fresh.fitted
    assert fresh.mean.tolist() == [1.0, 2.0]
    fresh.load_state_dict(empty)
    assert not fresh.fitted


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        ({"mean": [0.0], "std": [1.0, 1.0]}, r"mean has shape \(1,\) for 2 columns"),
        ({"mean": [0.0, float("nan")], "std": [1.0, 1.0]}, "mean is not finite in right"),
        ({"mean": [0.0, 0.0], "std": [0.0, 1.0]}, "std is zero in left"),
        ({"mean": [0.0, 0.8], "std": [1.0, 1e-8]}, "std is zero in right"),
    ],
)
def test_statistics_that_cannot_be_right_are_named(statistics, message):
    with pytest.raises(ValueError, match=message):
        Standardizer(2, statistics, names=["left", "right"])
