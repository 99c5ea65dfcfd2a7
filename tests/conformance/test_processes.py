"""Two processes on the same global batch give the numbers of one, through the real command."""

import pytest
import torch

from .registry import REGISTRY


def numbers(column):
    """What was not measured counts as NaN."""
    return [float("nan") if value is None else value for value in column]


def require_equal(two, one):
    for key, value in one[0].items():
        torch.testing.assert_close(two[0][key], value, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    assert two[1].keys() == one[1].keys()
    for column in one[1].keys() - {"seconds", "train/steps_per_second", "summary", "moving_average"}:
        expected = pytest.approx(numbers(one[1][column]), rel=1e-4, abs=1e-6, nan_ok=True)
        assert numbers(two[1][column]) == expected, column
    assert two[2].keys() == one[2].keys()
    for metric, rows in one[2].items():
        expected = pytest.approx(numbers(rows.values()), rel=1e-4, abs=1e-6, nan_ok=True)
        assert numbers(two[2][metric].values()) == expected, metric


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_two_processes_equal_one(name, fit):
    one = fit(name, "one")
    require_equal(fit(name, "two", "--trainer.strategy=ddp", "--trainer.devices=2", processes=2), one)
