"""Noising and every step of every sampler beside diffusers, by the comparison that the benchmark prints."""

from itertools import product

import pytest
import torch

from lit_models.diffusion.process import PREDICTION_TYPES
from lit_models.diffusion.schedules import BETA_SCHEDULES
from tests import scripts

QUANTITIES = ("add_noise", "velocity", "DDPM", "DDPM fixed_large", "DDIM eta 0", "DDIM eta 1", "DPM++ 2M")


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("diffusers")
    return scripts.load("diffusion_parity")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers, with NumPy 2
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_nothing_differs_from_diffusers(benchmark, quantity, dtype, bound):
    steps = [(k, k) for k in (10, 20, 50, 1000)] + [(1000, 20)]
    for schedule, kind, (train, inference) in product(BETA_SCHEDULES, PREDICTION_TYPES, steps):
        found = benchmark.compare(quantity, schedule, kind, train, inference, dtype)
        assert found <= bound, f"{schedule}, {kind}, {inference} of {train} steps"
