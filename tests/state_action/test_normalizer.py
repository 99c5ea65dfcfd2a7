import copy

import pytest
import torch

from lit_models.state_action.normalizer import Normalizer

from .layouts import bare, base, robot


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def statistics(layout, seed=0):
    state_mean, action_mean = normal(layout.state_size, seed=seed), normal(layout.action_size, seed=seed + 1)
    state_std, action_std = (normal(len(mean), seed=seed + 2).abs() + 0.1 for mean in (state_mean, action_mean))
    return state_mean, state_std, action_mean, action_std


def fitted(layout, **kwargs):
    normalizer = Normalizer(layout, **kwargs)
    normalizer.fit(*statistics(layout))
    return normalizer


def data(layout, rows=200, dtype=torch.float32):
    state_mean, state_std, action_mean, action_std = statistics(layout)
    states = state_mean + state_std * normal(rows, 5, layout.state_size, seed=7, dtype=dtype)
    return states, action_mean + action_std * normal(rows, 5, layout.action_size, seed=8, dtype=dtype)


@pytest.mark.parametrize("kwargs", [{}, {"emphasis": 6.0}, {"emphasis": 6.0, "mixtures": 4}])
@pytest.mark.parametrize("layout", [robot, base])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.float64, 2e-15)])
def test_there_and_back(layout, kwargs, dtype, bound):
    normalizer = fitted(layout, **kwargs)
    batch = data(layout, dtype=dtype)
    for found, wanted in zip(normalizer.physical(normalizer.normalise(*batch)), batch, strict=True):
        assert found.dtype == dtype
        assert (found - wanted).abs().max() <= bound


@pytest.mark.parametrize("emphasis", [None, 0, 6.0])
def test_streams_have_zero_mean_and_unit_variance(emphasis):
    normalizer = fitted(robot, emphasis=emphasis)
    states, actions = normalizer.normalise(*data(robot, 4000, torch.float64))
    assert states.shape[-1] == normalizer.state_size == robot.state_size * (2 if emphasis else 1)
    assert actions.shape[-1] == normalizer.action_size == robot.action_size
    for stream in (states, actions):
        torch.testing.assert_close(stream.mean(dim=(0, 1)), torch.zeros(stream.shape[-1]).double(), atol=0.05, rtol=0)
    # over the draw of A, the variance of a mixture of unit normals has mean 1
    variance = states.var(dim=(0, 1))
    torch.testing.assert_close(variance[-robot.state_size :], torch.ones(robot.state_size).double(), atol=0.05, rtol=0)
    if emphasis:
        assert variance[: -robot.state_size].mean() == pytest.approx(1.0, abs=0.35)


def test_the_projection_is_that_of_the_paper():
    normalizer = fitted(base, emphasis=3.0, mixtures=4, seed=5)
    states, actions = data(base, 3, torch.float64)
    plain, _ = fitted(base).normalise(states, actions)
    a = torch.randn((4, base.state_size), generator=torch.Generator().manual_seed(5)).double()
    b = torch.diag(torch.tensor([3.0] * 5 + [1.0] * 3, dtype=torch.float64))
    whole = torch.cat([a @ b / (5 * 9 + 3) ** 0.5, torch.eye(base.state_size).double()])
    streams = normalizer.normalise(states, actions)
    torch.testing.assert_close(streams[0], plain @ whole.T)
    off = normal(*streams[0].shape, seed=9, dtype=torch.float64)  # leaves the image of the projection
    found, _ = normalizer.physical((off, actions))
    least_squares = torch.linalg.lstsq(whole, off.reshape(-1, off.shape[-1]).T).solution.T.reshape(states.shape)
    torch.testing.assert_close(found, least_squares * normalizer.states.std + normalizer.states.mean)


def test_emphasis_gives_the_root_more_of_every_mixture():
    normalizer = fitted(robot, emphasis=6.0)
    states, actions = data(robot, 1, torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: normalizer.normalise(x, actions[0, 0])[0], states[0, 0])
    share = (jacobian * normalizer.states.std)[: robot.state_size].square().sum(dim=0)
    assert share[:9].sum() / share.sum() == pytest.approx(9 * 36 / (9 * 36 + 15), abs=0.03)


