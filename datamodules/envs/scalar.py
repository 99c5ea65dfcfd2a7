"""Gymnasium environment: one episode of a batched simulator, with NumPy arrays."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from litmotif.errors import ArgumentError

from .base import BatchedEnv
from .native.recorder import UnrecordableError
from .native.step import CompiledStep, compiler

Array = NDArray[np.float32]
Told = tuple[Array, float, bool, bool, dict[str, Any]]
PATIENCE = 256
"""Steps after which an environment is worth compiling."""


class ScalarEnv(gymnasium.Env[Array, Array]):
    """Row 0 of a batch of one: ``reset(seed=s)`` lives through what row i of a batch with seed ``s - i`` does.

    A batch of one spends its time on the overhead of some thousand tensor operations a step. Where there is a C
    compiler (``cc``, ``gcc``, ``clang``, or what ``CC`` names) their arithmetic is therefore compiled, which takes
    seconds: from the first ``reset`` after ``PATIENCE`` steps on, so that an episode is played by the one or by the
    other. They differ by rounding, some 1e-7.

    Args:
        simulator: ``module:Class`` of the batched simulator.
        compiled: True compiles at the first ``reset``, False never.
        kwargs: of the simulator.

    Raises:
        MissingExtraError: ``compiled`` without a C compiler.
        ValueError: ``compiled`` for a simulator whose step is not a fixed row of known operations.
    """

    metadata = BatchedEnv.metadata

    def __init__(self, simulator: str, compiled: bool | None = None, **kwargs: Any) -> None:
        self._batch: BatchedEnv = load_env_creator(simulator)(num_envs=1, **kwargs)  # type: ignore[assignment]
        self._batch.autoreset = False
        faces: Any = self._batch
        self.observation_space, self.action_space = faces.single_observation_space, faces.single_action_space
        self.render_mode = self._batch.render_mode
        self.metadata = {key: value for key, value in self._batch.metadata.items() if key != "autoreset_mode"}
        self._compiled, self._steps = compiled, 0
        self._fast: CompiledStep | None = None

    @property
    def batch(self) -> BatchedEnv:
        """The simulator, whose state is that of the running episode."""
        if self._fast is not None:
            self._batch.state = self._fast.state()
        return self._batch

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin the first episode of ``seed``, or the next one."""
        super().reset(seed=seed)
        observation, _ = self._batch.reset(seed=seed, options=options)
        if self._fast is None and self._worth_compiling():
            self._compile()
        if self._fast is not None:
            self._fast.load(self._batch.state)
        return observation[0].numpy(), {}

    def step(self, action: Array) -> Told:
        """One step; ``info`` holds ``cost``, ``costs`` by name, ``is_success`` and the measures.

        Raises:
            ValueError: an action of another shape, or one that is not finite.
        """
        self._steps += 1
        return self._slow_step(action) if self._fast is None else self._fast_step(self._fast, action)

    def _slow_step(self, action: Array) -> Told:
        observation, reward, terminated, truncated, info = self._batch.step(torch.as_tensor(np.asarray(action))[None])
        told = {"cost": float(info["cost"][0]), "is_success": bool(info["success"][0])}
        told |= {name: float(value) for name, value in zip(self._batch.cost_names, info["costs"][0], strict=True)}
        told |= {name: float(value[0]) for name, value in info["measures"].items()}
        return observation[0].numpy(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), told

    def _fast_step(self, fast: CompiledStep, action: Array) -> Told:
        given = np.asarray(action, dtype=np.float32)
        if given.shape != self.action_space.shape or not np.isfinite(given).all():
            raise ArgumentError(f"action={action!r} must be {self.action_space.shape} finite numbers in [-1, 1].")
        floats, whole = fast(given.clip(-1.0, 1.0))
        earned, costs, seen = (floats[place] for place in fast.told[:3])
        ends = whole[fast.told[3]]
        terminated, success = ends.tolist()
        reward, *measures = earned.tolist()
        names, parts = self._batch.cost_names, costs.tolist()
        told = {"cost": float(costs.sum()), "is_success": bool(success)}
        told |= dict(zip(names, parts, strict=True)) | dict(zip(fast.measures, measures, strict=True))
        truncated = fast.elapsed >= self._batch.max_episode_steps and not terminated
        return seen.copy(), reward, bool(terminated), truncated, told

    def _worth_compiling(self) -> bool:
        if self._compiled is None:
            return self._steps >= PATIENCE and compiler() is not None
        return self._compiled

    def _compile(self) -> None:
        try:
            self._fast = CompiledStep(self._batch)
        except UnrecordableError as error:
            if self._compiled:
                raise ArgumentError(f"compiled=True: {type(self._batch).__name__} cannot be: {error}.") from error
            self._compiled = False

    def render(self) -> Any:
        """As the simulator draws it."""
        return self.batch.render()

    def close(self) -> None:
        """Let go of windows."""
        self._batch.close()
