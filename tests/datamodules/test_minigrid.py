import errno
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import MiniGridPlans
from datamodules.core import DataError
from datamodules.minigrid.augment import reflect, swapped_words
from datamodules.minigrid.envs import Start, free_poses, make_env, observe, reset
from litmotif.batches.plans import END, Observation

ROOM = {"agent_start_pos": None}


def plans(**changes):
    settings = {"env": "MiniGrid-Empty-5x5-v0", "env_kwargs": ROOM, "train": 20, "val": 6, "test": 6, "batch_size": 5}
    return MiniGridPlans(**settings | changes)


def door_key(**changes):
    settings = {"env": "MiniGrid-DoorKey-6x6-v0", "train": 20, "val": 5, "test": 5, "batch_size": 5}
    return MiniGridPlans(**settings | changes)


# ---------------------------------------------------------------------- environments
def test_a_full_view_is_minigrids_own():
    from minigrid.wrappers import FullyObsWrapper

    env = make_env("MiniGrid-DoorKey-6x6-v0")
    reset(env, Start(1))
    image, direction, mission = observe(env, "full")
    theirs = FullyObsWrapper(env).observation({"mission": mission, "direction": direction})
    assert np.array_equal(image, theirs["image"])


def test_a_partial_view_is_minigrids_own():
    import gymnasium

    env = make_env("MiniGrid-FourRooms-v0")
    reset(env, Start(1))
    theirs, _ = gymnasium.make("MiniGrid-FourRooms-v0").reset(seed=1)
    image, direction, mission = observe(env, "partial")
    assert np.array_equal(image, theirs["image"])
    assert (direction, mission) == (theirs["direction"], theirs["mission"])


def test_empty_8x8_has_140_starts():
    env = make_env("MiniGrid-Empty-8x8-v0", ROOM)
    reset(env, Start(0))
    assert len(free_poses(env)) == 140


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(DataError, match=r"no environment 'MiniGrid-Emty-8x8-v0'.*MiniGrid-Empty-8x8-v0"):
        plans(env="MiniGrid-Emty-8x8-v0").prepare_data()


def test_wrong_arguments_of_an_environment_are_named():
    with pytest.raises(DataError, match="does not take"):
        plans(env_kwargs={"colour": "red"}).prepare_data()


def test_a_missing_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "minigrid", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'litmotif\[minigrid\]'"):
        make_env("MiniGrid-Empty-8x8-v0")


# ---------------------------------------------------------------------- splits
def test_enumerated_starts_are_held_out_as_states():
    data = plans()
    starts = {name: set(map(tuple, data.split(name).episodes.start.tolist())) for name in ("train", "val", "test")}
    assert [len(group) for group in starts.values()] == [20, 6, 6]
    assert len(set.union(*starts.values())) == 32  # all of 8 cells x 4 headings
    other = set(map(tuple, plans(split_seed=1).split("test").episodes.start.tolist()))
    assert other != starts["test"]
    assert set(map(tuple, plans(seed=1).split("test").episodes.start.tolist())) == starts["test"]


def test_no_episode_begins_like_a_training_episode():
    data = MiniGridPlans(env="MiniGrid-Empty-Random-5x5-v0", train=15, val=30, test=30, starts="seeds")
    seen = {data.split("train").windows.image[i].numpy().tobytes() for i in range(15)}
    test = data.split("test").windows
    assert len(test.image) < 30
    assert not any(image.numpy().tobytes() in seen for image in test.image)


def test_a_split_that_would_measure_nothing_is_refused():
    with pytest.raises(DataError, match="agent_start_pos: null"):
        plans(env_kwargs={}).prepare_data()


def test_training_episodes_stand_in_for_an_empty_split():
    data = plans(val=0, test=0)
    assert data.split("test").windows is data.split("train").windows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "data.train=0"),
        ({"train": 30}, "has 32 starts; train, val and test ask for 42"),
        ({"env_kwargs": {}, "starts": "enumerate"}, "starts=enumerate"),
    ],
)
def test_impossible_splits_are_named(changes, message):
    with pytest.raises(DataError, match=message):
        plans(**changes).prepare_data()


def test_a_horizon_shorter_than_every_plan_is_named():
    with pytest.raises(DataError, match=r"horizon=2 is shorter than every plan: the shortest has \d+ actions"):
        door_key(horizon=2).prepare_data()


# ---------------------------------------------------------------------- windows
def test_the_horizon_comes_from_the_95th_percentile():
    data = door_key()
    lengths = (data.split("train").episodes.actions >= 0).sum(dim=1)
    assert data.horizon == math.ceil(np.percentile(lengths, 95)) + 1
    assert door_key(horizon=30).horizon == 30


