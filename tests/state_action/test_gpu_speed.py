"""The pace of StateActionDDPM on a GPU, by the functions of its benchmark."""

import pytest
import torch

import datamodules
from tests import scripts

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture(scope="module")
def benchmark():
    return scripts.load("state_action_speed")


def test_a_plan_of_20_steps_takes_at_most_4_ms(benchmark):
    assert benchmark.plan_latency("cuda")["plain"] <= 4.0


def test_training_takes_25_000_windows_a_second(benchmark):
    rates = benchmark.training_rates(
        datamodules.Trajectories(episodes=60), batch=1024, steps=50, rounds=3, device="cuda"
    )
    assert rates["ours"] >= 25_000
