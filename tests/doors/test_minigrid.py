"""MiniGrid and BabyAI ids that an experiment does not name, defaults alone, and what a planner is shown."""

import numpy as np
import pytest
import torch

import datamodules
from datamodules.core import DataError
from datamodules.minigrid.envs import Start, make_env, observe, reset
from lit_models.cli.own_env import own_defaults
from litmotif.batches.plans import Observation
from litmotif.errors import ArgumentError

from ..mdlm.plans import batch, module

SMALL = {"train": 6, "val": 0, "test": 3, "progress": False}


@pytest.mark.parametrize("env", ["BabyAI-GoToLocalS5N2-v0", "MiniGrid-DoorKey-5x5-v0", "MiniGrid-Empty-5x5-v0"])
def test_the_expert_returns_what_the_environment_gave(env):
    """BabyAI sets max_steps in reset only, a number a mission."""
    data = datamodules.MiniGridPlans(env=env, **SMALL)
    expert = data.baselines("test")["expert"]
    episodes, made = data.split("test").episodes, make_env(env, data.recipe.env_kwargs)
    for start, actions, got in zip(episodes.starts(), episodes.actions, expert.returns, strict=True):
        reset(made, start)
        total = sum(float(made.step(int(action))[1]) for action in actions if action >= 0)
        assert float(got) == pytest.approx(total)
        assert 0 < total <= 1


def test_the_defaults_alone_are_a_problem_to_learn():
    data = datamodules.MiniGridPlans(progress=False)
    assert data.recipe.env_kwargs == {"agent_start_pos": None}
    sizes = [len(data.split(name).episodes.start) for name in ("train", "val", "test")]
    assert sizes == [100, 20, 20], "of 140 starts"
    starts = [set(map(tuple, data.split(name).episodes.start.tolist())) for name in ("train", "val", "test")]
    assert len(set.union(*starts)) == 140
    assert data.horizon > 1


@pytest.mark.parametrize(
    ("env", "given", "kwargs"),
    [
        ("MiniGrid-Empty-5x5-v0", None, {"agent_start_pos": None}),
        ("MiniGrid-Empty-5x5-v0", {}, {}),
        ("MiniGrid-DoorKey-5x5-v0", None, {}),
    ],
)
def test_a_start_that_never_varies_is_freed_where_nobody_says_otherwise(env, given, kwargs):
    assert datamodules.MiniGridPlans(env=env, env_kwargs=given, **SMALL).recipe.env_kwargs == kwargs


def test_arguments_of_another_environment_have_a_remedy():
    with pytest.raises(DataError, match=r"DoorKey.*does not take.*Leave data\.env_kwargs out"):
        make_env("MiniGrid-DoorKey-5x5-v0", {"agent_start_pos": None})


# ---------------------------------------------------------------------- an experiment with another environment
CONFIG = """
data:
  class_path: MiniGridPlans
  init_args: {env: MiniGrid-Empty-8x8-v0, env_kwargs: {agent_start_pos: null}, train: 100, horizon: 13, batch_size: 8}
"""


@pytest.mark.parametrize(
    ("subcommand", "overrides", "reset_to"),
    [
        ("fit", ["--data.env", "BabyAI-OpenDoor-v0"], ["env_kwargs", "train", "horizon"]),
        ("fit", ["--data.env=BabyAI-OpenDoor-v0"], ["env_kwargs", "train", "horizon"]),
        ("fit", ["--data.init_args.env=BabyAI-OpenDoor-v0", "--data.train=7"], ["env_kwargs", "horizon"]),
        ("fit", ["--data.env=BabyAI-OpenDoor-v0", "--data.env_kwargs.x=7"], ["train", "horizon"]),
        ("test", ["--data.env=BabyAI-OpenDoor-v0"], ["env_kwargs", "train"]),
        ("fit", ["--data.env=MiniGrid-Empty-8x8-v0"], []),
        ("fit", ["--data.batch_size=3"], []),
    ],
)
def test_another_environment_begins_with_its_own_defaults(tmp_path, capsys, subcommand, overrides, reset_to):
    (tmp_path / "a.yaml").write_text(CONFIG)
    found = own_defaults(subcommand, [str(tmp_path / "a.yaml")], overrides)
    assert found == [f"--data.{key}=null" for key in reset_to]
    said = capsys.readouterr().err
    assert all(f"data.{key}" in said for key in reset_to)
    assert bool(said) == bool(reset_to)


def test_an_overlay_may_name_another_environment_too(tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG)
    (tmp_path / "b.yaml").write_text("data: {init_args: {env: MiniGrid-DoorKey-8x8-v0, horizon: 20}}")
    files = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    assert own_defaults("fit", files, []) == ["--data.env_kwargs=null", "--data.train=null"]


# ---------------------------------------------------------------------- what a planner is shown
def shown(view="full", env="MiniGrid-Empty-5x5-v0"):
    made = make_env(env)
    reset(made, Start(0))
    image, direction, mission = observe(made, view)
    return {"image": image, "direction": direction, "mission": mission}


def test_an_image_alone_is_a_plan_of_its_dictionary():
    planner, full = module(view="full"), shown()
    assert planner.plan(full) == planner.plan(full["image"]) == planner.plan(torch.from_numpy(full["image"]))
    assert planner.plan(batch(2).observation).shape == (2, 6)


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (shown(env="MiniGrid-Empty-8x8-v0"), {}, r"8 x 8 cells, and this planner knows 5 x 5"),
        (shown("partial"), {}, r"7 x 7 cells.*FullyObsWrapper"),
        (shown("partial"), {"view_size": [7, 7], "view": "full"}, "a partial view, .* full ones.*FullyObsWrapper"),
        (shown(), {"view": "partial"}, "a full view, .* partial ones"),
        (shown("partial")["image"], {"view_size": [7, 7]}, "no direction, and no agent"),
        (np.zeros((5, 5)), {}, r"image \(5, 5\): \(W, H, 3\)"),
        ({"direction": 1}, {}, "image missing; there are: direction"),
        ({"image": shown()["image"], "direction": 1}, {"words": ["go"]}, "mission missing"),
    ],
)
def test_what_it_was_not_trained_on_is_refused(given, settings, message):
    with pytest.raises(ArgumentError, match=message):
        module(**settings).plan(given)


def test_a_batch_is_checked_as_well():
    large = Observation(torch.zeros(2, 16, 16, 3), torch.zeros(2, dtype=torch.int64), torch.zeros(2, 0))
    with pytest.raises(ArgumentError, match="16 x 16 cells"):
        module().plan(large)
