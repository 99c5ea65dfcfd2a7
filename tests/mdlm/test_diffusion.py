import math

import pytest
import torch
from scipy.integrate import quad

from lit_models.mdlm import diffusion
from lit_models.mdlm.diffusion import SCHEDULES

from .oracle import JointTable

FULL_RANGE = [name for name, schedule in SCHEDULES.items() if schedule.full_range]
T = torch.linspace(0.001, 0.999, 400, dtype=torch.float64)


@pytest.mark.parametrize("name", SCHEDULES)
def test_weight_is_the_log_derivative_of_the_mask_rate(name):
    schedule = SCHEDULES[name]
    t = T.clone().requires_grad_()
    alpha = schedule.alpha(t)
    (slope,) = torch.autograd.grad(alpha.sum(), t)
    torch.testing.assert_close(schedule.weight(T), (-slope / (1 - alpha)).detach(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", SCHEDULES)
def test_time_inverts_the_mask_rate(name):
    schedule = SCHEDULES[name]
    torch.testing.assert_close(schedule.time(1 - schedule.alpha(T)), T, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("name", FULL_RANGE)
def test_full_range_schedules_keep_all_at_0_and_mask_all_at_1(name):
    ends = SCHEDULES[name].alpha(torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_requirements_cosine_is_maskgits():
    mask_rate = torch.cos(math.pi / 2 * (1 - T))
    torch.testing.assert_close(1 - SCHEDULES["maskgit_cosine"].alpha(T), mask_rate)


def nelbo_by_quadrature(table, schedule):
    nll, masks = table.masked_nll(), table.masks()
    masked = masks.sum(dim=1)

    def integrand(t, row):
        t = torch.tensor(t, dtype=torch.float64)
        alpha = schedule.alpha(t)
        chance = alpha ** (table.length - masked) * (1 - alpha) ** masked
        return float(schedule.weight(t) * (chance * nll[row]).sum())

    return [quad(integrand, 1e-9, 1 - 1e-12, args=(row,), epsabs=1e-8, limit=200)[0] for row in range(len(nll))]


@pytest.mark.parametrize("name", FULL_RANGE)
def test_nelbo_of_the_oracle_is_the_exact_likelihood_of_every_sequence(name):
    table = JointTable(vocab=3, length=3, seed=1)
    found = torch.tensor(nelbo_by_quadrature(table, SCHEDULES[name]), dtype=torch.float64)
    torch.testing.assert_close(found, -table.p.log(), atol=1e-4, rtol=0)


def test_a_truncated_schedule_understates_the_nelbo():
    table = JointTable(vocab=2, length=2, seed=1)
    found = torch.tensor(nelbo_by_quadrature(table, SCHEDULES["geometric"]), dtype=torch.float64)
    assert (found < -table.p.log() - 1e-4).all()


def test_nelbo_at_fixed_numbers_of_masked_slots_is_the_exact_likelihood():
    table = JointTable(vocab=3, length=4, seed=2)
    nll, masked = table.masked_nll(), table.masks().sum(dim=1)
    mean = torch.stack([nll[:, masked == n].mean(dim=1) for n in range(1, 5)], dim=1)  # (S, L): over subsets of size n
    counts = diffusion.level_counts(4, 4, torch.full((len(nll),), 0.3))
    found = diffusion.nelbo_from_levels(mean.gather(1, counts - 1), counts, 4)
    torch.testing.assert_close(found, -table.p.log(), atol=1e-9, rtol=0)


def test_few_levels_are_unbiased():
    offset = (torch.arange(100_000) + 0.5) / 100_000
    counts = diffusion.level_counts(13, 5, offset)
    share = torch.bincount(counts.flatten(), minlength=14)[1:] / counts.numel()
    torch.testing.assert_close(share, torch.full((13,), 1 / 13), atol=1e-3, rtol=0)


def test_low_discrepancy_times_fill_the_interval_evenly():
    times = diffusion.low_discrepancy_times(64, torch.Generator().manual_seed(0))
    assert (times > 0).all()
    assert (times <= 1).all()
    gaps = times.sort().values.diff()
    torch.testing.assert_close(gaps, torch.full((63,), 1 / 64), atol=1e-5, rtol=0)


def test_exactly_masked_masks_exactly_that_many_everywhere():
    counts = torch.arange(1, 14).repeat(4000)
    masked = diffusion.exactly_masked(counts, torch.rand(len(counts), 13, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(masked.sum(dim=1), counts)
    rate = masked.float().mean(dim=0)  # each slot equally often
    torch.testing.assert_close(rate, torch.full((13,), 7 / 13), atol=0.01, rtol=0)


def test_cross_entropy_is_zero_where_nothing_is_masked():
    logits, x = torch.randn(2, 5, 8), torch.randint(8, (2, 5))
    masked = torch.tensor([[True, False, True, False, False]] * 2)
    nll = diffusion.cross_entropy(logits, x, masked)
    expected = -logits.log_softmax(-1).gather(-1, x[..., None]).squeeze(-1)
    torch.testing.assert_close(nll, torch.where(masked, expected, 0.0))
