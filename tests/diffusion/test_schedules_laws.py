"""A process with more or less noise, by its signal over noise."""

import pytest
import torch

from lit_models.diffusion.schedules import make_diffusion, scaled


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_signal_over_noise_is_multiplied_at_each_level(scale):
    plain = make_diffusion(10)
    levels = torch.arange(1, 11)
    torch.testing.assert_close(scaled(plain, scale).snr(levels), plain.snr(levels) * scale**2, rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_is_positive(scale):
    with pytest.raises(ValueError, match="signal_scale"):
        scaled(make_diffusion(10), scale)
