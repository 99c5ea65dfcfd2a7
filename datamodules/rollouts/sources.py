"""Vector environments of any kind behind one face: our batched simulators, and whatever Gymnasium can make."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import ClipAction, FlattenObservation, RescaleAction
from torch import Tensor
from typing_extensions import override

from litmotif.batches.rollouts import Transition

from ..core import DataError
from ..envs import BatchedEnv

State = dict[str, Any]
"""Tensors (in dictionaries) whose last axis counts the environments."""


class Source(ABC):
    """N environments that begin anew by themselves; all randomness follows from the seeds."""

    num_envs: int
    observation_size: int
    action_size: int
    action_kind: str
    cost_names: list[str]
    max_episode_steps: int | None

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
        shape = (self.num_envs, self.action_size) if self.action_kind == "continuous" else (self.num_envs,)
        return torch.zeros(shape, dtype=torch.float32 if self.action_kind == "continuous" else torch.int64)

    def scripted(self) -> Tensor | None:
        """What a hand-written policy would do now, where the environment has one."""
        return None


class BatchedSource(Source):
    """One of our simulators.

    Args:
        env: the simulator.
    """

    def __init__(self, env: BatchedEnv) -> None:
        self.env, self.num_envs = env, env.num_envs
        self.observation_size = spaces.flatdim(env.single_observation_space)
        self.action_size, self.action_kind = _actions(env.single_action_space)
        self.cost_names, self.max_episode_steps = list(env.cost_names), env.max_episode_steps

    @override
    def reset(self, seeds: Sequence[int]) -> Tensor:
        return self.env.reset(seed=list(seeds))[0]

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


class GymnasiumSource(Source):
    """Scalar environments of Gymnasium, one after the other or each in a process.

    Each episode is begun with a seed of its own, and its actions are kept: a run goes on by playing them again. That
    makes any environment resumable that is deterministic given its seed.

    Args:
        make: makes one environment.
        num_envs: N.
        costs: the keys of ``info`` that hold costs.
        max_episode_steps: truncates; None takes the environment's own limit.
        processes: one process an environment.
    """

    def __init__(
        self,
        make: Callable[[], "gymnasium.Env[Any, Any]"],
        num_envs: int,
        costs: Sequence[str],
        max_episode_steps: int | None,
        processes: bool,
    ) -> None:
        vector: Any = AsyncVectorEnv if processes else SyncVectorEnv
        made = partial(_stoppable, make, os.getpid()) if processes else make
        self.env = vector([made] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
        self.num_envs, self.cost_names = num_envs, list(costs)
        self.observation_size = spaces.flatdim(self.env.single_observation_space)
        self.action_size, self.action_kind = _actions(self.env.single_action_space)
        spec = self.env.spec if processes else self.env.envs[0].spec
        self.max_episode_steps = max_episode_steps or (spec and spec.max_episode_steps)
        self.limit = torch.full((num_envs,), self.max_episode_steps or 2**62)

    @override
    def reset(self, seeds: Sequence[int]) -> Tensor:
        self.seeds = torch.tensor(list(seeds))
        self.episode = torch.zeros(self.num_envs, dtype=torch.int64)
        self.elapsed = torch.zeros(self.num_envs, dtype=torch.int64)
        self.limit.fill_(self.max_episode_steps or 2**62)
        self.actions: list[Tensor] = []
        """Of the last steps, as many as the longest running episode has."""
        return self._reset(torch.ones(self.num_envs, dtype=torch.bool))

    @override
    def step(self, action: Tensor) -> Transition:
        observed, reward, terminated, truncated, info = self.env.step(action.cpu().numpy())
        self.actions.append(action.cpu().clone())
        self.elapsed += 1
        observation = torch.as_tensor(np.asarray(observed), dtype=torch.float32).clone()
        ended = torch.as_tensor(terminated)
        cut = (torch.as_tensor(truncated) | (self.elapsed >= self.limit)) & ~ended
        done = ended | cut
        final = observation[done]
        costs = self._costs(info)
        if bool(done.any()):
            self.episode[done] += 1
            self.elapsed[done] = 0
            self.limit[done] = self.max_episode_steps or 2**62
            observation = self._reset(done)
            longest = int(self.elapsed.max())
            self.actions = self.actions[len(self.actions) - longest :]
        earned = torch.as_tensor(reward, dtype=torch.float32)
        success = torch.as_tensor(np.asarray(info.get("is_success", info.get("success", np.zeros(self.num_envs)))))
        return Transition(observation, earned, costs, ended, cut, final, success.bool() & done, {})

    @override
    def stagger(self, first: int, total: int) -> None:
        if self.max_episode_steps:
            place = torch.arange(first, first + self.num_envs)
            self.limit = self.max_episode_steps - place * self.max_episode_steps // total

    @override
    def state_dict(self) -> State:
        steps = len(self.actions)
        kept = torch.stack(self.actions) if steps else self.zeros().new_zeros((0, *self.zeros().shape))
        return {
            "seeds": self.seeds.clone(),
            "episode": self.episode.clone(),
            "elapsed": self.elapsed.clone(),
            "limit": self.limit.clone(),
            "actions": kept.movedim(1, -1).contiguous(),  # (steps, A, N) or (steps, N)
        }

    @override
    def load_state_dict(self, state: State) -> Tensor:
        """Play the actions of every running episode again."""
        self.seeds, self.episode = state["seeds"].clone(), state["episode"].clone()
        actions = state["actions"].movedim(-1, 1)
        steps = len(actions)
        observation = self._reset(torch.ones(self.num_envs, dtype=torch.bool))
        for number in range(steps):
            observed, _, terminated, truncated, _ = self.env.step(actions[number].numpy())
            waits = steps - state["elapsed"] - (number + 1)  # steps until the episode of a row begins; <= 0 once it has
            idle = torch.as_tensor(terminated | truncated) & (waits > 0)  # what it plays until then means nothing
            again = (waits == 0) | idle
            observation = torch.as_tensor(np.asarray(observed), dtype=torch.float32).clone()
            observation = self._reset(again) if bool(again.any()) else observation
        self.elapsed, self.limit = state["elapsed"].clone(), state["limit"].clone()
        self.actions = list(actions.clone())
        return observation

    @override
    def close(self) -> None:
        self.env.close()

    def _reset(self, rows: Tensor) -> Tensor:
        """Begin the present episode of these rows; the observation of all."""
        seeds = [
            int(np.random.SeedSequence((int(seed) % 2**63, int(episode))).generate_state(1)[0] >> 1)
            for seed, episode in zip(self.seeds, self.episode, strict=True)
        ]
        observed, _ = self.env.reset(seed=seeds, options={"reset_mask": rows.numpy()})
        return torch.as_tensor(np.asarray(observed), dtype=torch.float32).clone()

    def _costs(self, info: Mapping[str, Any]) -> Tensor:
        missing = [name for name in self.cost_names if name not in info]
        if missing:
            raise DataError(
                f"The environment gives no info[{missing[0]!r}]; it gives {sorted(k for k in info if k[0] != '_')}. "
                "Name the keys that hold costs in data.costs, or set data.costs to [] for a task without costs."
            )
        columns = [torch.as_tensor(np.asarray(info[name]), dtype=torch.float32) for name in self.cost_names]
        return torch.stack(columns, dim=1) if columns else torch.zeros(self.num_envs, 0)


def _stoppable(make: Callable[[], Any], parent: int) -> Any:
    """An environment in a process that SIGTERM ends, whatever the trainer that it was forked from does on SIGTERM."""
    if os.getpid() != parent:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return make()


class SixthValue(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the cost that Safety-Gymnasium returns between reward and terminated into ``info["cost"]``."""

    def step(self, action: Any) -> Any:
        """Five values, from five or six."""
        told: Any = self.env.step(action)
        observation, reward, *cost, terminated, truncated, info = told
        return observation, reward, terminated, truncated, info | ({"cost": float(cost[0])} if cost else {})


