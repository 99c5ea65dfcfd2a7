"""Which padding a stream can keep."""

import pytest
import torch
from torch import nn

from lit_models.export.rtneural.errors import UnsupportedLayerError
from lit_models.export.rtneural.lower import lower


@pytest.mark.parametrize(("taps", "dilation"), [(3, 1), (3, 2), (2, 4), (1, 1)])
def test_a_convolution_is_padded_by_its_whole_past_or_not_at_all(taps, dilation):
    past = (taps - 1) * dilation
    for padding in range(past + 3):
        layer = nn.Conv1d(2, 3, taps, dilation=dilation, padding=padding)
        if padding in (0, past):
            (found,) = lower(layer, 2, "here")
            assert found.options == {"kernel_size": [taps], "dilation": [dilation], "groups": 1}
            torch.testing.assert_close(torch.from_numpy(found.weights[0]).permute(2, 1, 0), layer.weight.double())
        else:
            with pytest.raises(UnsupportedLayerError, match=f"by {past} frames"):
                lower(layer, 2, "here")
