"""The block that the diffusion transformers share."""

import pytest

from lit_models.layers.dit import DiTBlock


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden_size=10 does not divide by num_heads=4"):
        DiTBlock(10, 4)
