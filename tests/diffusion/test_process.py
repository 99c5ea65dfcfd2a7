import math
import warnings

import pytest
import torch

from lit_models.diffusion.process import PREDICTION_TYPES, Diffusion, uniform_path
from lit_models.diffusion.schedules import BETA_SCHEDULES, make_betas, make_diffusion

STEPS = (10, 20, 50, 1000)
KINDS = [(a, b) for a in PREDICTION_TYPES for b in PREDICTION_TYPES]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("rescale", [True, False])
def test_betas_are_those_of_diffusers(schedule, steps, rescale):
    diffusers = pytest.importorskip("diffusers")
    scale = 1000 / steps if rescale else 1.0
    betas = make_betas(schedule, steps, 1e-4, 0.02, rescale)
    theirs = diffusers.DDPMScheduler(steps, 1e-4 * scale, 0.02 * scale, schedule).betas
    theirs = theirs.clamp(max=0.999)  # theirs passes 1 with 10 linear steps, and alpha_bar would change its sign
    torch.testing.assert_close(betas.float(), theirs, rtol=1e-6, atol=1e-6)


def test_noise_of_many_small_steps_is_that_of_one_jump():
    diffusion = make_diffusion(20, "linear")
    mean, variance = torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)
    for level, beta in enumerate(diffusion.betas, start=1):
        mean, variance = mean * (1 - beta).sqrt(), variance * (1 - beta) + beta
        signal, sigma = diffusion.scales(torch.tensor(level), torch.float64)
        torch.testing.assert_close(torch.stack([mean, variance]), torch.cat([signal, sigma**2]))


def test_renoising_reaches_the_law_of_the_jump_and_ends_at_noise_alone():
    diffusion = make_diffusion(20)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    low, high, top = torch.tensor(3), torch.tensor(9), torch.tensor(20)
    (s_low, n_low), (s_high, n_high) = diffusion.scales(low, torch.float64), diffusion.scales(high, torch.float64)
    kept, added = diffusion.renoise(one, zero, low, high), diffusion.renoise(zero, one, low, high)
    torch.testing.assert_close(kept * s_low, s_high)
    torch.testing.assert_close((kept * n_low) ** 2 + added**2, n_high**2)
    assert diffusion.renoise(7 * one, one, low, top) == one
    x = normal(50, 1)
    assert torch.equal(diffusion.renoise(x, normal(50, 1, seed=1), low, low), x)
    assert torch.equal(diffusion.renoise(x, normal(50, 1, seed=1), top, top), x)
    with pytest.raises(ValueError, match="raises levels"):
        diffusion.renoise(one, one, high, low)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_level_0_is_clean_bit_for_bit(prediction_type):
    diffusion = make_diffusion(20, "sigmoid", prediction_type)
    x0, noise = normal(4, 6, 3, dtype=torch.float32), normal(4, 6, 3, seed=1, dtype=torch.float32)
    levels = diffusion.draw_levels((4, 6), torch.Generator().manual_seed(0))
    levels[:, :2] = 0
    x = diffusion.add_noise(x0, noise, levels)
    assert torch.equal(x[:, :2], x0[:, :2])
    assert not torch.isclose(x[levels > 0], x0[levels > 0]).all(dim=-1).any()
    mean, variance = diffusion.posterior(x, x0, levels)
    assert torch.equal(mean[:, :2], x0[:, :2])
    assert (variance[levels <= 1] == 0).all()
    assert (variance[levels > 1] > 0).all()


@pytest.mark.parametrize("shape", [(4, 6), (4, 1), (6,), ()])
def test_levels_of_any_shape_that_broadcasts(shape):
    diffusion = make_diffusion(20, prediction_type="v_prediction")
    levels = torch.randint(0, 21, shape, generator=torch.Generator().manual_seed(2))
    x0, noise = normal(4, 6, 3), normal(4, 6, 3, seed=1)
    x = diffusion.add_noise(x0, noise, levels)
    for b in range(4):
        for t in range(6):
            level = levels.expand(4, 6)[b, t]
            torch.testing.assert_close(x[b, t], diffusion.add_noise(x0[b, t], noise[b, t], level))
    torch.testing.assert_close(diffusion.to_x0(diffusion.target(x0, noise, levels), x, levels), x0)


@pytest.mark.parametrize("schedule", BETA_SCHEDULES)
@pytest.mark.parametrize(("source", "to"), KINDS)
def test_x0_epsilon_and_v_turn_into_each_other(schedule, source, to):
    diffusion = make_diffusion(50, schedule)
    x0, noise = normal(51, 3), normal(51, 3, seed=1)
    levels = torch.arange(51)
    x = diffusion.add_noise(x0, noise, levels)
    truth = {kind: Diffusion(diffusion.alpha_bar, kind).target(x0, noise, levels) for kind in PREDICTION_TYPES}
    found = diffusion.convert(truth[source], x, levels, source, to)
    known = levels > 0 if source == "sample" and to != "sample" else levels >= 0
    torch.testing.assert_close(found[known], truth[to][known], rtol=1e-6, atol=1e-6)
    assert (found[~known] == 0).all()


