"""Vector environments of any kind behind one face: what a source of experience promises, and our own simulators."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor
from typing_extensions import override

from litmotif.batches.rollouts import Transition

from ..core import DataError
from ..envs import BatchedEnv
from .spaces import actions_of

State = dict[str, Any]
"""Tensors (in dictionaries) whose last axis counts the environments."""


class Source(ABC):
    """N environments that begin anew by themselves; all randomness follows from the seeds."""

    num_envs: int
    observation_size: int
    action_size: int | list[int]
    """A numbers in [-1, 1], or a choice among A; a list where several choices are made at once."""
    action_kind: str
    action_bounds: list[list[float]] | None = None
    """Lowest and highest of each in the environment's units, or the first and the last choice."""
    cost_names: list[str]
    max_episode_steps: int | None
    once: bool = False
    """Rows whose episode has ended stand still: what an evaluation asks for, whose rows play one episode."""

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> Tensor:
        """Begin the first episode of each seed; (N, D)."""

    @abstractmethod
    def step(self, action: Tensor) -> Transition:
        """One step; an episode that ends is followed by the next one of its seed."""

    @abstractmethod
    def stagger(self, first: int, total: int) -> None:
        """Let the first episodes end at moments spread over a whole episode; row 0 is number ``first`` of ``total``."""

    @abstractmethod
    def state_dict(self) -> State:
        """All that the future depends on."""

    @abstractmethod
    def load_state_dict(self, state: State) -> Tensor:
        """Go on from there; the last observation (N, D)."""

    @abstractmethod
    def close(self) -> None:
        """Let go of processes and windows."""

    def zeros(self) -> Tensor:
        """(N, A) or (N,): the action that does nothing, or the first choice."""
        return torch.zeros(self.action_shape, dtype=torch.float32 if self.action_kind == "continuous" else torch.int64)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """(N, A); (N,) for one choice."""
        size = self.action_size
        if not isinstance(size, int):
            return (self.num_envs, len(size))
        return (self.num_envs, size) if self.action_kind == "continuous" else (self.num_envs,)

    def scripted(self) -> Tensor | None:
        """What a hand-written policy would do now, where the environment has one."""
        return None


class BatchedSource(Source):
    """One of our simulators.

    Args:
        env: the simulator.
    """

    def __init__(self, env: BatchedEnv) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise DataError(
                "data.env_kwargs.autoreset_mode: rollouts begin episodes anew within the step; leave it out."
            )
        self.env, self.num_envs = env, env.num_envs
        self.observation_size = spaces.flatdim(env.single_observation_space)
        actions = actions_of(env.single_action_space, type(env).__name__)
        self.action_size, self.action_kind, self.action_bounds = actions.size, actions.kind, actions.bounds
        self.cost_names, self.max_episode_steps = list(env.cost_names), env.max_episode_steps

    @override
    def reset(self, seeds: Sequence[int]) -> Tensor:
        observation: Tensor = self.env.reset(seed=list(seeds))[0]
        return observation

    @override
    def step(self, action: Tensor) -> Transition:
        observation, reward, terminated, truncated, info = self.env.step(action)
        final = info["final_obs"][info["_final_obs"]] if "final_obs" in info else observation[:0]
        return Transition(
            observation, reward, info["costs"], terminated, truncated, final, info["success"], info["measures"]
        )

    @override
    def stagger(self, first: int, total: int) -> None:
        self.env.stagger(first, total)

    @override
    def state_dict(self) -> State:
        return self.env.state_dict()

    @override
    def load_state_dict(self, state: State) -> Tensor:
        return self.env.load_state_dict(state)

    @override
    def close(self) -> None:
        self.env.close()

    @override
    def scripted(self) -> Tensor | None:
        script: Callable[[dict[str, Tensor]], Tensor] | None = getattr(self.env, "scripted", None)
        return None if script is None else script(self.env.state).T
