import pytest
import torch

from lit_models.diffusion.diffusers_sampler import DiffusersSampler
from lit_models.diffusion.guidance import Guidance, GuidanceSettings
from lit_models.diffusion.process import PREDICTION_TYPES, Diffusion, level_path, uniform_path
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver, classifier_free, gaussian
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.costs import Sum

from .gaussians import Gaussian, law

PATH = uniform_path(20, 20)
MEAN = torch.tensor([1.0, -2.0, 0.5]).double()
MEASURED = torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, -1.0]]).double()  # two directions
GOALS, WEIGHTS = torch.tensor([3.0, 1.0]).double(), torch.tensor([4.0, 0.5]).double()


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def correlated(rho, size):
    return rho ** (torch.arange(size)[:, None] - torch.arange(size)).abs().double()


def quadratic(states, actions):
    """1/2 sum w (A x - g)^2 of all entries of a sample."""
    error = states.flatten(1) @ MEASURED.T.to(states) - GOALS.to(states)
    return (WEIGHTS.to(states) * error.square()).sum(dim=1) / 2


def posterior(truth, strength=1.0):
    """Of exp(-strength quadratic) on a Gaussian: mean and covariance."""
    precision = torch.linalg.inv(truth.covariance)
    weighted = strength * MEASURED.T * WEIGHTS
    covariance = torch.linalg.inv(precision + weighted @ MEASURED)
    return covariance @ (precision @ truth.mean + weighted @ GOALS), covariance


def guidance(**settings):
    return Guidance(quadratic, GuidanceSettings(**settings))


