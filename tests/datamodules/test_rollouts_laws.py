"""What a source says at an end, and what an evaluation counts: against environments whose every number is known."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from datamodules.core import DataError
from datamodules.rollouts import collector
from datamodules.rollouts.collector import Collector, Evaluation
from datamodules.rollouts.sources import GymnasiumSource, Source
from litmotif.batches.rollouts import Transition


class Clock(gymnasium.Env):
    """Shows its time and its first observation's seed; dies at ``dies``, is cut at ``cut``, succeeds when told so."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, dies=None, cut=None, success=(), word="is_success"):
        self.dies, self.cut, self.success, self.word = dies, cut, success, word

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.mark = 0, float(seed % 1009)
        return np.array([0.0, self.mark]), {}

    def step(self, action):
        self.t += 1
        info = {"cost": 0.5 * self.t, self.word: self.t in self.success}
        return np.array([self.t, self.mark]), 10.0 * self.t, self.t == self.dies, self.t == self.cut, info


def source(num_envs=1, limit=None, **settings):
    return GymnasiumSource(lambda: Clock(**settings), num_envs, ["cost"], limit, processes=False)


def play(found, steps, num_envs=1):
    found.reset(list(range(num_envs)))
    return [found.step(torch.zeros(num_envs, 1)) for _ in range(steps)]


@pytest.mark.parametrize(
    ("settings", "ends", "terminated"),
    [
        ({"dies": 3}, [3, 6], True),
        ({"cut": 3}, [3, 6], False),
        ({"limit": 3}, [3, 6], False),
        ({"dies": 3, "limit": 3}, [3, 6], True),  # both at once: it is a terminal state
        ({"dies": 3, "cut": 3}, [3, 6], True),
        ({"dies": 2, "limit": 3}, [2, 4, 6], True),
    ],
)
def test_an_end_is_a_terminal_state_or_a_cut_and_never_both(settings, ends, terminated):
    told = play(source(**settings), 6)
    assert [t + 1 for t, step in enumerate(told) if step.terminated[0] | step.truncated[0]] == ends
    assert [bool(told[t - 1].terminated[0]) for t in ends] == [terminated] * len(ends)
    assert [bool(told[t - 1].truncated[0]) for t in ends] == [not terminated] * len(ends)
    period = ends[0]
    times = [(t % period) + 1 for t in range(6)]
    assert [float(step.reward[0]) for step in told] == [10.0 * t for t in times]
    assert [float(step.costs[0, 0]) for step in told] == [0.5 * t for t in times]
    assert [float(step.observation[0, 0]) for step in told] == [t % period for t in times]  # the next episode's first
    assert [step.final_observation[:, 0].tolist() for step in told] == [[t] if t == period else [] for t in times]


@pytest.mark.parametrize("word", ["is_success", "success"])
def test_success_is_that_of_the_last_step(word):
    for at, expected in (((1, 2), False), ((3,), True), ((), False)):
        told = play(source(dies=3, success=at, word=word), 3)
        assert [bool(step.success[0]) for step in told] == [False, False, expected]


def test_each_episode_of_each_row_has_a_seed_of_its_own_that_follows_from_the_rows():
    told = play(source(num_envs=3, cut=2), 8, num_envs=3)
    marks = torch.stack([step.observation[:, 1] for step in told[1::2]])  # (episodes, rows)
    assert marks.unique().numel() == marks.numel()
    alone = source(cut=2)
    alone.reset([1])
    assert [float(alone.step(torch.zeros(1, 1)).observation[0, 1]) for _ in range(8)][1::2] == marks[:, 1].tolist()


def test_staggered_rows_end_at_moments_spread_over_an_episode_and_whole_episodes_follow():
    found = source(num_envs=4, limit=8)
    found.reset([0, 1, 2, 3])
    found.stagger(0, 4)
    ends = torch.stack([found.step(torch.zeros(4, 1)).truncated for _ in range(16)])
    assert [(ends[:, row].nonzero().flatten() + 1).tolist() for row in range(4)] == [[8, 16], [6, 14], [4, 12], [2, 10]]
    second = source(num_envs=2, limit=8)  # another process has the second half
    second.reset([2, 3])
    second.stagger(2, 4)
    assert second.limit.tolist() == [4, 2]
    second.reset([2, 3])
    assert second.limit.tolist() == [8, 8]


