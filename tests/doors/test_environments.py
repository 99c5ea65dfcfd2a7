"""What strangers bring to a rollout: costs of any type, limits known or not, any space, any habit."""

import multiprocessing
import sys

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from lightning.pytorch import Callback

from datamodules import Rollouts
from datamodules.core import DataError
from datamodules.rollouts.collector import Evaluation
from datamodules.rollouts.sources import make_source
from lit_models import CPO
from litmotif.errors import ArgumentTypeError
from tests.cpo.tiny import make_trainer
from tests.nested import merged

from .foreign import COSTS, Foreign, Leaning, register

TINY = {"network": {"hidden_size": 8, "num_layers": 1}, "critics": {"batch": 64}}


class Watch(Callback):
    """Keeps what each update logs."""

    def __init__(self):
        self.logged = []

    def on_train_batch_end(self, trainer, module, *_):
        self.logged.append({name: float(value) for name, value in module.latest_step.items()})


def play(name, steps=21, rows=2, costs=("cost",), **kwargs):
    """What a source tells in so many steps of no action."""
    source = make_source(name, rows, {}, list(costs), None, kwargs.pop("processes", False), **kwargs)
    try:
        source.reset(range(rows))
        return [source.step(source.zeros()) for _ in range(steps)]
    finally:
        source.close()


def model(data, **changes):
    links = {name: getattr(data, name) for name in data.links}
    torch.manual_seed(0)
    return CPO(**merged(TINY, links | changes))


def train(folder, name, updates=8, module=None, judged=True, **data):
    few = {"num_envs": 4, "rollout_length": 50, "steps_per_epoch": updates, "val": 3, "test": 3}
    rollouts, watch = Rollouts(env=name, **few | data), Watch()
    found = model(rollouts, **module or {})
    trainer = make_trainer(folder, watch, limit_val_batches=1.0 if judged else 0)
    trainer.fit(found, rollouts)
    return found, watch.logged, trainer.callback_metrics


# ---------------------------------------------------------------------- costs, successes, rewards
@pytest.mark.parametrize("habit", COSTS)
def test_a_cost_and_a_success_are_numbers_whatever_their_type(habit):
    told = play(register("Told", kwargs={"tell": COSTS[habit], "length": 5}), 5)
    assert all(step.costs.tolist() == [[1.0], [1.0]] for step in told)
    assert [step.success.tolist() for step in told] == [[False, False]] * 4 + [[True, True]]


@pytest.mark.parametrize(
    ("tell", "words"),
    [
        (lambda step, last: {"cost": "much"}, r"Foreign/Told-v0.*info\['cost'\] = 'much' \(str\)"),
        (lambda step, last: {"cost": np.ones(2)}, r"info\['cost'\].*no single number"),
        (lambda step, last: {"cost": {"wall": 1.0}}, r"cost/KEY in data.costs"),
        (lambda step, last: {"cost": 0.0, "is_success": "yes"}, r"is_success.*'yes'"),
    ],
)
def test_what_is_no_number_is_named_with_key_and_environment(tell, words):
    with pytest.raises(DataError, match=words):
        play(register("Told", kwargs={"tell": tell}))


@pytest.mark.parametrize("reward", [np.ones(1), np.float64(1.0), True, torch.ones(()), [1]])
def test_a_reward_is_a_number_whatever_its_type(reward):
    told = play(register("Told", kwargs={"reward": lambda step: reward}), 3)
    assert all(step.reward.tolist() == [1.0, 1.0] for step in told)


def test_a_reward_of_two_numbers_is_refused_by_name():
    with pytest.raises(DataError, match=r"Foreign/Told-v0 gives reward.*no single number"):
        play(register("Told", kwargs={"reward": lambda step: np.ones(2)}))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("processes", [False, True])
