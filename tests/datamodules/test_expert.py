import copy
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from datamodules.core import DataError, random_stream
from datamodules.minigrid.envs import Start, make_env, reset
from datamodules.minigrid.expert import expert_plan, shortest_plans

ROOM = {"agent_start_pos": None}


def shortest_by_stepping(env, limit):
    """Breadth-first search on copies of the real environment: slow, and knows no rules."""

    def state(e):
        held = (e.carrying.type, e.carrying.color) if e.carrying else None
        return e.grid.encode().tobytes(), tuple(e.agent_pos), e.agent_dir, held

    level, seen = [env], {state(env)}
    for depth in range(1, limit):
        following = []
        for parent, action in itertools.product(level, range(7)):
            child = copy.deepcopy(parent)
            _, reward, terminated, _, _ = child.step(action)
            if reward > 0:
                return depth
            if not terminated and state(child) not in seen:
                seen.add(state(child))
                following.append(child)
        level = following
    return None


@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        ("MiniGrid-Empty-5x5-v0", ROOM),
        ("MiniGrid-DoorKey-5x5-v0", {}),
        ("MiniGrid-LavaGapS5-v0", {}),
        ("MiniGrid-Fetch-5x5-N2-v0", {}),
        ("MiniGrid-GoToDoor-5x5-v0", {}),
    ],
)
def test_plans_are_as_short_as_search_in_the_real_environment(env, kwargs):
    made = make_env(env, kwargs)
    for seed in range(2):
        reset(made, Start(seed))
        made.max_steps = 1000
        assert shortest_plans(made).length == shortest_by_stepping(made, 30)


@pytest.mark.parametrize(
    "env",
    [
        "MiniGrid-FourRooms-v0",
        "MiniGrid-DoorKey-8x8-v0",
        "MiniGrid-MultiRoom-N4-S5-v0",
        "MiniGrid-KeyCorridorS3R1-v0",
        "MiniGrid-UnlockPickup-v0",
        "MiniGrid-BlockedUnlockPickup-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-Fetch-8x8-N3-v0",
        "MiniGrid-PutNear-6x6-N2-v0",
        "MiniGrid-RedBlueDoors-6x6-v0",
        "MiniGrid-MemoryS7-v0",
        "MiniGrid-GoToDoor-8x8-v0",
        "MiniGrid-GoToObject-8x8-N2-v0",
        "MiniGrid-ObstructedMaze-1Dlhb-v0",
        "MiniGrid-LavaCrossingS9N1-v0",
        "MiniGrid-DistShift1-v0",
        "BabyAI-GoToRedBall-v0",
        "BabyAI-PickupLoc-v0",
    ],
)
def test_the_experts_plan_earns_a_reward_in_the_real_environment(env):
    made = make_env(env)
    for seed in range(3):
        reset(made, Start(seed))
        plan, logs = expert_plan(made, seed)
        reset(made, Start(seed))
        *before, last = [made.step(action) for action in plan]
        assert last[1] > 0
        assert not any(step[2] or step[1] for step in before)
        assert len(logs) == len(plan) + 1


def test_every_shortest_plan_is_counted_and_drawn_equally_often():
    made = make_env("MiniGrid-DoorKey-5x5-v0")
    seed = next(s for s in range(99) if (reset(made, Start(s)), len(shortest_plans(made).all(99)))[1] >= 3)
    reset(made, Start(seed))
    plans = shortest_plans(made)
    known = plans.all(1000)
    assert math.exp(plans.completions[plans.start]) == pytest.approx(len(known))
    assert len({tuple(plan) for plan in known}) == len(known)
    stream = random_stream(0)
    drawn = Counter(tuple(plans.draw(stream)[0]) for _ in range(300 * len(known)))
    assert set(drawn) == {tuple(plan) for plan in known}
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_the_floor_is_the_log_probability_of_the_drawn_prefix():
    made = make_env("MiniGrid-DoorKey-8x8-v0")
    reset(made, Start(3))
    plans = shortest_plans(made)
    known = plans.all(10_000)
    plan, logs = plans.draw(random_stream(1))
    for length in range(len(plan) + 1):
        share = np.mean([other[:length] == plan[:length] for other in known])
        assert logs[0] - logs[length] == pytest.approx(-math.log(share), abs=1e-9)


def test_what_has_no_expert_says_so():
    made = make_env("MiniGrid-Dynamic-Obstacles-5x5-v0")
    reset(made, Start(0))
    with pytest.raises(DataError, match="no expert knows how to solve MiniGrid-Dynamic-Obstacles-5x5-v0"):
        shortest_plans(made)
