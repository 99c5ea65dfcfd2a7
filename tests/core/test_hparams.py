import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from lit_models.core.hparams import require_plain


@pytest.mark.parametrize(
    "bad", [Path("x"), np.float64(1.0), torch.zeros(1), torch.nn.ReLU, functools.partial(print), {1, 2}, np.int64(3)]
)
def test_what_yaml_cannot_write_is_refused_by_name(bad):
    with pytest.raises(TypeError, match=r"Net\(inner\.values\[1\]=\.\.\.\)"):
        require_plain({"fine": 1, "inner": {"values": [0.5, bad]}}, "Net")


def test_plain_values_pass():
    require_plain({"a": 1, "b": [1.0, "x", None, True], "c": {"d": (1, 2)}}, "Net")
