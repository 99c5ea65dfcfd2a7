"""Which levels a path may take."""

import pytest
import torch

from lit_models.diffusion.samplers import DDIM, gaussian
from lit_models.diffusion.schedules import make_diffusion


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ([6, 2, 4, 0], "rises"),  # below where it began
        ([6, 6, 0], None),
        ([20, 0], None),
        ([6, 1], None),
        ([21, 0], "from 21 to 0"),
        ([6, -1], "from 6 to -1"),
    ],
)
def test_a_path_falls_or_stays_within_the_levels_of_the_process(path, words):
    def walk():
        x = torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(0))
        noise = gaussian(torch.Generator().manual_seed(0))
        return DDIM().sample(lambda x, levels: x, (make_diffusion(20),), (x,), (torch.tensor(path),), noise)

    if words is None:
        assert walk()[0].isfinite().all()
    else:
        with pytest.raises(ValueError, match=words):
            walk()