def test_without_a_limit_nothing_ends():
    found = source()
    assert found.max_episode_steps is None
    found.reset([0])
    found.stagger(0, 1)
    assert not any(found.step(torch.zeros(1, 1)).truncated for _ in range(50))


def test_the_kept_actions_are_those_of_running_episodes():
    found = source(num_envs=2, limit=5)
    found.reset([0, 1])
    found.stagger(0, 2)  # rows of 5 and 3 steps, then 5
    assert found.state_dict()["actions"].shape == (0, 1, 2)
    kept = []
    for _ in range(8):
        found.step(torch.zeros(2, 1))
        kept.append(len(found.state_dict()["actions"]))
    # as many as the longest running episode where one has just ended
    assert [kept[2], kept[4], kept[7]] == [3, 2, 3]


class Scripted(Source):
    """Rows of rewards with the step at which each row's episode ends; then others begin, with rewards of 1000."""

    action_size, action_kind, cost_names, max_episode_steps, observation_size = 2, "continuous", ["a", "b"], 9, 1

    def __init__(self, ends=(3, 1, 2), success=(3, 2, 1), truncates=(False, True, False)):
        self.acted = []
        self.ends, self.good, self.truncates = map(torch.tensor, (ends, success, truncates))
        self.num_envs = len(ends)

    def reset(self, seeds):
        self.seeds, self.t, self.staggered = list(seeds), 0, None
        return torch.zeros(self.num_envs, 1)

    def step(self, action):
        self.acted.append(action)
        self.t += 1
        late = self.ends < self.t
        reward = torch.where(late, 1000.0, torch.arange(1.0, self.num_envs + 1))
        end = self.ends == self.t
        return Transition(
            torch.full((self.num_envs, 1), float(self.t)),
            reward,
            torch.stack((reward, 2.0 * reward), dim=1),
            end & ~self.truncates,
            end & self.truncates,
            torch.full((int(end.sum()), 1), -float(self.t)),
            self.good == self.t,
            {"effort": float(self.t) * reward},
        )

    def stagger(self, first, total):
        self.staggered = (first, total)

    def state_dict(self):
        return {"t": torch.tensor(self.t)}

    def load_state_dict(self, state):
        self.t = int(state["t"])
        return torch.full((self.num_envs, 1), float(self.t))

    def close(self):
        pass


def still(observation, step):
    assert (observation == step).all()  # the observation that belongs to the step
    return torch.zeros(len(observation), 2)


def test_an_evaluation_adds_up_the_first_episode_of_each_row_and_no_step_of_the_next():
    found = Evaluation(Scripted, seed=5, first=7, episodes=3, total=3).evaluate(still)
    assert found.lengths.tolist() == [3, 1, 2]
    assert found.returns.tolist() == [3.0, 2.0, 6.0]  # 1, 2 and 3 a step
    assert found.costs.tolist() == [[3.0, 6.0], [2.0, 4.0], [6.0, 12.0]]
    assert found.success.tolist() == [True, False, True]  # at the end; after the end; on the way
    assert found.measures["effort"].tolist() == [2.0, 2.0, 4.5]  # means over steps


def test_an_evaluation_stops_when_its_own_episodes_have_ended_and_keeps_no_others():
    rows = []
    found = Evaluation(lambda: rows.append(Scripted()) or rows[-1], seed=5, first=7, episodes=2, total=3).evaluate(
        still
    )
    assert found.lengths.tolist() == [3, 1]
    assert found.costs.shape == (2, 2)
    assert found.measures["effort"].shape == found.success.shape == found.returns.shape == (2,)
    assert rows[0].seeds == [12, 13, 14]  # seed + first + row
    short = Evaluation(lambda: rows.append(Scripted((1, 9, 9))) or rows[-1], seed=0, first=0, episodes=1, total=3)
    short.evaluate(still)
    assert rows[1].t == 1