def _actions(space: "spaces.Space[Any]") -> tuple[int, str]:
    if isinstance(space, spaces.Discrete):
        return int(space.n), "choices"
    if isinstance(space, spaces.Box):
        return spaces.flatdim(space), "continuous"
    raise DataError(f"Actions of {space} cannot be learned here: Box or Discrete.")


def _make_one(name: str, kwargs: Mapping[str, Any]) -> Any:
    """One environment, flat, its actions in [-1, 1]."""
    if name.startswith("Safety"):
        try:
            import safety_gymnasium
        except ImportError as error:
            raise DataError(
                f"data.env={name!r} needs Safety-Gymnasium, which has no release for this Python in the extras: "
                "see docs in lit_models/cpo/README.md, 'Safety-Gymnasium'."
            ) from error
        env: Any = SixthValue(safety_gymnasium.make(name, **kwargs))
    else:
        env = SixthValue(gymnasium.make(name, **kwargs))
    if not isinstance(env.observation_space, spaces.Box) or len(env.observation_space.shape) != 1:
        env = FlattenObservation(env)
    space = env.action_space
    if isinstance(space, spaces.Box):
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise DataError(f"The actions of {name} are not bounded: {space}.")
        env = ClipAction(RescaleAction(env, np.float32(-1.0), np.float32(1.0)))
    return env


def make_source(
    name: str,
    num_envs: int,
    kwargs: Mapping[str, Any],
    costs: Sequence[str] | None,
    max_episode_steps: int | None,
    processes: bool,
) -> Source:
    """The environments by their Gymnasium id.

    Args:
        name: an id; those that begin with ``litmotif/`` are our batched simulators.
        num_envs: N.
        kwargs: of one environment.
        costs: keys of ``info`` that hold costs; None means ``cost``. Our simulators name their own.
        max_episode_steps: truncates; None takes the environment's own limit.
        processes: one process an environment, for scalar environments.

    Raises:
        DataError: unknown id, or spaces that cannot be learned on.
    """
    limit = {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    try:
        if not name.startswith("Safety"):
            gymnasium.spec(name)
    except gymnasium.error.Error as error:
        ours = sorted(key for key in gymnasium.registry if key.startswith("litmotif/"))
        raise DataError(f"data.env={name!r}: {error} Ours are {ours}.") from error
    if name.startswith("litmotif/"):
        env: Any = gymnasium.make_vec(name, num_envs, "vector_entry_point", **(dict(kwargs) | limit))
        return BatchedSource(env.unwrapped)
    keys = ["cost"] if costs is None else costs
    return GymnasiumSource(partial(_make_one, name, kwargs), num_envs, keys, max_episode_steps, processes)
