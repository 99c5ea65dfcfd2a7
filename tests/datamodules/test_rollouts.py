"""Rollouts of any environment: costs found, episodes cut and counted, and every environment resumable."""

import multiprocessing
import signal

import gymnasium
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from datamodules import Rollouts
from datamodules.core import DataError
from datamodules.rollouts.collector import Collector, Evaluation
from datamodules.rollouts.sources import GymnasiumSource, SixthValue, make_source
from lit_models import CPO
from litmotif.errors import LitmotifError


class Walk(gymnasium.Env):
    """A noisy walk with a private random stream; its cost is where it stands."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)

    def __init__(self, costly=True, six=False):
        self.costly, self.six = costly, six

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.normal()), 0
        return np.array([self.x, 0.0]), {}

    def step(self, action):
        self.x += float(action[0]) + 0.1 * float(self.np_random.normal())
        self.t += 1
        info = {"cost": abs(self.x), "cost_far": float(abs(self.x) > 2)} if self.costly else {}
        observation, ended = np.array([self.x, self.t]), bool(abs(self.x) > 3)
        if self.six:
            return observation, 1.0, abs(self.x), ended, False, {}
        return observation, 1.0, ended, False, info


gymnasium.register("test/Walk-v0", Walk, max_episode_steps=9)


def walk(costs=("cost",), num_envs=3, processes=False, **kwargs):
    return make_source("test/Walk-v0", num_envs, kwargs, costs, None, processes)


def act(observation, step):
    return (0.3 * observation[:, :1]).sin() + 0.5


def play(source, observation, steps):
    told = []
    for step in range(steps):
        transition = source.step(act(observation, step))
        observation = transition.observation
        told.append(transition)
    return observation, told


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one[:6], other[:6], strict=True))


def test_costs_are_found_by_name_and_actions_are_scaled():
    source = walk(costs=("cost", "cost_far"))
    observation = source.reset([1, 2, 3])
    told = source.step(torch.ones(3, 1))
    moved = told.observation[:, 0] - observation[:, 0]
    assert (moved > 1.5).all()  # 1 means the upper bound, 2
    assert told.costs.shape == (3, 2)
    kept = ~(told.terminated | told.truncated)
    torch.testing.assert_close(told.costs[kept, 0], told.observation[kept, 0].abs())


def test_a_cost_that_is_not_there_is_named_with_what_is():
    with pytest.raises(DataError, match=r"info\['hazard'\].*cost_far.*data.costs"):
        walk(costs=("hazard",))


def test_a_task_without_costs_has_none_when_told_so():
    source = walk(costs=(), costly=False)
    source.reset([1, 2, 3])
    assert source.step(torch.zeros(3, 1)).costs.shape == (3, 0)


def test_the_sixth_value_of_safety_gymnasium_becomes_a_cost():
    env = SixthValue(Walk(six=True))
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.array([0.5]))
    assert info["cost"] == abs(observation[0])
    assert (reward, terminated, truncated) == (1.0, False, False)


def test_time_limits_truncate_and_the_last_observation_is_kept():
    source = walk()
    source.reset([5, 6, 7])
    ends = 0
    for _ in range(40):
        told = source.step(torch.zeros(3, 1))
        done = told.terminated | told.truncated
        assert len(told.final_observation) == int(done.sum())
        ends += int(done.sum())
        if done.any():
            assert (told.observation[done, 1] == 0).all()  # a new episode
            assert (told.final_observation[:, 1] > 0).all()
    assert ends >= 12


@pytest.mark.parametrize("steps", [0, 1, 5, 9, 14, 31])
def test_any_environment_goes_on_from_its_saved_state(steps):
    source = walk(num_envs=4)
    observation, _ = play(source, source.reset([1, 2, 3, 4]), steps)
    state = source.state_dict()
    _, expected = play(source, observation, 15)
    other = walk(num_envs=4)
    other.reset([9, 9, 9, 9])
    again = other.load_state_dict(state)
    assert torch.equal(again, observation)
    _, resumed = play(other, again, 15)
    assert all(same(a, b) for a, b in zip(expected, resumed, strict=True))


def test_a_staggered_environment_goes_on_too():
    source = walk(num_envs=4)
    observation = source.reset([1, 2, 3, 4])
    source.stagger(0, 4)
    observation, told = play(source, observation, 2)
    assert any(t.truncated.any() for t in told) or (source.limit < 9).any()
    state = source.state_dict()
    other = walk(num_envs=4)
    other.reset([0, 0, 0, 0])
    assert torch.equal(other.load_state_dict(state), observation)
    assert same(play(source, observation, 1)[1][0], play(other, observation, 1)[1][0])


def test_processes_play_the_same_episodes():
    sources = [walk(processes=flag) for flag in (False, True)]
    try:
        (_, one), (_, other) = [play(source, source.reset([1, 2, 3]), 12) for source in sources]
        assert all(same(a, b) for a, b in zip(one, other, strict=True))
    finally:
        for source in sources:
            source.close()


def test_processes_end_on_sigterm_whatever_their_parent_does():
    kept = signal.signal(signal.SIGTERM, lambda *_: None)  # as a trainer that saves before it stops
    try:
        source = walk(processes=True)
        for process in source.env.processes:
            process.terminate()
            process.join(20)
        assert [process.exitcode for process in source.env.processes] == [-signal.SIGTERM] * 3
    finally:
        signal.signal(signal.SIGTERM, kept)
        source.env.close(terminate=True)


def test_no_process_outlives_its_stage():
    data = Rollouts(env="Pendulum-v1", costs=[], val=2, eval_envs=2, max_episode_steps=5, num_workers=1)
    module = CPO(observation_size=3, action_size=1, cost_names=[], network={"hidden_size": 4})
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    trainer.validate(module, data)
    assert data._evaluators is None
    assert not multiprocessing.active_children()


def test_a_rollout_is_what_the_environment_said():
    source = walk()
    collector = Collector(source, seed=3, steps=12, first=0, total=3, stagger=False)
    rollout = collector.collect(act)
    again = walk()
    _, told = play(again, again.reset([3, 4, 5]), 12)
    for t in range(12):
        assert torch.equal(rollout.reward[t], told[t].reward)
        assert torch.equal(rollout.ended[t], told[t].terminated | told[t].truncated)
    assert torch.equal(rollout.last_observation, told[-1].observation)
    assert len(rollout.final_observation) == int(rollout.ended.sum())


def test_a_rollout_that_was_cut_off_is_played_again():
    collector = Collector(walk(), seed=3, steps=5, first=0, total=3)
    collector.collect(act)
    kept = collector.state_dict(rollouts=1)
    second = collector.collect(act)
    cut = collector.state_dict(rollouts=1)  # the second rollout came to no update
    assert all(torch.equal(kept[name], cut[name]) for name in kept)
    other = Collector(walk(), seed=0, steps=5, first=0, total=3)
    other.load_state_dict(cut, rollouts=1)
    assert torch.equal(other.collect(act).observation, second.observation)
    assert other.collected == 2


def test_an_evaluation_counts_the_first_episode_of_each_row_only():
    evaluation = Evaluation(walk, seed=3, first=0, episodes=3, total=3)
    episodes = evaluation.evaluate(lambda observation, step: torch.zeros(3, 1))
    assert (episodes.lengths <= 9).all()
    torch.testing.assert_close(episodes.returns, episodes.lengths.float())  # reward 1 a step
    assert set(evaluation.baselines()) == {"zero", "random"}
    torch.testing.assert_close(evaluation.baselines()["zero"].costs, episodes.costs)
    assert not torch.equal(evaluation.baselines()["random"].costs, episodes.costs)


def test_the_stagger_spreads_the_ends_of_the_first_episodes():
    rollouts = {}
    for stagger in (False, True):
        source = make_source("litmotif/TabularCMDP-v0", 8, {"survival": 1.0, "max_episode_steps": 8}, None, None, False)
        collector = Collector(source, seed=0, steps=8, first=0, total=8, stagger=stagger)
        rollouts[stagger] = collector.collect(lambda observation, step: torch.zeros(8, dtype=torch.int64)).ended.sum(1)
    assert rollouts[False].tolist() == [0] * 7 + [8]
    assert rollouts[True].tolist() == [1] * 7 + [1]


def test_a_curriculum_raises_the_level_of_new_episodes():
    data = Rollouts(env="litmotif/TabularCMDP-v0", num_envs=2, rollout_length=1, curriculum=[1, 3], val=1, test=1)
    (collector,) = {id(batch): batch for batch in data.train_dataloader()}.values()
    seen = []
    for _ in range(5):
        data.on_before_batch_transfer(collector, 0)
        seen.append(int(collector.source.env.levels[0]))
        collector.collect(lambda observation, step: torch.zeros(2, dtype=torch.int64))
    assert seen == [0, 1, 1, 2, 2]


def test_splits_have_episodes_of_their_own():
    data = Rollouts(env="litmotif/TabularCMDP-v0", num_envs=4, val=4, test=4)
    seeds = {data._seed_of(split) for split in ("train", "val", "test")}
    assert len(seeds) == 3
    assert min(abs(a - b) for a in seeds for b in seeds if a != b) > 10**6


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"env": "litmotif/Nothing-v0"}, "Nothing-v0.*litmotif/Wheelchair-v0"),
        ({"env": "litmotif/TabularCMDP-v0", "num_envs": 0}, "at least 1"),
        ({"env": "litmotif/TabularCMDP-v0", "curriculum": [5, 2]}, "curriculum.*rise"),
        ({"env": "SafetyPointGoal1-v0"}, "SafetyPointGoal1-v0.*Safety-Gymnasium"),
    ],
)
def test_bad_settings_are_named(settings, words):
    with pytest.raises(LitmotifError, match=words):
        Rollouts(**settings).observation_size  # noqa: B018


def test_a_checkpoint_with_another_number_of_environments_is_refused():
    data = Rollouts(env="litmotif/TabularCMDP-v0", num_envs=4)
    source = make_source("litmotif/TabularCMDP-v0", 3, {}, None, None, False)
    source.reset([1, 2, 3])
    with pytest.raises(DataError, match=r"3 environments.*num_envs is 4"):
        data.load_state_dict({"epoch": 0, "batches": 0, "rollouts": 1, "environments": source.state_dict()})


def test_unbounded_actions_are_refused():
    gymnasium.register("test/Unbounded-v0", lambda: _unbounded())
    with pytest.raises(DataError, match="not bounded"):
        make_source("test/Unbounded-v0", 1, {}, [], None, False)


def _unbounded():
    env = Walk()
    env.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    return env


def test_choices_and_pictures_of_gymnasium_work_as_they_are():
    source = make_source("CartPole-v1", 2, {}, [], None, False)
    assert isinstance(source, GymnasiumSource)
    assert (source.action_kind, source.action_size, source.observation_size) == ("choices", 2, 4)
    assert source.max_episode_steps == 500
    source.reset([0, 1])
    assert source.step(source.zeros()).reward.tolist() == [1.0, 1.0]


class Breaks(Walk):
    """Fails at its fifth step."""

    def step(self, action):
        if self.t == 4:
            raise OSError("the simulator has lost its connection")
        return super().step(action)


gymnasium.register("test/Breaks-v0", Breaks, max_episode_steps=9)


@pytest.mark.filterwarnings("default:.*Worker")
@pytest.mark.filterwarnings("default:.*Raising the last exception")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_crashed_environment_ends_the_run_with_its_traceback_and_a_checkpoint(workers, tmp_path, recwarn):
    data = Rollouts(env="test/Breaks-v0", num_envs=2, rollout_length=3, steps_per_epoch=9, val=1, num_workers=workers)
    module = CPO(
        observation_size=2, action_size=1, cost_names=["cost"], network={"hidden_size": 4}, critics={"batch": 8}
    )
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        callbacks=[last],
    )
    with pytest.raises(OSError, match="lost its connection"):
        trainer.fit(module, data)
    if workers:
        told = " ".join(str(warning.message) for warning in recwarn)
        assert "lost its connection" in told
        assert "in step" in told  # where it happened
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 1
    assert saved["Rollouts"]["rollouts"] == 1
