import pytest
import torch

from lit_models.diffusion.diffusers_sampler import DiffusersSampler, seeded
from lit_models.diffusion.process import PREDICTION_TYPES, level_path, uniform_path
from lit_models.diffusion.samplers import DDIM, DDPM, DPMSolver, gaussian, single
from lit_models.diffusion.schedules import make_diffusion

from .gaussians import Gaussian, law

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PAIRS = {
    "ddpm": (DDPM(), DiffusersSampler(class_path="diffusers.DDPMScheduler")),
    "ddim": (DDIM(), DiffusersSampler(class_path="diffusers.DDIMScheduler")),
    "ddim1": (DDIM(eta=1.0), DiffusersSampler(class_path="diffusers.DDIMScheduler", step_args={"eta": 1.0})),
    "dpm": (DPMSolver(), DiffusersSampler()),
}


def noise(seed=0):
    return gaussian(torch.Generator().manual_seed(seed))


def network(x, levels):
    return tuple(torch.tanh(v.cumsum(1) + 0.05 * level[..., None]) for v, level in zip(x, levels, strict=True))


@pytest.mark.parametrize("guided", [False, True], ids=["", "guide"])
@pytest.mark.parametrize("clip", [False, True], ids=["", "clip"])
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_it_is_our_sampler_of_the_same_scheduler(name, kind, clip, guided):
    """Two streams with processes of their own, the second one of another schedule and type."""
    ours, theirs = PAIRS[name]
    options = {"clip_sample": clip, "clip_sample_range": 0.7}
    ours, theirs = type(ours)(**vars(ours) | options), type(theirs)(**vars(theirs) | options)
    diffusions = make_diffusion(20, prediction_type=kind), make_diffusion(20, "linear")
    x = tuple(noise()((2, 4, size), torch.float32) for size in (3, 2))
    paths = (uniform_path(20, 10),) * 2
    guide = (lambda x0, x, levels: tuple(0.9 * value + 0.1 for value in x0)) if guided else None
    found = theirs.sample(network, diffusions, x, paths, noise(1), guide)
    expected = ours.sample(network, diffusions, x, paths, gaussian(seeded(noise(1))), guide)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-4, atol=1e-4)
    again = theirs.sample(network, diffusions, x, paths, noise(1), guide)
    assert all(torch.equal(value, other) for value, other in zip(found, again, strict=True))


def test_init_args_change_something():
    diffusion, x, path = make_diffusion(20), (noise()((2, 4, 3), torch.float32),), (uniform_path(20, 10),)
    second, first = (
        DiffusersSampler(init_args=init).sample(network, (diffusion,), x, path, noise())[0]
        for init in ({}, {"solver_order": 1})
    )
    assert not torch.allclose(second, first)
    torch.testing.assert_close(first, DDIM().sample(network, (diffusion,), x, path, noise())[0], rtol=1e-4, atol=1e-4)


def test_unipc_samples_a_correlated_gaussian_within_1_percent_in_20_steps():
    size = 4
    covariance = 0.3 ** (torch.arange(size)[:, None] - torch.arange(size)).abs().double()
    truth = Gaussian(torch.tensor([1.0, -1.0, 2.0, 0.5]).double(), covariance)
    sampler = DiffusersSampler(class_path="diffusers.UniPCMultistepScheduler", init_args={"solver_order": 2})
    mean, found = law(
        sampler, truth, make_diffusion(20, prediction_type="epsilon"), uniform_path(20, 20), start_only=True
    )
    assert (mean - truth.mean).norm() / truth.mean.norm() < 0.01
    assert (found - covariance).norm() / covariance.norm() < 0.01
    assert (found - covariance).abs().max() < 0.01


@pytest.mark.parametrize(
    ("sampler", "path", "message"),
    [
        (DiffusersSampler(), level_path(torch.tensor([0, 20]), torch.zeros(2).long(), 5), "one noise level for all"),
        (DiffusersSampler(), torch.tensor([10, 5, 0]), "from 20 to 0.*take DDPM, DDIM or DPMSolver"),
        (DiffusersSampler(class_path="diffusers.NoScheduler"), uniform_path(20, 5), "no such class"),
        (DiffusersSampler(class_path="DDIMScheduler"), uniform_path(20, 5), "a full path is needed"),
        (
            DiffusersSampler(class_path="diffusers.FlowMatchEulerDiscreteScheduler"),
            uniform_path(20, 5),
            "takes no trained_betas",
        ),
        (DiffusersSampler(init_args={"use_karras_sigmas": True}), uniform_path(20, 5), "between two levels.*Karras"),
        (
            DiffusersSampler(class_path="diffusers.EulerDiscreteScheduler", init_args={"timestep_spacing": "linspace"}),
            uniform_path(20, 7),
            "between two levels.*trailing",
        ),
    ],
    ids=["tokens", "not from noise", "no class", "no module", "flow", "karras", "fractions"],
)
def test_what_a_scheduler_cannot_do_is_refused(sampler, path, message):
    with pytest.raises(ValueError, match=message):
        sampler.sample(single(lambda x, _: x), (make_diffusion(20),), (torch.zeros(1, 2, 3),), (path,), noise())


def test_a_missing_library_is_named():
    sampler = DiffusersSampler(class_path="diffusers_that_nobody_has.DDIMScheduler")
    with pytest.raises(ImportError, match=r"diffusers_that_nobody_has.*pip install diffusers"):
        sampler.scheduler(make_diffusion(20))
