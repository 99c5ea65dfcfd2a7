"""What a schedule claims of itself."""

import pytest
import torch

from lit_models.mdlm.diffusion import SCHEDULES, level_counts


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_full_range_is_one_that_runs_from_all_kept_to_none(name):
    ends = SCHEDULES[name].alpha(torch.tensor([0.0, 1.0], dtype=torch.float64))
    whole = torch.allclose(ends, torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0.0, atol=1e-12)
    assert SCHEDULES[name].full_range == whole


def test_no_offset_below_1_counts_more_slots_than_there_are():
    last = torch.nextafter(torch.tensor([1.0]), torch.tensor([0.0]))  # rounded up to 1 where the levels are added
    for levels in (1, 3, 7):
        assert level_counts(7, levels, last).max() == 7