@pytest.mark.parametrize(("horizon", "stride"), [(10, None), (30, None), (10, 1), (10, 3)])
def test_windows_cover_every_plan_and_end_comes_after_the_goal_only(horizon, stride):
    data = door_key(horizon=horizon, stride=stride)
    windows, episodes = data.split("train").windows, data.split("train").episodes
    row = 0
    for actions in episodes.actions:
        actions = actions[actions >= 0]
        for offset in range(0, len(actions), stride or horizon):
            expected = actions[offset : offset + horizon].tolist()
            plan = windows.plans[row, 0].tolist()
            if len(actions) > horizon or stride:
                assert plan == expected + [END] * (horizon - len(expected))
            assert bool(windows.first[row]) == (offset == 0)
            row += 1
    assert row == len(windows.plans)


def test_floors_of_windows_add_up_to_the_floor_of_the_plan():
    whole, cut = door_key(horizon=40, max_optimal_plans=1), door_key(horizon=10, max_optimal_plans=1)
    totals, first = [], cut.split("train").windows.first.tolist()
    for value, begins in zip(cut.split("train").windows.floor.tolist(), first, strict=True):
        totals = [*totals, value] if begins else [*totals[:-1], totals[-1] + value]
    assert totals == pytest.approx(whole.split("train").windows.floor.tolist(), abs=1e-5)


def test_another_optimal_plan_is_shown_in_another_epoch():
    data = door_key(horizon=40, batch_size=20)
    loader = data.train_dataloader()
    shown = []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        (batch,) = loader
        shown.append(batch.plan[batch.item.argsort()])
    assert any(not torch.equal(shown[0], other) for other in shown[1:])
    loader.sampler.set_epoch(0)
    (batch,) = loader
    assert torch.equal(batch.plan[batch.item.argsort()], shown[0])


def test_workers_change_nothing():
    def items(workers):
        return [batch.plan for batch in plans(num_workers=workers).train_dataloader()]

    assert all(torch.equal(one, other) for one, other in zip(items(0), items(2), strict=True))


def test_babyai_has_words_and_a_bot():
    data = MiniGridPlans(env="BabyAI-GoToObj-v0", view="partial", train=12, val=3, test=3, batch_size=4)
    assert {"go", "to", "the"} <= set(data.words)
    batch = next(iter(data.train_dataloader()))
    assert batch.observation.mission.max() <= len(data.words)
    assert batch.observation.mission.min() >= 0
    assert batch.floor.isnan().all()
    assert (data.split("test").episodes.optimal == -1).all()
    assert data.view_size == [7, 7]


# ---------------------------------------------------------------------- symmetries
@pytest.mark.parametrize("variant", range(8))
def test_a_turned_and_reflected_plan_succeeds_in_the_turned_and_reflected_world(variant):
    from minigrid.core.grid import Grid

    data = door_key(horizon=40)
    windows = data.split("train").windows
    rows = [0, 1, 2]
    seen = Observation(windows.image[rows], windows.direction[rows], windows.mission[rows])
    turned, plan = reflect(
        seen, windows.plans[rows, 0].long(), torch.full((3,), variant), "all", torch.tensor(swapped_words([]))
    )
    for row in range(3):
        env = make_env("MiniGrid-DoorKey-6x6-v0")
        reset(env, Start(0))
        image = turned.image[row].numpy()
        env.grid, _ = Grid.decode(image)
        (place,) = np.argwhere(image[..., 0] == 10)
        env.grid.set(*place, None)
        env.agent_pos, env.agent_dir = tuple(place), int(turned.direction[row])
        rewards = [env.step(action)[1] for action in plan[row].tolist() if action != END]
        assert rewards[-1] > 0


def test_a_reflected_mission_swaps_left_and_right():
    words = ["ball", "left", "right"]
    seen = Observation(torch.ones(1, 7, 7, 3).byte(), torch.tensor([1]), torch.tensor([[1, 2, 3, 0]]))
    turned, plan = reflect(
        seen, torch.tensor([[0, 1, 2]]), torch.tensor([1]), "mirror", torch.tensor(swapped_words(words))
    )
    assert turned.mission.tolist() == [[1, 3, 2, 0]]
    assert plan.tolist() == [[1, 0, 2]]
    assert turned.direction.tolist() == [3]


def test_symmetry_changes_training_only():
    plain, mirrored = plans(), plans(symmetry="mirror")
    assert not torch.equal(
        *(next(iter(data.train_dataloader())).observation.image for data in (plain, mirrored)),
    )
    assert torch.equal(*(next(iter(data.val_dataloader())).observation.image for data in (plain, mirrored)))