def test_a_cost_that_only_some_steps_tell_is_nothing_in_the_others(rows, processes):
    habits = {
        "rare": (lambda step, last: {"cost": 2.0} if step % 4 == 0 else {}, [0.0, 0.0, 0.0, 2.0, 0.0, 0.0]),
        "end": (lambda step, last: {"cost": 3.0} if last else {}, [0.0] * 5 + [3.0]),
        "none": (lambda step, last: {"cost": 1.0 if step > 2 else None}, [0.0, 0.0] + [1.0] * 4),
    }
    for tell, expected in list(habits.values())[: 1 if processes else 3]:
        name = register("Sparse", kwargs={"tell": tell, "length": 6})
        told = play(name, 6, rows, processes=processes)
        assert [step.costs[:, 0].tolist() for step in told] == [[cost] * rows for cost in expected]


def test_a_cost_that_never_shows_is_named_with_the_switch_for_rare_ones():
    name = register("Sparse", kwargs={"tell": lambda step, last: {"speed": 1.0, "costs": {"wall": 1}}})
    with pytest.raises(DataError, match=r"Foreign/Sparse-v0 gives no info\['cost'\].*costs/wall', 'speed'.*sparse_cos"):
        Rollouts(env=name).prepare_data()
    told = play(name, 3, sparse=True)
    assert all(step.costs.tolist() == [[0.0], [0.0]] for step in told)


def test_costs_of_a_nested_info_are_named_by_their_path_and_called_by_their_last_part():
    name = register("Nested", kwargs={"tell": lambda step, last: {"costs": {"wall": 1.0, "speed": 2.0}}})
    assert Rollouts(env=name, costs=["costs/speed", "costs/wall"]).cost_names == ["speed", "wall"]
    assert play(name, 1, costs=["costs/speed", "costs/wall"])[0].costs.tolist() == [[2.0, 1.0]] * 2
    with pytest.raises(DataError, match="twice"):
        play(name, 1, costs=["costs/wall", "wall"])


@pytest.mark.parametrize("limit", [-5.0, 0.0, 5.0])
@pytest.mark.parametrize("cost", [-9.0, -5.0, -2.0, 0.0, 4.0, 5.0, 7.0])
def test_a_limit_of_any_sign_is_kept_below_it_and_exceeded_above(limit, cost):
    from lit_models.cpo.metrics import excess, feasibility_first, share

    results = {"cost_a": torch.tensor(cost), "return": torch.tensor(1.0)}
    assert (excess(results, {"a": limit}) > 0.0) == (cost > limit)
    assert (feasibility_first(results, {"a": limit}) > 0.0) == (cost > limit)
    assert (share(cost, limit) > 1.0) == (cost > limit)
    assert share(limit, limit) == 1.0


def test_a_negative_limit_has_a_margin_on_its_lower_side_and_a_price_of_the_right_sign(tmp_path):
    name = register("Negative", kwargs={"tell": lambda step, last: {"cost": -0.1}})  # -2 an episode
    for limit, sign in ((-5.0, 1.0), (-1.0, -1.0)):
        found, logged, _ = train(tmp_path, name, 1, {"cost_limits": {"cost": limit}, "margin": {"share": 0.1}})
        gaps = found._gaps({"cost": -2.0})
        assert gaps[0] == pytest.approx(-2.0 - limit + 0.1 * abs(limit))
        assert np.sign(gaps[0]) == sign
        assert (logged[0]["train/cost_share"] > 1.0) == (sign > 0)


# ---------------------------------------------------------------------- lengths and limits
def test_a_limit_is_kept_whether_the_limit_of_steps_is_registered_or_not(tmp_path):
    """The environment ends itself after 200 steps; a rollout has 50."""
    kept = {}
    for steps in (None, 200):
        name = register("Leaning", entry=Leaning, max_episode_steps=steps)
        _, logged, metrics = train(
            tmp_path, name, 24, {"cost_limits": {"cost": 25.0}, "trust_region": {"target_kl": 0.05}}
        )
        assert float(metrics["val/length"]) == 200.0
        assert [row["train/length"] for row in logged[4:]] == pytest.approx([200.0] * 20)
        kept[steps] = float(metrics["val/cost_cost"])
    assert max(kept.values()) < 50.0  # from 100; with a length of 50 it would stay at 100


