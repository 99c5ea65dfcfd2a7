"""Numbers as text: as short as can be, and the same float32 for any reader."""

import json
import re

import numpy as np
from torch import nn

from lit_models.export.rtneural import count_parameters, to_rtneural, write
from lit_models.export.rtneural.layer import shortest


def test_text_reads_as_the_same_bits():
    bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    values = np.concatenate([bits.view(np.float32), np.float32([0.0, -0.0, 1e-45, 3.4028235e38, 0.1, 5, 16777216])])
    values = values[np.isfinite(values)]
    text = [json.dumps(number) for number in shortest(values.astype(np.float64))]
    directly = np.array(text).astype(np.float32)
    through_double = np.array([float(number) for number in text]).astype(np.float32)
    np.testing.assert_array_equal(directly.view(np.uint32), values.view(np.uint32))
    np.testing.assert_array_equal(through_double.view(np.uint32), values.view(np.uint32))


def test_text_has_no_digit_too_many():
    digits = [len(re.sub(r"e.*|[-.]", "", json.dumps(x)).strip("0")) for x in shortest(np.float64([0.1, 1 / 3, 2e-8]))]
    assert digits == [1, 8, 1]
    assert max(len(json.dumps(x)) for x in shortest(np.random.default_rng(0).standard_normal(5000))) <= 14


def test_at_most_13_bytes_a_parameter(tmp_path):
    model = to_rtneural([nn.Linear(64, 128), nn.Tanh(), nn.LSTM(128, 64), nn.GRU(64, 32), nn.Conv1d(32, 32, 3)], 64)
    write(model, tmp_path / "model.json")
    assert (tmp_path / "model.json").stat().st_size <= 13 * count_parameters(model)
    assert count_parameters(model) == 70_240