# Closed form


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("sampler", [DDIM(), DPMSolver()], ids=["ddim", "dpm"])
@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_a_quadratic_cost_on_a_gaussian_gives_the_posterior(gradient, sampler, strength):
    covariance = torch.tensor([0.25, 1.0, 2.0]).double().diag() if gradient == "x0" else correlated(0.7, 3)
    truth = Gaussian(MEAN, covariance)
    diffusion = truth.measured(make_diffusion(20))
    mean, spread = posterior(truth, strength)
    steered = guidance(gradient=gradient, strength=strength, inner_steps=2)
    found, around = law(sampler, truth, diffusion, PATH, tokens=gradient == "model", guidance=steered)
    assert (found - mean).norm() / mean.norm() < 0.02
    assert (mean - truth.mean).norm() / mean.norm() > 0.2  # there was a way to go
    assert (around - spread).norm() / spread.norm() < (0.3 if isinstance(sampler, DDIM) else 0.1)


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_without_a_measured_variance_unit_normal_data_is_exact(gradient):
    truth = Gaussian(torch.zeros(3).double(), torch.eye(3).double())
    mean, _ = posterior(truth)
    steered = guidance(gradient=gradient, inner_steps=2)
    found, _ = law(DPMSolver(), truth, make_diffusion(20), PATH, guidance=steered)
    torch.testing.assert_close(found, mean, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_known_tokens_and_what_is_predicted_do_not_matter(kind):
    """A known token conditions the rest through the model, and the cost knows its value."""
    truth = Gaussian(MEAN, correlated(0.7, 3))
    known, values = torch.tensor([True, False, False]), torch.tensor([0.4, 0.0, 0.0]).double()
    mean, covariance = posterior(truth)
    gain = covariance[1:, :1] / covariance[0, 0]
    expected = mean[1:] + gain[:, 0] * (values[0] - mean[0])
    path = level_path(torch.where(known, 0, 20), torch.zeros(3, dtype=torch.long), 20)
    steered = guidance(gradient="model", inner_steps=2)
    diffusion = make_diffusion(20, prediction_type=kind)
    found, _ = law(DPMSolver(), truth, diffusion, path, values, tokens=True, guidance=steered)
    assert found[0] == values[0]
    torch.testing.assert_close(found[1:], expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_a_weak_cost_moves_by_the_variance_times_its_gradient(gradient):
    truth, diffusion = Gaussian(MEAN, correlated(0.7, 3)), make_diffusion(20)
    x, level = normal(2, 3, 1, dtype=torch.float64), torch.full((2, 3), 12)
    (x0,), moved = one_step(guidance(gradient=gradient, strength=1e-6), truth, diffusion, x, level)
    kept = diffusion.alpha_bar[12]
    covariance = (
        truth.covariance
        - kept
        * truth.covariance
        @ torch.linalg.inv(kept * truth.covariance + (1 - kept) * torch.eye(3))
        @ truth.covariance
    )
    variance = covariance if gradient == "model" else (1 - kept) * torch.eye(3).double()
    slope = (x0.flatten(1) @ MEASURED.T - GOALS) * WEIGHTS @ MEASURED
    torch.testing.assert_close((moved[0] - x0).flatten(1), -1e-6 * slope @ variance, rtol=1e-4, atol=0)


def one_step(steered, truth, diffusion, x, level):
    denoise, guide = steered.attach(
        lambda x, levels: (truth.denoiser(diffusion)(x[0], levels[0]),),
        (diffusion,),
        lambda streams: (streams[0], streams[0]),
    )
    (prediction,) = denoise((x,), (level,))
    x0 = (diffusion.to_x0(prediction, x, level),)
    return x0, guide(x0, (x,), (level,))


# Two streams and a network


def network(x, levels):
    """Each token sees all tokens of both streams."""
    told = sum((v + 0.01 * level[..., None]).mean(dim=1, keepdim=True) for v, level in zip(x, levels, strict=True))
    return tuple(0.9 * v + 0.1 * torch.tanh(told + v) for v in x)


def physical(streams):
    states, actions = streams
    return 2 * states + 1, 3 * actions


def plan(sampler=None, cost=None, batch=2, seed=0, **settings):
    """Plans of 6 steps, 2 known, with the start and the paths; without settings there is no guide."""
    diffusions = make_diffusion(20), make_diffusion(20, "linear", "epsilon")
    starts = torch.tensor([0, 0, 0, 20, 20, 20]), torch.tensor([0, 0, 20, 20, 20, 20])
    paths = tuple(level_path(start, torch.zeros(6, dtype=torch.long), 10) for start in starts)
    noise = gaussian(torch.Generator().manual_seed(seed))
    x = tuple(noise((2, 6, size), torch.float32)[:batch] for size in (3, 3))
    denoise, guide = network, None
    if settings:
        cost = cost or (lambda states, actions: (states[..., 0] - 4).square().sum(dim=1))
        denoise, guide = Guidance(cost, GuidanceSettings(**settings)).attach(network, diffusions, physical)
    found = (sampler or DDIM()).sample(denoise, diffusions, x, paths, noise, guide)
    return x, found


def differ(a, b):
    return max(float((u - v).abs().max()) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("gradient", ["x0", "model"])
@pytest.mark.parametrize("sampler", [DDPM(), DDIM(), DPMSolver()], ids=["ddpm", "ddim", "dpm"])
def test_known_tokens_are_untouched_and_the_rest_obeys(sampler, gradient):
    x, found = plan(sampler, gradient=gradient, strength=5.0, inner_steps=2)
    _, free = plan(sampler)
    for value, start, known in zip(found, x, (3, 2), strict=True):
        assert torch.equal(value[:, :known], start[:, :known])
    errors = [(physical(plans)[0][:, 3:, 0] - 4).square().mean() for plans in (found, free)]
    assert errors[0] < 0.25 * errors[1]


@pytest.mark.parametrize("gradient", ["x0", "model"])
@pytest.mark.parametrize("sampler", [DDPM(), DDIM(), DPMSolver()], ids=["ddpm", "ddim", "dpm"])
def test_strength_0_is_no_guide_bit_for_bit(sampler, gradient):
    def never(states, actions):
        raise AssertionError

    _, found = plan(sampler, never, strength=0.0, gradient=gradient)
    assert differ(found, plan(sampler)[1]) == 0


def test_a_cost_of_states_moves_actions_through_the_model_alone():
    found = {}
    for gradient in ("x0", "model"):
        diffusions = make_diffusion(20), make_diffusion(20)
        steered = Guidance(lambda states, actions: states[..., 0].square().sum(1), GuidanceSettings(gradient=gradient))
        denoise, guide = steered.attach(network, diffusions, physical)
        x, levels = (normal(1, 4, 3), normal(1, 4, 3, seed=1)), (torch.full((1, 4), 9),) * 2
        before = denoise(x, levels)
        found[gradient] = differ(before[1:], guide(before, x, levels)[1:])
    assert found["x0"] == 0
    assert found["model"] > 1e-3


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_what_a_cost_says_of_known_tokens_moves_nothing(gradient):
    def cost(first):
        return lambda states, actions: (states[:, first:] - 4).square().sum(dim=(1, 2))

    assert differ(plan(cost=cost(0), gradient=gradient)[1], plan(cost=cost(3), gradient=gradient)[1]) < 1e-6


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_samples_of_a_batch_do_not_know_each_other(gradient):
    _, both = plan(gradient=gradient, inner_steps=3)
    _, alone = plan(gradient=gradient, inner_steps=3, batch=1)
    assert differ((value[:1] for value in both), alone) < 1e-5


@pytest.mark.parametrize(
    "change",
    [
        {"strength": 0.3},
        {"gradient": "model"},
        {"inner_steps": 3},
        {"schedule": "linear"},
        {"schedule": "cosine"},
        {"start": 0.6},
        {"stop": 0.4},
        {"max_move": 0.2},
    ],
    ids=lambda change: "-".join(f"{key}={value}" for key, value in change.items()),
)
def test_each_setting_changes_something(change):
    def barrier(states, actions):
        return (-states[..., 0]).exp().sum(dim=1) + (states[..., 1] - 3).square().sum(dim=1)

    assert differ(plan(cost=barrier, strength=1.0)[1], plan(cost=barrier, **{"strength": 1.0} | change)[1]) > 1e-3


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_a_move_keeps_its_limit_and_its_direction(gradient):
    truth, diffusion = Gaussian(MEAN, correlated(0.7, 3)), make_diffusion(20)
    x, level = normal(2, 3, 1, dtype=torch.float64), torch.full((2, 3), 18)
    moves = []
    for limit in (None, 0.05, 100.0):
        x0, moved = one_step(guidance(gradient=gradient, max_move=limit), truth, diffusion, x, level)
        moves.append(moved[0] - x0[0])
    free, limited, far = moves
    torch.testing.assert_close(limited.abs().flatten(1).amax(dim=1), torch.full((2,), 0.05).double())
    torch.testing.assert_close(limited / limited.norm(dim=1, keepdim=True), free / free.norm(dim=1, keepdim=True))
    torch.testing.assert_close(far, free)


def test_weights_follow_schedule_and_window():
    share = torch.arange(21).double() / 20
    noisy = share > 0
    assert torch.equal(GuidanceSettings(strength=3.0).weights(20), 3.0 * noisy)
    torch.testing.assert_close(GuidanceSettings(schedule="linear").weights(20), share)
    torch.testing.assert_close(GuidanceSettings(schedule="cosine").weights(20), (1 - (share * torch.pi).cos()) / 2)
    window = GuidanceSettings(start=0.75, stop=0.25).weights(20)
    assert window.nonzero().flatten().tolist() == list(range(5, 16))


def test_more_inner_steps_come_closer_to_the_minimum():
    """The objective of the module's docstring, for a cost that is no parabola."""
    diffusion, level = make_diffusion(20), torch.full((1, 5), 12)
    x0 = normal(1, 5, 3, dtype=torch.float64)
    variance = 1 - diffusion.alpha_bar[12]

    def cost(states, actions):
        return (0.5 * states - 1).square().square().sum(dim=(1, 2)) + states.sum(dim=2).exp().sum(dim=1)

    def objective(steps):
        settings = GuidanceSettings(inner_steps=steps)
        _, guide = Guidance(cost, settings).attach(network, (diffusion,), lambda s: (s[0], s[0]))
        (moved,) = guide((x0,), (x0,), (level,))
        return float((moved - x0).square().sum() / (2 * variance) + cost(moved, moved))

    values = [objective(steps) for steps in (1, 2, 4, 12, 40)]
    assert values[0] < float(cost(x0, x0))
    assert values == sorted(values, reverse=True)
    assert values[3] - values[4] < 1e-6


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_it_works_where_no_gradients_are_kept(gradient):
    expected = plan(gradient=gradient)[1]
    with torch.inference_mode():
        assert differ(expected, plan(gradient=gradient)[1]) == 0
    assert not any(value.requires_grad for value in expected)


@pytest.mark.parametrize("gradient", ["x0", "model"])
def test_a_scheduler_of_diffusers_is_guided_alike(gradient):
    pytest.importorskip("diffusers")
    diffusions, x = (make_diffusion(20), make_diffusion(20)), (normal(2, 4, 3), normal(2, 4, 3, seed=1))
    ends = []
    for sampler in (DDIM(), DiffusersSampler(class_path="diffusers.DDIMScheduler")):
        steered = Guidance(lambda s, a: (s[..., 0] - 4).square().sum(1), GuidanceSettings(gradient=gradient))
        denoise, guide = steered.attach(network, diffusions, physical)
        noise = gaussian(torch.Generator().manual_seed(0))
        ends.append(sampler.sample(denoise, diffusions, x, (PATH, PATH), noise, guide))
    assert differ(*ends) < 1e-3


# Bad costs and settings


def rooted(states, actions):
    """The root of a distance that is 0."""
    return (states[..., 0] - states[..., 0].detach()).abs().sqrt().sum(dim=1)


def fine(states, actions):
    return actions.square().sum(dim=(1, 2))


@pytest.mark.parametrize("gradient", ["x0", "model"])
@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (Sum((fine, rooted)), "the cost rooted has a gradient that is not finite, first in sample 0"),
        (lambda s, a: s.square().sum(), r"lambda.*gave \(\)"),
        (lambda s, a: s.detach().sum(dim=(1, 2)), r"lambda.*gave \(2,\) detached"),
    ],
    ids=["nan", "shape", "detached"],
)
def test_bad_costs_are_refused(cost, message, gradient):
    with pytest.raises(ValueError, match=message):
        plan(cost=cost, gradient=gradient)


def test_a_model_that_says_nan_is_not_blamed_on_the_cost():
    _, guide = Guidance(fine).attach(network, (make_diffusion(20),) * 2, physical)
    x = (torch.full((1, 2, 3), torch.nan),) * 2
    with pytest.raises(ValueError, match="the model's x_0-hat is not finite"):
        guide(x, x, (torch.full((1, 2), 9),) * 2)


def test_a_bad_gradient_is_named_with_the_first_sample_that_has_it():
    broken = torch.tensor([1.0, 1.0, torch.nan, torch.nan, 1.0])[:, None, None]
    _, guide = Guidance(lambda s, a: (s * broken).sum(dim=(1, 2))).attach(network, (make_diffusion(20),) * 2, physical)
    x = (torch.zeros(5, 2, 3),) * 2
    with pytest.raises(ValueError, match="first in sample 2"):
        guide(x, x, (torch.full((5, 2), 9),) * 2)


def test_a_guide_through_the_model_needs_its_denoiser():
    _, guide = guidance(gradient="model").attach(network, (make_diffusion(20),), lambda s: (s[0], s[0]))
    x = (torch.zeros(1, 3, 1),)
    with pytest.raises(RuntimeError, match="the denoiser that attach returned"):
        guide(x, x, (torch.full((1, 3), 9),))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gradient": "score"}, "gradient='score'.*model"),
        ({"schedule": "quadratic"}, "schedule='quadratic'.*cosine"),
        ({"strength": -1.0}, "strength=-1"),
        ({"strength": float("nan")}, "strength=nan"),
        ({"inner_steps": 0}, "inner_steps=0"),
        ({"start": 0.2, "stop": 0.5}, "start=0.2, stop=0.5"),
        ({"max_move": 0.0}, "max_move=0"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GuidanceSettings(**settings)


# Classifier-free


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_classifier_free_guidance_extrapolates_x0_from_one_doubled_batch(kind):
    diffusion, level, calls = make_diffusion(20, prediction_type=kind), torch.tensor([[4, 9], [20, 1]]), []
    x = normal(2, 2, 3, dtype=torch.float64)
    condition, empty = normal(2, 3, seed=1, dtype=torch.float64), torch.zeros(1, 3).double()

    def denoise(x, levels, condition):
        calls.append(len(x[0]))
        x0 = x[0].tanh() + condition[:, None]
        return (diffusion.convert(x0, x[0], levels[0], "sample", kind),)

    for scale in (0.0, 1.0, 2.5):
        (prediction,) = classifier_free(denoise, condition, empty, scale)((x,), (level,))
        x0 = diffusion.to_x0(prediction, x, level)
        torch.testing.assert_close(x0, x.tanh() + scale * condition[:, None])
    assert calls == [4, 4, 4]


def test_measured_variance_is_what_the_gradient_at_x0_uses():
    truth, diffusion = Gaussian(MEAN, torch.eye(3).double()), make_diffusion(20)
    wide = Diffusion(diffusion.alpha_bar, "sample", 5 * (1 - diffusion.alpha_bar)[:, None].expand(-1, 3))
    x, level = normal(1, 1, 3, dtype=torch.float64), torch.full((1, 1), 9)
    moves = []
    for process in (diffusion, wide):
        x0, moved = one_step(guidance(strength=1e-6), truth, process, x, level)
        moves.append(moved[0] - x0[0])
    torch.testing.assert_close(moves[1], 5 * moves[0], rtol=1e-3, atol=0)