# ---------------------------------------------------------------------- cache
def test_the_cache_is_hit_and_keyed_by_its_options(tmp_path, monkeypatch):
    plans(cache_dir=str(tmp_path)).prepare_data()
    monkeypatch.setattr(MiniGridPlans, "_make", lambda self: pytest.fail("made again"))
    plans(cache_dir=str(tmp_path)).prepare_data()
    with pytest.raises(pytest.fail.Exception):
        plans(cache_dir=str(tmp_path), horizon=9).prepare_data()


def test_a_damaged_cache_is_made_anew(tmp_path):
    whole = plans(cache_dir=str(tmp_path)).split("train").windows
    (path,) = Path(tmp_path).rglob("*.npz")
    for damage in (lambda b: b[: len(b) // 2], lambda b: b[:200] + b"xxxx" + b[204:], lambda b: b""):
        path.write_bytes(damage(path.read_bytes()))
        with pytest.warns(UserWarning, match="is damaged"):
            again = plans(cache_dir=str(tmp_path)).split("train").windows
        assert all(torch.equal(one, other) for one, other in zip(whole, again, strict=True))


def test_no_space_is_named_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match=r"Make room, or set cache_dir elsewhere"):
        plans(cache_dir=str(tmp_path)).prepare_data()
    assert [p.suffix for p in Path(tmp_path).rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_the_number_of_generation_workers_changes_nothing(tmp_path):
    one = door_key(cache_dir=str(tmp_path / "one"), generation_workers=1, train=60).split("train").windows
    two = door_key(cache_dir=str(tmp_path / "two"), generation_workers=2, train=60).split("train").windows
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


# ---------------------------------------------------------------------- rollouts
def always(plan):
    return lambda observation: torch.tensor([plan] * len(observation.direction))


def oracle(data, split, horizon=None):
    """The stored plan of whatever is asked about: looks the observation up."""
    windows = data.split(split).windows
    known = {
        image.numpy().tobytes(): plan for image, plan in zip(windows.image, windows.plans[:, 0].long(), strict=True)
    }
    return lambda observation: torch.stack([known[image.numpy().tobytes()] for image in observation.image])


def test_the_expert_solves_everything_at_the_optimum():
    data = door_key(horizon=40)
    outcomes = data.rollout(oracle(data, "test"), "test")
    assert outcomes.success.all()
    assert torch.equal(outcomes.steps, outcomes.optimal)
    expert = data.baselines("test")["expert"]
    torch.testing.assert_close(outcomes.returns, expert.returns)


def test_receding_windows_reach_the_goal():
    data = door_key(horizon=10)
    assert (data.split("test").episodes.optimal > 10).any()
    assert data.rollout(oracle(data, "test"), "test").success.all()


def test_a_wrong_plan_fails_and_its_end_ends_the_open_loop():
    data = plans()
    outcomes = data.rollout(always([0, END, END]), "test")
    assert not outcomes.success.any()
    assert outcomes.steps.tolist() == [1] * 6
    assert outcomes.returns.tolist() == [0.0] * 6


def test_closed_loop_replans_after_so_many_actions():
    data, calls = plans(), []

    def policy(observation):
        calls.append(len(observation.direction))
        return always([2, 2, 2, 2])(observation)

    data.rollout(policy, "test", replan_every=2)
    open_calls = len(calls)
    calls.clear()
    data.rollout(policy, "test", replan_every=4)
    assert len(calls) < open_calls


def test_an_empty_plan_ends_the_closed_loop():
    outcomes = plans().rollout(always([END, END]), "test", replan_every=1)
    assert outcomes.steps.tolist() == [0] * 6


def test_ranks_share_the_episodes():
    data = plans()
    whole = data.rollout(always([1, 2, 2, 1, 2, 2]), "test")
    parts = [data.rollout(always([1, 2, 2, 1, 2, 2]), "test", None, rank, 2) for rank in (0, 1)]
    assert torch.equal(whole.steps[0::2], parts[0].steps)
    assert torch.equal(whole.steps[1::2], parts[1].steps)


def test_baselines_are_ordered_and_seeded():
    data = plans()
    first, again = data.baselines("test"), data.baselines("test")
    assert list(first) == ["random", "copy", "expert"]
    assert torch.equal(first["random"].steps, again["random"].steps)
    assert first["random"].steps.float().mean() > first["expert"].steps.float().mean()
    assert first["expert"].success.all()


def test_figures_show_the_latest_rollout():
    data = plans()
    assert data.figures() == {}
    data.rollout(always([2, 2]), "test")
    assert len(data.figures()["rollouts"].axes) == 6