@pytest.mark.parametrize("steps", [None, 20])
def test_workers_change_no_figure(steps, tmp_path):
    name = register("Plain", max_episode_steps=steps)
    few = {"num_envs": 2, "rollout_length": 15, "val": 2}
    (one, first, _), (other, second, _) = (
        train(tmp_path, name, 3, {"cost_limits": {"cost": 5.0}}, num_workers=workers, **few) for workers in (0, 1)
    )
    for row, same in zip(first, second, strict=True):
        assert row | {"train/steps_per_second": 0.0} == same | {"train/steps_per_second": 0.0}
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not multiprocessing.active_children()


def test_an_environment_that_never_ends_is_as_long_as_it_has_run(tmp_path):
    name = register("Endless", kwargs={"length": 10**9})
    _, logged, _ = train(tmp_path, name, 3, judged=False, num_envs=2, rollout_length=10)
    assert [row["train/length"] for row in logged] == [10.0, 20.0, 30.0]
    assert [row["train/cost_cost"] for row in logged] == pytest.approx([5.0, 10.0, 15.0])


def test_an_environment_that_ends_in_its_first_step_has_length_one(tmp_path):
    name = register("Short", kwargs={"length": 1, "terminates": True})
    _, logged, metrics = train(tmp_path, name, 2, num_envs=2, rollout_length=10)
    assert [row["train/length"] for row in logged] == [1.0, 1.0]
    assert float(metrics["val/length"]) == 1.0


def test_an_evaluation_plays_its_episodes_and_no_step_more():
    begun, steps = [], []

    class Counting(Foreign):
        def reset(self, **kwargs):
            begun.append(1)
            self.length = 3 + 4 * (len(begun) % 2)
            return super().reset(**kwargs)

        def step(self, action):
            steps.append(1)
            return super().step(action)

    data = Rollouts(env=register("Counting", entry=Counting), val=10, eval_envs=4, num_envs=1, sparse_costs=True)
    for batch in data.val_dataloader():
        batch.evaluate(lambda observation, step: torch.zeros(len(observation), 1))
    assert (len(begun), len(steps)) == (10, 5 * 3 + 5 * 7)


# ---------------------------------------------------------------------- spaces
ACTIONS = {
    "start": spaces.Discrete(3, start=5),
    "negative": spaces.Discrete(2, start=-1),
    "several": spaces.MultiDiscrete([2, 3, 4]),
    "several_from": spaces.MultiDiscrete([2, 3], start=[10, -4]),
    "table": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "switches": spaces.MultiBinary(4),
    "switchboard": spaces.MultiBinary((2, 3)),
    "narrow": spaces.Box(np.float32([-2.0, 0.1]), np.float32([3.0, 0.2])),
    "double": spaces.Box(-0.3, 0.7, (2, 2), np.float64),
    "whole": spaces.Box(0, 255, (2,), np.uint8),
    "number": spaces.Box(-1.0, 2.0, (), np.float32),
}
OBSERVATIONS = {
    "dict": spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.Discrete(3, start=2)}),
    "tuple": spaces.Tuple((spaces.MultiBinary(2), spaces.Dict({"x": spaces.Box(0, 255, (2, 2), np.uint8)}))),
    "choices": spaces.MultiDiscrete([3, 2]),
    "one": spaces.Discrete(7),
    "image": spaces.Box(0, 255, (4, 4, 3), np.uint8),
    "double": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    "single": spaces.Box(-1, 1, (), np.float32),
}