@pytest.mark.parametrize("emphasis", [None, 6.0])
def test_the_way_back_is_differentiable(emphasis):
    normalizer = fitted(base, emphasis=emphasis, mixtures=3 if emphasis else None).double()
    streams = [normal(2, 3, size, dtype=torch.float64) for size in (normalizer.state_size, normalizer.action_size)]
    assert torch.autograd.gradcheck(
        lambda *x: normalizer.physical(x), [stream.requires_grad_() for stream in streams], fast_mode=True
    )


def test_statistics_and_mixtures_lie_in_the_checkpoint(tmp_path):
    normalizer = fitted(robot, emphasis=6.0, seed=1)
    torch.save(normalizer.state_dict(), tmp_path / "state.pt")
    other = Normalizer(robot, emphasis=6.0, seed=2)
    other.fit(*statistics(robot, seed=30))
    batch = data(robot, 3)
    other.physical(other.normalise(*batch))  # works out the matrices of seed 2
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for found, wanted in zip(other.normalise(*batch), normalizer.normalise(*batch), strict=True):
        assert torch.equal(found, wanted)
    for found, wanted in zip(other.physical(other.normalise(*batch)), batch, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not torch.equal(Normalizer(robot, 6.0, seed=1).mixing, Normalizer(robot, 6.0, seed=2).mixing)
    torch.testing.assert_close(copy.deepcopy(normalizer).normalise(*batch)[0], normalizer.normalise(*batch)[0])


def test_matrices_worked_out_in_inference_mode_serve_training():
    normalizer = fitted(base, emphasis=6.0)
    batch = data(base, 2)
    with torch.inference_mode():
        normalizer.physical(normalizer.normalise(*batch))
    streams = tuple(stream.requires_grad_() for stream in normalizer.normalise(*batch))
    normalizer.physical(streams)[0].sum().backward()
    assert streams[0].grad.abs().sum() > 0


def test_mixtures_keep_their_digits_under_autocast():
    normalizer = fitted(robot, emphasis=6.0)
    batch = data(robot, 3)
    wanted = normalizer.normalise(*batch)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        streams = normalizer.normalise(*batch)
        assert torch.equal(streams[0], wanted)
        torch.testing.assert_close(normalizer.physical(streams)[0], batch[0], atol=1e-5, rtol=1e-5)


def test_without_statistics_nothing_works():
    normalizer = Normalizer(base)
    assert not normalizer.fitted
    for call in (normalizer.normalise, lambda *x: normalizer.physical(x)):
        with pytest.raises(RuntimeError, match="no statistics"):
            call(*data(base, 2))
    good = fitted(base)
    assert good.fitted
    good.normalise(*data(base, 2))
    good.load_state_dict(normalizer.state_dict())
    with pytest.raises(RuntimeError, match="no statistics"):
        good.normalise(*data(base, 2))


@pytest.mark.parametrize(
    ("which", "index", "value", "message"),
    [
        (1, 21, 0.0, "state_std is zero in joint_pos/hip"),
        (1, 10, float("nan"), "state_std is not finite in body_pos/hand/y"),
        (0, 0, float("inf"), "state_mean is not finite in root_pos/x"),
        (3, 1, 0.0, "action_std is zero in joint_target/knee"),
        (3, 1, -1.0, "action_std is zero"),
    ],
)
def test_statistics_that_cannot_be_right_name_their_columns(which, index, value, message):
    given = list(statistics(robot))
    given[which][index] = value
    with pytest.raises(ValueError, match=message):
        Normalizer(robot).fit(*given)


def test_a_column_that_float32_cannot_tell_from_a_constant_is_zero():
    given = list(statistics(robot))
    given[0][2], given[1][2] = 0.8, 1e-8
    with pytest.raises(ValueError, match="state_std is zero in root_pos/z"):
        Normalizer(robot).fit(*given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Normalizer(robot, emphasis=0.5), "emphasis=0.5"),
        (lambda: Normalizer(bare, emphasis=6.0), "character frame"),
        (lambda: Normalizer(robot, mixtures=4), "without emphasis"),
        (lambda: Normalizer(robot, emphasis=6.0, mixtures=-1), "mixtures=-1"),
        (lambda: Normalizer(robot).fit([0.0], [1.0], [0.0], [1.0]), "state_mean has shape"),
    ],
)
def test_settings_that_mean_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
