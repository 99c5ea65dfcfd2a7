import pytest
import torch

from lit_models.diffusion.process import Diffusion
from lit_models.diffusion.rolling import Rolling, make_rolling, ramp
from lit_models.diffusion.samplers import DDIM, DDPM, gaussian, single
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.objective import known_tokens

TOP = 20


def rolling(diffusion, horizon=8, history=2, steps=3, shift_by=1):
    rest, stop = ramp(TOP, horizon, history, shift_by)
    return Rolling((diffusion,), (rest,), (stop,), steps, shift_by)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("horizon", "by"), [(1, 1), (8, 1), (16, 1), (50, 1), (8, 3), (16, 2), (5, 4)])
def test_a_ramp_lifts_no_token_and_hands_out_clean_ones(horizon, by):
    rest, stop = ramp(TOP, horizon, 3, by)
    assert (rest[:3] == 0).all()
    assert torch.equal(stop[by:], rest[:-by])
    assert (stop[3 : 3 + by] == 0).all()
    assert (rest[-by:] == TOP).all()
    assert (rest.diff() >= 0).all()
    x = normal(2, 3 + horizon, 4)
    ticks = rolling(make_diffusion(TOP), horizon, 3, shift_by=by)
    (moved,) = ticks.shift((x,), gaussian(torch.Generator().manual_seed(1)))
    assert torch.equal(moved[:, :-by], x[:, by:])
    assert (moved[:, -by:] != x[:, -by:]).all()


def test_paths_run_from_rest_to_stop_and_the_first_from_noise():
    ticks = rolling(make_diffusion(TOP))
    (path,), (first,) = ticks.paths(), ticks.first_paths(TOP)
    assert torch.equal(path[0], ticks.rest[0])
    assert torch.equal(path[-1], ticks.stop[0])
    assert path.shape == (4, 10)
    assert (first[0, :2] == 0).all()
    assert (first[0, 2:] == TOP).all()
    assert torch.equal(first[-1], ticks.stop[0])


@pytest.mark.parametrize("by", [1, 2])
def test_every_token_that_comes_out_follows_the_law_of_the_data(by):
    """Tokens of a Gaussian, with the exact denoiser and variance, over 12 ticks: a linear map taken at a basis."""
    deviation, mean = 0.5, 2.0
    process = make_diffusion(TOP)
    kept = process.alpha_bar[:, None]
    law = deviation**2 * (1 - kept) / (kept * deviation**2 + 1 - kept)
    diffusion = Diffusion(process.alpha_bar, "sample", law)

    def denoise(x, levels):
        signal, sigma = diffusion.scales(levels, torch.float64)
        return mean + signal * deviation**2 / (signal**2 * deviation**2 + sigma**2) * (x - signal * mean)

    horizon, history, rows = 4, 1, 700
    ticks, sampler, drawn = rolling(diffusion, horizon, history, 2, by), DDPM(variance_type="analytic"), [0]

    def noise(shape, dtype):
        """One entry of one draw is 1 in each row; row 0 draws nothing."""
        value = torch.zeros(shape, dtype=dtype)
        first = 1 + drawn[0] * shape[1]
        drawn[0] += 1
        assert first + shape[1] <= rows
        value[first + torch.arange(shape[1]), torch.arange(shape[1])] = 1
        return value

    def sample(x, paths):
        return sampler.sample(single(denoise), (diffusion,), x, paths, noise)

    x = noise((rows, history + horizon, 1), torch.float64)
    x[:, :history] = 0  # what is known has no say, since tokens are independent
    x = sample((x,), ticks.first_paths(TOP))
    for _ in range(12):
        x = sample(ticks.shift(x, noise), ticks.paths())
        for out in x[0][:, history : history + by, 0].unbind(1):
            assert out[0] == pytest.approx(mean, rel=1e-3)
            assert (out[1:] - out[0]).square().sum() == pytest.approx(deviation**2, rel=1e-3)


def test_a_warm_start_lifts_the_plan_to_the_law_of_its_level():
    diffusion, level = make_diffusion(TOP), 9
    rest, stop = torch.full((5,), level), torch.zeros(5, dtype=torch.long)
    warm = Rolling((diffusion,), (rest,), (stop,), 3)
    assert warm.rest[0].tolist() == [9, 9, 9, 9, TOP]
    plan, drawn = normal(1, 5, 2), normal(1, 5, 2, seed=1)
    (lifted,) = warm.shift((plan,), lambda *_: drawn)
    expected = diffusion.add_noise(plan[:, 1:], drawn[:, :-1], rest[:-1])
    torch.testing.assert_close(lifted, torch.cat([expected, drawn[:, -1:]], dim=1))


def test_rest_at_the_top_is_the_plain_sampler():
    diffusion = make_diffusion(TOP)
    flat = Rolling((diffusion,), (torch.full((5,), TOP),), (torch.zeros(5, dtype=torch.long),), 10)
    drawn, sampler = normal(2, 5, 3), DDIM()
    (x,) = flat.shift((normal(2, 5, 3, seed=2),), lambda *_: drawn)
    assert torch.equal(x, drawn)
    paths = flat.paths(), flat.first_paths(10)
    ends = [sampler.sample(single(lambda x, _: x.sin()), (diffusion,), (x,), path, lambda *_: drawn) for path in paths]
    assert torch.equal(ends[0][0], ends[1][0])


@pytest.mark.parametrize(
    ("rest", "stop"),
    [([3, 20], [4, 0]), ([3, 20], [0, 5]), ([3, 20], [-1, 0]), ([21, 20], [0, 0])],
    ids=["above rest", "above where it goes", "below 0", "above K"],
)
def test_levels_that_do_not_meet_are_refused(rest, stop):
    with pytest.raises(ValueError, match="stop nowhere above rest"):
        Rolling((make_diffusion(TOP),), (torch.tensor(rest),), (torch.tensor(stop),), 2)


@pytest.mark.parametrize(
    ("rest", "by", "message"),
    [
        ("stairs", 1, "'stairs': 'ramp', or 2 levels of 1 to 20"),
        ((14,), 1, "2 levels"),
        ((14, 21), 1, "levels of 1 to 20"),
        ((0, 4), 1, "levels of 1 to 20"),
        ("ramp", 4, "rolling by 4 steps.*fewer than the 4 ahead"),
        ("ramp", 0, "rolling by 0 steps"),
    ],
)
def test_settings_that_mean_nothing_are_refused(rest, by, message):
    diffusion = make_diffusion(TOP)
    with pytest.raises(ValueError, match=message):
        make_rolling(rest, (diffusion, diffusion), known_tokens(2, 7), 10, by)


def test_a_tick_takes_its_share_of_the_evaluations():
    diffusion = make_diffusion(TOP)

    def evaluations(rest, by, steps=10):
        return make_rolling(rest, (diffusion, diffusion), known_tokens(4, 21), steps, by).steps

    assert evaluations((14, 4), 2) == 7
    assert evaluations((1, 1), 2) == 1
    assert evaluations("ramp", 4) == 3  # 4 of 13 ramp tokens
    assert evaluations("ramp", 1, 20) == 1
