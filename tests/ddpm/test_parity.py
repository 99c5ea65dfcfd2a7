"""Noising and every step of every sampler beside diffusers, by the comparison that the benchmark prints."""

import importlib.util
from itertools import product
from pathlib import Path

import pytest
import torch

from lit_models.ddpm.diffusion import BETA_SCHEDULES, PREDICTION_TYPES

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "ddpm_parity.py"
QUANTITIES = ("add_noise", "velocity", "DDPM", "DDPM fixed_large", "DDIM eta 0", "DDIM eta 1", "DPM++ 2M")


@pytest.fixture(scope="module")
def benchmark():
    pytest.importorskip("diffusers")
    spec = importlib.util.spec_from_file_location("ddpm_parity", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers, with NumPy 2
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_nothing_differs_from_diffusers(benchmark, quantity, dtype, bound):
    steps = [(k, k) for k in (10, 20, 50, 1000)] + [(1000, 20)]
    for schedule, kind, (train, inference) in product(BETA_SCHEDULES, PREDICTION_TYPES, steps):
        found = benchmark.compare(quantity, schedule, kind, train, inference, dtype)
        assert found <= bound, f"{schedule}, {kind}, {inference} of {train} steps"
