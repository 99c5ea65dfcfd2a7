"""What a schedule claims of itself."""

import pytest
import torch

from lit_models.mdlm.diffusion import SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_full_range_is_one_that_runs_from_all_kept_to_none(name):
    ends = SCHEDULES[name].alpha(torch.tensor([0.0, 1.0], dtype=torch.float64))
    whole = torch.allclose(ends, torch.tensor([1.0, 0.0], dtype=torch.float64), rtol=0.0, atol=1e-12)
    assert SCHEDULES[name].full_range == whole