@pytest.mark.filterwarnings("ignore:.*multi-dimensional MultiDiscrete")
@pytest.mark.parametrize("kind", ACTIONS)
def test_every_kind_of_action_is_one_of_the_environments(kind, tmp_path):
    """The environment asserts; random and learned actions both reach every choice or bound."""
    name = register("Acted", kwargs={"action": ACTIONS[kind], "length": 5})
    few = {"num_envs": 2, "rollout_length": 8, "val": 2}
    found, logged, _ = train(tmp_path, name, 1, **few)
    assert logged[0]["train/accepted"] in (0.0, 1.0)
    data = Rollouts(env=name, **few)
    (batch,) = data.val_dataloader()
    assert set(batch.baselines()) == {"zero", "random"}
    actions = found.act(np.random.default_rng(0).normal(size=(300, 3)) * 50.0, seed=1)
    space = ACTIONS[kind]
    for action in actions:
        shaped = np.asarray(action).astype(space.dtype).reshape(space.shape or ())
        assert space.contains(shaped[()] if isinstance(space, spaces.Discrete) else shaped)
    low, high = np.array(data.action_bounds)
    assert actions.reshape(300, -1).min(0) == pytest.approx(low, abs=0.6)
    assert actions.reshape(300, -1).max(0) == pytest.approx(high, abs=0.6)


@pytest.mark.filterwarnings("ignore:.*inputs of an MLP")
@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_every_kind_of_observation_is_a_vector_of_its_numbers(kind, tmp_path):
    space = OBSERVATIONS[kind]
    name = register("Seen", kwargs={"observation": space, "length": 5})
    source = make_source(name, 2, {}, ["cost"], None, False)
    observation = source.reset([1, 2])
    assert observation.shape == (2, spaces.flatdim(space))
    assert observation.dtype == torch.float32
    if kind == "image":
        assert 0.9 < float(observation.max()) <= 1.0
    if kind == "tuple":
        assert float(observation.max()) <= 1.0
    assert not torch.equal(observation[0], observation[1])
    train(tmp_path, name, 1, num_envs=2, rollout_length=8)


def test_an_image_is_told_to_be_the_input_of_an_mlp():
    name = register("Seen", kwargs={"observation": OBSERVATIONS["image"]})
    with pytest.warns(UserWarning, match=r"images \(4, 4, 3\).*48 inputs of an MLP"):
        Rollouts(env=name).prepare_data()


@pytest.mark.parametrize(
    ("kind", "space", "words"),
    [
        ("action", spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,)))), "Hybrid actions of Foreign/No-v0"),
        ("action", spaces.Dict(a=spaces.Discrete(2)), "Hybrid actions"),
        ("action", spaces.Text(3), "Actions of Foreign/No-v0.*Text.*Wrap"),
        ("action", spaces.Box(-np.inf, 1.0, (1,)), "not bounded"),
        ("action", spaces.Box(-3.4e38, 3.4e38, (1,)), "not bounded"),
        ("observation", spaces.Sequence(spaces.Discrete(2)), "Observations of Foreign/No-v0 have no fixed size"),
        ("observation", spaces.Dict(a=spaces.Text(3)), "Wrap"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*precision lowered:UserWarning")
def test_a_space_that_cannot_be_learned_is_refused_by_name(kind, space, words):
    with pytest.raises(DataError, match=words):
        Rollouts(env=register("No", kwargs={kind: space})).prepare_data()


# ---------------------------------------------------------------------- acting outside
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64])
def test_act_takes_numbers_of_any_type_and_gives_the_environments_units(dtype):
    data = Rollouts(env="Pendulum-v1", costs=[], num_envs=1)
    found = model(data, network={"log_std": 3.0})
    observation = torch.ones(40, 3, dtype=dtype)
    action = found.act(observation, seed=0)
    assert (action.dtype, action.shape) == (torch.float32, (40, 1))
    assert (float(action.min()), float(action.max())) == (-2.0, 2.0)  # torque of a Pendulum
    assert torch.equal(found.act(observation[0]), found.act(observation)[0])
    if dtype != torch.bfloat16:
        given = found.act(observation.numpy(), seed=0)
        assert isinstance(given, np.ndarray)
        assert np.array_equal(given, action.numpy())
    with pytest.raises(ValueError, match=r"\(40, 2\) must be \(N, 3\)"):
        found.act(observation[:, :2])


