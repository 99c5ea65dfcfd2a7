import pytest
import torch

from datamodules import heartbeat
from datamodules.minigrid.envs import Start
from datamodules.minigrid.generate import Recipe
from datamodules.minigrid.rollouts import encode_all, roll_out
from datamodules.trajectories.mobile_base.tasks import rollout


def base():
    rollout(lambda seen, task: torch.zeros(len(seen.episode), 4, 3), "waypoint", episodes=2)
    return "waypoint: step 4 of 150, 0 of 2 episodes ended"


def grid():
    recipe = Recipe("MiniGrid-Empty-5x5-v0", {}, "full", 1)
    turn = torch.zeros(2, 4, dtype=torch.int64)
    encode = lambda envs, view: encode_all(envs, view, [], 0)  # noqa: E731
    roll_out(recipe, [Start(0), Start(1)], torch.ones(2), lambda seen: turn[: len(seen.direction)], encode, None)
    return "MiniGrid-Empty-5x5-v0: episode 0 of 2"


@pytest.mark.parametrize("run", [base, grid])
def test_what_takes_minutes_says_how_far_it_is(monkeypatch, caplog, run):
    run()
    assert not caplog.records, "what is done soon says nothing"
    now = iter(range(0, 10**9, 6))
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: next(now))
    said = run()
    assert said in caplog.text