@pytest.mark.parametrize("to", [None, 3])
def test_posterior_follows_from_bayes(to):
    """q(x_to | x_k, x_0) by conditioning the joint Gaussian of (x_to, x_k) given x_0."""
    diffusion = make_diffusion(20, "scaled_linear")
    level, target = torch.tensor(9), torch.tensor(8 if to is None else to)
    here, there = diffusion.alpha_bar[level], diffusion.alpha_bar[target]
    x, x0 = normal(5, 2), normal(5, 2, seed=1)
    covariance = (here / there).sqrt() * (1 - there)
    mean = there.sqrt() * x0 + covariance / (1 - here) * (x - here.sqrt() * x0)
    found, variance = diffusion.posterior(x, x0, level, None if to is None else target)
    torch.testing.assert_close(found, mean)
    torch.testing.assert_close(variance, (1 - there - covariance**2 / (1 - here))[None])


@pytest.mark.parametrize("weighting", ["snr", "min_snr"])
def test_a_weight_means_the_same_loss_whatever_is_predicted(weighting):
    """The same error of x_0, written as an error of epsilon or of v, must cost the same."""
    levels = torch.arange(1, 51)
    x0, noise, error = normal(50, 3), normal(50, 3, seed=1), normal(50, 3, seed=2)
    losses = []
    for kind in PREDICTION_TYPES:
        diffusion = make_diffusion(50, prediction_type=kind)
        x = diffusion.add_noise(x0, noise, levels)
        wrong = diffusion.convert(x0 + error, x, levels, "sample", kind)
        square = (wrong - diffusion.target(x0, noise, levels)).square().sum(dim=-1)
        losses.append(diffusion.loss_weight(levels, weighting, 5.0) * square)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-4, atol=0)
    snr = diffusion.snr(levels)
    weight = snr if weighting == "snr" else snr.clamp(max=5)
    torch.testing.assert_close(losses[1], weight * error.square().sum(dim=-1), rtol=1e-4, atol=0)


def test_min_snr_equals_the_snr_of_diffusers_cut_at_gamma():
    utils = pytest.importorskip("diffusers.training_utils")
    diffusers = pytest.importorskip("diffusers")
    levels = torch.arange(1, 21)
    for kind in PREDICTION_TYPES:
        diffusion = make_diffusion(20, prediction_type=kind)
        snr = utils.compute_snr(diffusers.DDPMScheduler(20, trained_betas=diffusion.betas.tolist()), levels - 1)
        cut = snr.clamp(max=5)
        expected = {"sample": cut, "epsilon": cut / snr, "v_prediction": cut / (snr + 1)}[kind]
        torch.testing.assert_close(diffusion.loss_weight(levels, "min_snr"), expected, rtol=1e-4, atol=1e-6)
        assert (diffusion.loss_weight(levels, "uniform") == 1).all()
        clean = torch.zeros(3, dtype=torch.long)
        assert all((diffusion.loss_weight(clean, w) == 0).all() for w in ("uniform", "snr", "min_snr"))


def test_levels_are_uniform_independent_and_a_function_of_the_generator():
    diffusion = make_diffusion(20)
    draw = diffusion.draw_levels((2000, 6), torch.Generator().manual_seed(3))
    again = diffusion.draw_levels((2000, 6), torch.Generator().manual_seed(3))
    assert torch.equal(draw, again)
    counts = torch.bincount(draw.flatten(), minlength=21).double()
    assert ((counts - 12000 / 21) ** 2 / (12000 / 21)).sum() < 45.3  # chi-square, 20 degrees of freedom, 0.1 %
    correlation = torch.corrcoef(draw.T.double()) - torch.eye(6)
    assert correlation.abs().max() < 4 / math.sqrt(2000)
    assert diffusion.draw_levels((5000,), torch.Generator().manual_seed(3), low=1).min() == 1


def test_a_schedule_that_never_reaches_noise_warns():
    with pytest.warns(UserWarning, match=r"alpha_bar=0\.8.*rescale_betas=true"):
        make_diffusion(20, "linear", rescale_betas=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for schedule in BETA_SCHEDULES:
            for steps in STEPS:
                assert 0 < make_diffusion(steps, schedule).alpha_bar[-1] <= 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_schedule": "cosine"}, "beta_schedule='cosine'.*squaredcos_cap_v2"),
        ({"prediction_type": "x0"}, "prediction_type='x0'.*sample"),
        ({"num_train_timesteps": 0}, "num_train_timesteps=0"),
        ({"beta_start": 0.03}, "beta_start=0.03"),
    ],
)
def test_bad_settings_say_what_to_write(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_diffusion(**arguments)


def test_bad_weights_say_what_to_write():
    diffusion = make_diffusion(20)
    with pytest.raises(ValueError, match=r"loss_weighting='p2'.*min_snr"):
        diffusion.loss_weight(torch.tensor(1), "p2")
    with pytest.raises(ValueError, match="snr_gamma=0"):
        diffusion.loss_weight(torch.tensor(1), "min_snr", 0)


@pytest.mark.parametrize("steps", [0, 11])
@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
def test_a_path_has_one_to_all_levels(steps, spacing):
    with pytest.raises(ValueError, match=f"num_inference_steps={steps}: 1 to"):
        uniform_path(10, steps, spacing)