# ---------------------------------------------------------------------- ids
MODULE = """
import gymnasium
from tests.doors.foreign import Foreign
gymnasium.register("Own/Thing-v0", Foreign, disable_env_checker=True)
gymnasium.register("SafetyMine-v0", Foreign, disable_env_checker=True)
gymnasium.register("Vector-v0", vector_entry_point=Foreign)
"""


def test_an_id_of_the_own_module_is_found_in_every_process(tmp_path, monkeypatch):
    (tmp_path / "strangers_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    data = Rollouts(env="strangers_module:Own/Thing-v0", num_envs=1)
    assert data.observation_size == 3
    assert Rollouts(env="strangers_module:SafetyMine-v0").observation_size == 3  # Safety alone is no name
    assert Rollouts(env="SafetyMine-v0").observation_size == 3
    with pytest.raises(DataError, match="vector_entry_point only"):
        Rollouts(env="strangers_module:Vector-v0").prepare_data()
    with pytest.raises(DataError, match=r"no_such_module:A-v0.*cannot be imported.*current folder"):
        Rollouts(env="no_such_module:A-v0").prepare_data()
    with pytest.raises(DataError, match=r"Nothing-v0.*MODULE:ID"):
        Rollouts(env="strangers_module:Nothing-v0").prepare_data()
    source = make_source("strangers_module:Own/Thing-v0", 1, {}, None, None, False)
    make = source.env.env_fns[0] if hasattr(source.env, "env_fns") else None
    monkeypatch.delitem(gymnasium.registry, "Own/Thing-v0")  # as in a process that has not imported the module
    if make is not None:
        assert make().observe.size == 3
    sys.modules.pop("strangers_module")


@pytest.mark.parametrize("env", [lambda: Foreign(), Foreign(), Foreign, SyncVectorEnv([Foreign])])
def test_what_is_no_id_is_refused_with_the_way_to_register_it(env):
    with pytest.raises(ArgumentTypeError, match=r"gymnasium.register\(id, entry_point\)"):
        Rollouts(env=env).prepare_data()


def test_wrappers_around_an_environment_are_part_of_it(tmp_path):
    from gymnasium.wrappers import FrameStackObservation, NormalizeObservation, RecordEpisodeStatistics

    def entry(**kwargs):
        return FrameStackObservation(NormalizeObservation(RecordEpisodeStatistics(Foreign(**kwargs))), 2)

    name = register("Wrapped", entry=entry)
    assert Rollouts(env=name).observation_size == 6
    train(tmp_path, name, 1, num_envs=2, rollout_length=30)


def test_an_environment_that_ignores_its_seed_is_told_when_a_run_goes_on():
    source = make_source(register("Unseeded", kwargs={"seeded": False}), 2, {}, None, None, False)
    source.reset([1, 2])
    state = source.state_dict()
    with pytest.warns(UserWarning, match="Foreign/Unseeded-v0 does not repeat itself.*row 0"):
        source.load_state_dict(state)
    other = make_source(register("Seeded"), 2, {}, None, None, False)
    other.reset([1, 2])
    other.step(other.zeros())
    other.load_state_dict(other.state_dict())  # says nothing: warnings are errors here


def test_an_episode_that_never_ends_is_refused_where_it_is_judged(monkeypatch):
    from datamodules.rollouts import collector

    monkeypatch.setattr(collector, "LONGEST", 30)
    name = register("Endless", kwargs={"length": 10**9})
    evaluation = Evaluation(lambda: make_source(name, 1, {}, None, None, False), 0, 0, 1, 1)
    with pytest.raises(DataError, match=r"data\.max_episode_steps"):
        evaluation.evaluate(lambda observation, step: torch.zeros(1, 1))
