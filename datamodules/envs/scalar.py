"""Gymnasium environment: one episode of a batched simulator, with NumPy arrays."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from .base import BatchedEnv

Array = NDArray[np.float32]


class ScalarEnv(gymnasium.Env[Array, Array]):
    """Row 0 of a batch of one: ``reset(seed=s)`` lives through what row i of a batch with seed ``s - i`` does.

    Args:
        simulator: ``module:Class`` of the batched simulator.
        kwargs: of the simulator.
    """

    metadata = BatchedEnv.metadata

    def __init__(self, simulator: str, **kwargs: Any) -> None:
        self.batch: BatchedEnv = load_env_creator(simulator)(num_envs=1, **kwargs)  # type: ignore[assignment]
        self.batch.autoreset = False
        spaces: Any = self.batch
        self.observation_space, self.action_space = spaces.single_observation_space, spaces.single_action_space
        self.render_mode = self.batch.render_mode
        self.metadata = {key: value for key, value in self.batch.metadata.items() if key != "autoreset_mode"}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin the first episode of ``seed``, or the next one."""
        super().reset(seed=seed)
        observation, _ = self.batch.reset(seed=seed, options=options)
        return observation[0].numpy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """One step; ``info`` holds ``cost``, ``costs`` by name, ``is_success`` and the measures."""
        observation, reward, terminated, truncated, info = self.batch.step(torch.as_tensor(np.asarray(action))[None])
        told = {"cost": float(info["cost"][0]), "is_success": bool(info["success"][0])}
        told |= {name: float(value) for name, value in zip(self.batch.cost_names, info["costs"][0], strict=True)}
        told |= {name: float(value[0]) for name, value in info["measures"].items()}
        return observation[0].numpy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), told

    def render(self) -> Any:
        """As the simulator draws it."""
        return self.batch.render()

    def close(self) -> None:
        """Let go of windows."""
        self.batch.close()
