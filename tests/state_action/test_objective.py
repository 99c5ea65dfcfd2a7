import pytest
import torch

from lit_models.diffusion.process import PREDICTION_TYPES
from lit_models.diffusion.schedules import make_diffusion
from lit_models.state_action.objective import Objective, ObjectiveSettings, known_tokens

K, N, W = 10, 2, 7


def make(prediction_type="sample", learned=W, **changes):
    diffusion = make_diffusion(K, prediction_type=prediction_type)
    return Objective(
        (diffusion, diffusion), known_tokens(N, W), torch.arange(W) < learned, ObjectiveSettings(**changes)
    )


def draw(objective, rows=4000):
    return objective.draw_levels(rows, torch.Generator().manual_seed(0))


def test_known_tokens_are_states_up_to_now_and_actions_before():
    states, actions = known_tokens(N, W)
    assert states.tolist() == [True] * 3 + [False] * 4
    assert actions.tolist() == [True] * 2 + [False] * 5


def test_independent_levels_differ_within_a_window_and_between_streams():
    states, actions = draw(make(clean_history=0.0))
    for levels in (states, actions):
        counts = torch.bincount(levels.flatten(), minlength=K + 1).double()
        assert counts.min() > 0.9 * counts.mean()
        assert torch.corrcoef(levels.T.double()).sub(torch.eye(W)).abs().max() < 0.08
    assert torch.corrcoef(torch.stack([states[:, 0], actions[:, 0]]).double())[0, 1].abs() < 0.08


@pytest.mark.parametrize(("sampling", "share"), [("independent", 0.0), ("mixed", 0.5), ("shared", 1.0)])
def test_a_share_of_the_windows_has_one_level_a_stream(sampling, share):
    states, actions = draw(make(level_sampling=sampling, clean_history=0.0))
    one = (states == states[:, :1]).all(dim=1)
    assert one.double().mean().item() == pytest.approx(share, abs=0.03)
    assert torch.equal(one, (actions == actions[:, :1]).all(dim=1))
    if share == 1.0:
        assert (states[:, 0] != actions[:, 0]).double().mean() > 0.8  # each stream has its own


@pytest.mark.parametrize("clean", [0.0, 0.5, 1.0])
def test_the_past_is_clean_in_a_share_of_the_windows(clean):
    states, actions = draw(make(clean_history=clean))
    known = (states[:, : N + 1] == 0).all(dim=1) & (actions[:, :N] == 0).all(dim=1)
    assert known.double().mean().item() == pytest.approx(clean, abs=0.03)
    assert (states[:, N + 1 :] > 0).any()


def test_planning_levels_keep_the_past_clean_and_all_else_at_one_level():
    sources = [torch.Generator().manual_seed(seed) for seed in range(300)]
    states, actions = make().planning_levels(sources, torch.device("cpu"))
    assert (states[:, : N + 1] == 0).all()
    assert (actions[:, :N] == 0).all()
    for future in (states[:, N + 1 :], actions[:, N:]):
        assert (future == future[:, :1]).all()
        assert set(future[:, 0].tolist()) == set(range(1, K + 1))


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_the_truth_costs_nothing_and_an_error_what_it_is(kind):
    objective = make(kind, clean_history=1.0)
    source = torch.Generator().manual_seed(1)
    x0 = tuple(torch.randn(5, W, size, generator=source) for size in (3, 2))
    noise = tuple(torch.randn(part.shape, generator=source) for part in x0)
    levels = objective.draw_levels(5, source)
    truth = tuple(objective.diffusions[0].target(*parts) for parts in zip(x0, noise, levels, strict=True))
    states, actions = objective.losses(lambda x, k: truth, x0, noise, levels)
    assert (states == 0).all()
    assert (actions == 0).all()
    states, actions = objective.losses(lambda x, k: tuple(part + 2 for part in truth), x0, noise, levels)
    torch.testing.assert_close(states, 4 * (levels[0] > 0).float().mean(dim=1))  # clean tokens cost nothing
    torch.testing.assert_close(actions, 4 * (levels[1] > 0).float().mean(dim=1))


def test_only_the_first_actions_are_learned():
    objective = make(learned=4, clean_history=0.0)
    x0 = (torch.zeros(2, W, 1), torch.zeros(2, W, 1))
    levels = tuple(torch.full((2, W), 5) for _ in range(2))
    late = torch.zeros(2, W, 1)
    late[:, 4:] = 9.0
    _, actions = objective.losses(lambda x, k: (torch.zeros(2, W, 1), late), x0, x0, levels)
    assert (actions == 0).all()
    late[:, 3] = 2.0
    _, actions = objective.losses(lambda x, k: (torch.zeros(2, W, 1), late), x0, x0, levels)
    torch.testing.assert_close(actions, torch.full((2,), 4.0 / 4))


def test_min_snr_changes_the_balance_between_levels():
    x0 = (torch.zeros(1, W, 1), torch.zeros(1, W, 1))
    wrong = (torch.ones(1, W, 1), torch.ones(1, W, 1))
    for level in (1, 9):
        levels = tuple(torch.full((1, W), level) for _ in range(2))
        plain, _ = make().losses(lambda x, k: wrong, x0, x0, levels)
        weighted, _ = make(loss_weighting="min_snr", snr_gamma=5.0).losses(lambda x, k: wrong, x0, x0, levels)
        snr = make().diffusions[0].snr(torch.tensor(level))
        torch.testing.assert_close(weighted, plain * snr.clamp(max=5).float())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level_sampling": "alone"}, "level_sampling='alone'.*independent"),
        ({"clean_history": 1.5}, "clean_history=1.5"),
        ({"action_horizon": 0}, "action_horizon=0"),
    ],
)
def test_bad_settings_say_what_to_write(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)