def test_an_episode_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr(collector, "LONGEST", 4)
    Evaluation(lambda: Scripted((4,), (1,), (False,)), 0, 0, 1, 1).evaluate(still)
    with pytest.raises(DataError, match="not ended after 4 steps"):
        Evaluation(lambda: Scripted((5,), (1,), (False,)), 0, 0, 1, 1).evaluate(still)


def test_a_film_is_shown_every_step_of_the_policy_and_none_of_the_baselines():
    seen = []

    class Film:
        def watch(self, source, step):
            seen.append((source.t, step))

    evaluation = Evaluation(Scripted, 0, 0, 3, 3, Film())
    evaluation.evaluate(still)
    evaluation.baselines()
    assert seen == [(0, 0), (1, 1), (2, 2)]


def test_a_hand_written_policy_is_a_baseline_where_the_environment_has_one():
    class Written(Scripted):
        env = SimpleNamespace(scripted=True)

        def scripted(self):
            return torch.full((3, 2), 0.25)

    source = Written()
    evaluation = Evaluation(lambda: source, 0, 0, 3, 3)
    assert set(evaluation.baselines()) == {"zero", "random", "scripted"}
    assert torch.stack(source.acted[-3:]).unique().tolist() == [0.25]


@pytest.mark.parametrize("kind", ["continuous", "choices"])
def test_random_actions_fill_their_range_and_are_those_of_the_row_whatever_process_has_it(kind):
    sources = []

    def make(rows):
        def made():
            found = Scripted((400,) * rows, (1,) * rows, (False,) * rows)
            found.action_kind = kind
            sources.append(found)
            return found

        return made

    for first, rows in ((0, 3), (1, 2)):
        evaluation = Evaluation(make(rows), 3, first, rows, 3)
        assert set(evaluation.baselines()) == {"zero", "random"}
        assert evaluation.baselines() is evaluation.baselines()
    # of each process: what the policies look at, what plays zero, what plays random
    zero, random, _, part = (torch.stack(found.acted).float() for found in sources if found.acted)
    assert not zero.any()
    assert torch.equal(random[:, 1:], part)
    if kind == "continuous":
        assert -1.0 <= float(random.min()) < -0.98 < 0.98 < float(random.max()) <= 1.0
    else:
        assert random.unique().tolist() == [0.0, 1.0]


def test_a_rollout_holds_each_step_as_it_was_before_and_after_its_action():
    found = Scripted()
    steps = Collector(found, seed=5, steps=4, first=7, total=30)
    assert found.staggered == (7, 30)
    assert found.seeds == [12, 13, 14]
    rollout = steps.collect(still)
    assert rollout.observation[..., 0].tolist() == [[t] * 3 for t in range(4)]
    assert rollout.last_observation[:, 0].tolist() == [4.0] * 3
    assert rollout.terminated.int().tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert rollout.ended.int().tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert rollout.final_observation[:, 0].tolist() == [-1.0, -2.0, -3.0]  # in the order of ``ended``
    assert rollout.reward[1].tolist() == [1.0, 1000.0, 3.0]
    assert rollout.costs[1].tolist() == [[1.0, 2.0], [1000.0, 2000.0], [3.0, 6.0]]
    assert rollout.action.shape == (4, 3, 2)


def test_the_state_after_so_many_rollouts_is_told_and_taken_back():
    steps = Collector(Scripted(), seed=0, steps=4, first=0, total=3, stagger=False)
    assert steps.source.staggered is None
    assert int(steps.state_dict(0)["t"]) == 0
    steps.collect(still)
    assert [int(steps.state_dict(rollouts)["t"]) for rollouts in (0, 1)] == [0, 4]
    other = Collector(Scripted(), seed=0, steps=4, first=0, total=3)
    other.load_state_dict({"t": torch.tensor(4)}, rollouts=6)
    assert (other.collected, int(other.state_dict(5)["t"]), int(other.observation[0])) == (6, 4, 4)
    other.collect(lambda observation, step: torch.zeros(3, 2))
    assert [int(other.state_dict(rollouts)["t"]) for rollouts in (6, 7)] == [4, 8]
