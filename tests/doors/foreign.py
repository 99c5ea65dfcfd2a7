"""Environments of other people, one a habit: how they count, what they tell, which spaces they have."""

import gymnasium
import numpy as np
import torch
from gymnasium import spaces


class Foreign(gymnasium.Env):
    """Ends itself after ``length`` steps; each habit is a switch."""

    def __init__(
        self,
        length=20,
        observation=None,
        action=None,
        tell=lambda step, last: {"cost": 0.5},
        reward=lambda step: 1.0,
        terminates=False,
        seeded=True,
    ):
        self.observation_space = observation or spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = action or spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.length, self.tell, self.reward = length, tell, reward
        self.terminates, self.seeded = terminates, seeded

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed if self.seeded else None)
        self.step_number = 0
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), (action, self.action_space)
        self.step_number += 1
        last = self.step_number == self.length
        ended, cut = last and self.terminates, last and not self.terminates
        return self.observe(), self.reward(self.step_number), ended, cut, self.tell(self.step_number, last)

    def observe(self):
        space = self.observation_space
        if isinstance(space, spaces.Box) and not np.isfinite(space.low).all():
            return self.np_random.normal(size=space.shape).astype(space.dtype)
        return space.sample()


class Leaning(Foreign):
    """Action 1 earns and costs 1 a step, action 0 neither; always 200 steps long."""

    def __init__(self, length=200):
        super().__init__(length, action=spaces.Discrete(2))

    def step(self, action):
        self.tell = lambda step, last: {"cost": float(action)}
        self.reward = lambda step: float(action)
        return super().step(action)


def register(name, **kwargs):
    """The id of a foreign environment."""
    key = f"Foreign/{name}-v0"
    gymnasium.registry.pop(key, None)
    gymnasium.register(key, kwargs.pop("entry", Foreign), disable_env_checker=True, **kwargs)
    return key


COSTS = {
    "bool": lambda step, last: {"cost": True, "is_success": np.bool_(last)},
    "np_bool": lambda step, last: {"cost": np.bool_(True), "is_success": torch.tensor(last)},
    "array": lambda step, last: {"cost": np.array([1.0]), "is_success": np.array([last])},
    "matrix": lambda step, last: {"cost": np.array([[1]], dtype=np.uint8), "success": int(last)},
    "tensor": lambda step, last: {"cost": torch.tensor(1.0, requires_grad=True), "is_success": last},
    "object": lambda step, last: {"cost": np.array(1.0, dtype=object), "is_success": last},
    "list": lambda step, last: {"cost": [1.0], "is_success": last},
    "float64": lambda step, last: {"cost": np.float64(1.0), "is_success": None if not last else np.float64(1.0)},
    "nested": lambda step, last: {"cost": 1, "is_success": last, "costs": {"wall": 1.0}},
}
"""Every way to say that each step costs 1 and that the last one succeeds."""
