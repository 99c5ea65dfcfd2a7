import pytest
import torch

from lit_models.diffusion.process import PREDICTION_TYPES, TRACE, Diffusion, level_path, make_path, uniform_path
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver, gaussian, single
from lit_models.diffusion.schedules import make_diffusion

from .gaussians import Gaussian, law

SAMPLERS = (DDPM(), DDPM(variance_type="fixed_large"), DDIM(), DDIM(eta=1.0), DPMSolver())
NAMES = ("small", "large", "ddim", "ddim1", "dpm")
STDS = torch.tensor([0.3, 0.7, 1.0, 2.0], dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def correlated(rho, size):
    return rho ** (torch.arange(size)[:, None] - torch.arange(size)).abs().double()


# Analytic truth


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("levels", [20, 1000])
def test_analytic_variance_samples_a_gaussian_exactly_in_20_steps(schedule, levels):
    truth = Gaussian(torch.tensor([1.0, -2.0, 0.5, 3.0]).double(), STDS.square().diag())
    diffusion = truth.measured(make_diffusion(levels, schedule))
    mean, covariance = law(DDPM(variance_type="analytic"), truth, diffusion, uniform_path(levels, 20))
    # what is missing is the signal that the last level keeps
    assert (mean - truth.mean).abs().max() / truth.mean.abs().max() < 0.01
    torch.testing.assert_close(covariance, truth.covariance, rtol=1e-3, atol=1e-9)


def test_fewer_steps_and_any_prediction_leave_it_exact():
    truth = Gaussian(torch.zeros(4).double(), STDS.square().diag())
    for kind in PREDICTION_TYPES:
        diffusion = truth.measured(make_diffusion(20, prediction_type=kind))
        _, covariance = law(DDPM(variance_type="analytic"), truth, diffusion, uniform_path(20, 4))
        torch.testing.assert_close(covariance, truth.covariance, rtol=1e-3, atol=1e-9)


def test_analytic_variance_by_monte_carlo():
    truth = Gaussian(torch.tensor([1.0, -2.0]).double(), torch.tensor([0.25, 4.0]).double().diag())
    diffusion = truth.measured(make_diffusion(20))
    noise, path = gaussian(seeded()), uniform_path(20, 20)
    x = noise((300_000, 1, 2), torch.float64)
    sampler = DDPM(variance_type="analytic")
    (x,) = sampler.sample(single(truth.denoiser(diffusion)), (diffusion,), (x,), (path,), noise)
    assert ((x[:, 0].mean(0) - truth.mean) / truth.mean).abs().max() < 0.01
    assert (x[:, 0].T.cov() / truth.covariance.diagonal().sqrt().outer(truth.covariance.diagonal().sqrt())).sub(
        torch.eye(2)
    ).abs().max() < 0.01


def test_fixed_large_is_right_for_unit_normal_data_and_fixed_small_for_a_point():
    unit = Gaussian(torch.zeros(3).double(), torch.eye(3).double())
    path = uniform_path(20, 20)
    _, covariance = law(DDPM(variance_type="fixed_large"), unit, make_diffusion(20), path)
    torch.testing.assert_close(covariance, unit.covariance, rtol=0, atol=0.01)
    point = Gaussian(torch.tensor([1.0, 2.0, 3.0]).double(), torch.zeros(3, 3).double())
    mean, covariance = law(DDPM(), point, make_diffusion(20), path)
    torch.testing.assert_close(mean, point.mean)
    assert covariance.abs().max() < 1e-12


def test_dpm_solver_samples_weakly_correlated_data_within_1_percent_in_20_steps():
    truth = Gaussian(torch.tensor([1.0, -1.0]).double(), correlated(0.2, 2))
    mean, covariance = law(DPMSolver(), truth, make_diffusion(20), uniform_path(20, 20))
    assert (mean - truth.mean).abs().max() < 0.01
    assert (covariance - truth.covariance).abs().max() < 0.01
    _, coarse = law(DDIM(), truth, make_diffusion(20), uniform_path(20, 20))
    assert (coarse - truth.covariance).abs().max() > 0.05  # first order is not enough


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize("levels", [100, 1000])
@pytest.mark.parametrize("rho", [0.2, 0.5, 0.9])
def test_dpm_solver_on_equal_steps_of_log_snr_samples_a_correlated_gaussian_within_1_percent(schedule, levels, rho):
    truth, diffusion = Gaussian(normal(4, dtype=torch.float64), correlated(rho, 4)), make_diffusion(levels, schedule)
    mean, covariance = law(DPMSolver(), truth, diffusion, make_path(diffusion, 20, "log_snr"))
    assert (mean - truth.mean).abs().max() / truth.mean.norm() < 0.01
    assert (covariance - truth.covariance).abs().max() < 0.01  # of unit variances


def test_twenty_levels_of_scaled_linear_sample_a_correlated_gaussian_within_1_percent():
    for rho in (0.2, 0.5, 0.9):
        truth, diffusion = (
            Gaussian(normal(4, dtype=torch.float64), correlated(rho, 4)),
            make_diffusion(20, "scaled_linear"),
        )
        mean, covariance = law(DPMSolver(), truth, diffusion, uniform_path(20, 20))
        assert (mean - truth.mean).abs().max() / truth.mean.norm() < 0.01
        assert (covariance - truth.covariance).abs().max() < 0.01
        _, other = law(DPMSolver(), truth, make_diffusion(20), uniform_path(20, 20))
        assert (other - truth.covariance).abs().max() > (0.007 if rho < 0.5 else 0.01)  # the cosine does not


@pytest.mark.parametrize(("sampler", "order"), [(DDIM(), 1), (DPMSolver(), 2)], ids=["ddim", "dpm"])
def test_error_falls_with_the_order_of_the_solver(sampler, order):
    truth, diffusion = Gaussian(torch.zeros(4).double(), correlated(0.5, 4)), make_diffusion(1000, "scaled_linear")
    signal_to_noise = diffusion.snr(torch.arange(1, 1001)).log()
    errors = []
    for steps in (10, 20, 40):  # equal steps of log SNR between two levels, where the order shows
        goal = torch.linspace(-5, 5, steps + 1, dtype=torch.float64).flip(0) * -1
        path = (signal_to_noise[None] - goal[:, None]).abs().argmin(dim=1) + 1
        fine = (signal_to_noise[None] - torch.linspace(-5, 5, 400).double()[:, None]).abs().argmin(dim=1) + 1
        exact = law(sampler, truth, diffusion, fine.unique().flip(0))[1]
        errors.append(float((law(sampler, truth, diffusion, path)[1] - exact).norm()))
    assert errors[0] / errors[1] > 0.75 * 2**order
    assert errors[1] / errors[2] > 0.75 * 2**order


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_known_tokens_make_the_rest_conditional(kind):
    """Inpainting with the exact denoiser is the conditional law of a Gaussian."""
    truth = Gaussian(torch.tensor([1.0, -1.0, 0.5]).double(), correlated(0.6, 3))
    values = torch.tensor([0.3, 0.0, -0.8]).double()
    known = torch.tensor([True, False, True])
    gain = truth.covariance[~known][:, known] @ torch.linalg.inv(truth.covariance[known][:, known])
    mean = truth.mean[~known] + gain @ (values - truth.mean)[known]
    spread = truth.covariance[~known][:, ~known] - gain @ truth.covariance[known][:, ~known]
    diffusion = make_diffusion(20, prediction_type=kind)
    of_token = torch.where(known, 0.0, spread[0, 0])
    alpha_bar = diffusion.alpha_bar[:, None, None]
    variance = of_token * (1 - alpha_bar) / (alpha_bar * of_token + 1 - alpha_bar).clamp(min=1e-30)
    path = level_path(torch.where(known, 0, 20), torch.zeros(3, dtype=torch.long), 20)
    diffusion = Diffusion(diffusion.alpha_bar, kind, variance[:, 0, 1:2])
    found, covariance = law(DDPM(variance_type="analytic"), truth, diffusion, path, values, tokens=True)
    assert torch.equal(found[known], values[known])
    torch.testing.assert_close(found[~known], mean, rtol=0.01, atol=0)
    torch.testing.assert_close(covariance[~known][:, ~known], spread, rtol=0.01, atol=0)
    assert (covariance[known] == 0).all()


# Levels


@pytest.mark.parametrize("clip", [False, True], ids=["", "clip"])
@pytest.mark.parametrize("guided", [False, True], ids=["", "guide"])
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("sampler", [DDPM, DDIM, DPMSolver])
def test_known_tokens_stay_bit_for_bit(sampler, kind, guided, clip):
    diffusion = make_diffusion(20, prediction_type=kind)
    x, noise = (3 * normal(2, 6, 3), 3 * normal(2, 6, 2, seed=1)), gaussian(seeded(2))
    ends = torch.zeros(6, dtype=torch.long)
    starts = torch.tensor([0, 0, 0, 20, 20, 20]), torch.tensor([0, 20, 0, 12, 20, 0])
    paths = tuple(level_path(start, ends, 7) for start in starts)

    def garbage(x, levels):
        assert all((v[:, s == 0] == start[:, s == 0]).all() for v, s, start in zip(x, starts, first, strict=True))
        return tuple(noise(value.shape, value.dtype) * 100 for value in x)

    def guide(x0, x, levels):
        assert all(torch.equal(h[:, s == 0], v[:, s == 0]) for h, v, s in zip(x0, x, starts, strict=True))
        return tuple(value + torch.inf for value in x0)

    first = x
    found = sampler(clip_sample=clip).sample(
        garbage, (diffusion, diffusion), x, paths, noise, guide if guided else None
    )
    for value, before, start in zip(found, x, starts, strict=True):
        assert torch.equal(value[:, start == 0], before[:, start == 0])
        assert (value[:, start > 0] != before[:, start > 0]).all()
        assert not clip or (value[:, start > 0].abs() <= 1).all()


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_each_token_goes_its_own_way(sampler):
    """Tokens that do not see each other end where each would end alone."""
    diffusion = make_diffusion(20, prediction_type="epsilon")
    starts, stops = torch.tensor([20, 13, 6, 20]), torch.tensor([0, 0, 6, 5])
    x, drawn = normal(2, 4, 3, dtype=torch.float64), normal(2, 4, 3, seed=1, dtype=torch.float64)

    def run(tokens):
        path = level_path(starts, stops, 9)[:, tokens]
        network = single(lambda x, levels: torch.tanh(x + 0.1 * levels[..., None]))
        return sampler.sample(network, (diffusion,), (x[:, tokens],), (path,), lambda *_: drawn[:, tokens])[0]

    together = run([0, 1, 2, 3])
    assert torch.equal(together[:, 2], x[:, 2])
    for token in range(4):
        torch.testing.assert_close(together[:, [token]], run([token]), rtol=1e-12, atol=1e-12)


def test_the_network_is_told_each_level():
    seen = []
    path = level_path(torch.tensor([0, 10, 20]), torch.zeros(3, dtype=torch.long), 5)
    network = single(lambda x, levels: seen.append(levels) or x)
    DDIM().sample(network, (make_diffusion(20),), (normal(2, 3, 1),), (path,), gaussian(seeded()))
    assert torch.equal(torch.stack(seen), path[:-1, None].expand(5, 2, 3))


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
@pytest.mark.parametrize("steps", [4, 10, 20])
def test_uniform_paths_are_the_timesteps_of_diffusers(spacing, steps):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(100, timestep_spacing=spacing)
    theirs.set_timesteps(steps)
    assert uniform_path(100, steps, spacing).tolist() == [*(theirs.timesteps + 1).tolist(), 0]


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
@pytest.mark.parametrize(("levels", "steps"), [(1000, 20), (1000, 3), (50, 20), (20, 20), (20, 19), (20, 1)])
def test_log_snr_takes_equal_steps_where_there_are_levels(schedule, levels, steps):
    diffusion = make_diffusion(levels, schedule)
    path = make_path(diffusion, steps, "log_snr")
    assert path.shape == (steps + 1,)
    assert path[0] == levels
    assert path[-1] == 0
    assert (path.diff() < 0).all()
    if levels == 1000:
        step = diffusion.snr(path[1:-1]).log().diff()
        assert step.max() - step.min() < 0.2 * step.mean()
        assert 1 - diffusion.alpha_bar[path[-2]] == pytest.approx(TRACE, rel=0.1)


@pytest.mark.parametrize("spacing", ["trailing", "linspace", "leading"])
def test_other_spacings_are_those_of_uniform_paths(spacing):
    assert torch.equal(make_path(make_diffusion(100), 7, spacing), uniform_path(100, 7, spacing))


def test_paths_take_equal_steps():
    path = level_path(torch.tensor([20, 7, 0]), torch.tensor([0, 3, 0]), 4)
    assert path.tolist() == [[20, 7, 0], [15, 6, 0], [10, 5, 0], [5, 4, 0], [0, 3, 0]]


# Randomness


@pytest.mark.parametrize("sampler", SAMPLERS, ids=NAMES)
def test_a_sample_is_a_function_of_its_noise(sampler):
    diffusion, path = make_diffusion(20), uniform_path(20, 20)

    def run(seed):
        x = (normal(2, 3, 2),)
        return sampler.sample(single(lambda x, _: x.sin()), (diffusion,), x, (path,), gaussian(seeded(seed)))[0]

    state = torch.get_rng_state()
    assert torch.equal(run(5), run(5))
    assert torch.equal(run(5), run(6)) == (sampler in (DDIM(), DPMSolver()))
    assert torch.equal(state, torch.get_rng_state())


# Bad input


@pytest.mark.parametrize(
    ("sampler", "change", "message"),
    [
        (DDPM(variance_type="learned"), {}, "variance_type='learned'.*analytic"),
        (DDPM(variance_type="analytic"), {}, "analytic.*x0_variance"),
        (DDIM(eta=2.0), {}, r"eta=2\.0"),
        (DDIM(), {"paths": (torch.tensor([5, 6]),)}, "rises"),
        (DDIM(), {"paths": (torch.tensor([21, 0]),)}, "from 21 to 0.*num_train_timesteps=20"),
        (DDIM(), {"paths": (torch.tensor([1, 0]),) * 2}, "1 processes, 1 streams"),
    ],
)
def test_bad_settings_are_refused(sampler, change, message):
    arguments = {"x": (normal(1, 2, 1),), "paths": (uniform_path(20, 5),)} | change
    with pytest.raises(ValueError, match=message):
        sampler.sample(single(lambda x, _: x), (make_diffusion(20),), **arguments, noise=gaussian(seeded()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform_path(20, 21), "num_inference_steps=21"),
        (lambda: uniform_path(20, 5, "karras"), "timestep_spacing='karras'.*leading"),
        (lambda: make_path(make_diffusion(20), 21, "log_snr"), "num_inference_steps=21"),
        (lambda: level_path(torch.tensor(3), torch.tensor(4), 2), "rises"),
        (lambda: level_path(torch.tensor(3), torch.tensor(0), 0), "num_inference_steps=0"),
    ],
)
def test_bad_paths_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
