"""Anybody's environments: made by their id, played one after the other or each in a process, begun again by replay."""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from litmotif.batches.rollouts import Transition

from ..core import DataError
from .plain import TOLD, Plain, require_costs
from .source import Source, State

NO_LIMIT = 2**62


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
        require: play random actions until each cost has been seen.

    Raises:
        DataError: spaces that cannot be learned on, or a cost that never shows.
    """

    def __init__(
        self,
        make: Callable[[], "gymnasium.Env[Any, Any]"],
        num_envs: int,
        costs: Sequence[str],
        max_episode_steps: int | None,
        processes: bool,
        require: bool = False,
    ) -> None:
        self.num_envs, self.cost_names = num_envs, _short(costs)
        plain = partial(_plain, make, costs, max_episode_steps, os.getpid())
        probe = plain()  # knows more than a vector of processes does
        try:
            actions, self.observation_size, self.label = probe.actions, probe.observe.size, probe.label
            self.images = probe.observe.images
            limit = None if probe.spec is None else probe.spec.max_episode_steps
            if require:
                require_costs(probe)
        finally:
            probe.close()
        self.action_size, self.action_kind, self.action_bounds = actions.size, actions.kind, actions.bounds
        self.max_episode_steps = max_episode_steps or limit
        vector: Any = AsyncVectorEnv if processes else SyncVectorEnv
        self.env = vector([plain] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
        self.limit = torch.full((num_envs,), self.max_episode_steps or NO_LIMIT)

    @override
    def reset(self, seeds: Sequence[int]) -> Tensor:
        self.seeds = torch.tensor(list(seeds))
        self.episode = torch.zeros(self.num_envs, dtype=torch.int64)
        self.elapsed = torch.zeros(self.num_envs, dtype=torch.int64)
        self.over = torch.zeros(self.num_envs, dtype=torch.bool)
        self.limit.fill_(self.max_episode_steps or NO_LIMIT)
        self.actions: list[Tensor] = []
        """Of the last steps, as many as the longest running episode has."""
        self.observation = self._reset(torch.ones(self.num_envs, dtype=torch.bool))
        return self.observation

    @override
    def step(self, action: Tensor) -> Transition:
        observed, _, _, _, info = self.env.step(action.cpu().numpy())
        told = torch.as_tensor(info["told"])  # (N, 4 + M) float64
        self.actions.append(action.cpu().clone())
        self.elapsed += ~self.over
        observation = torch.as_tensor(observed).clone()
        reward, terminated, truncated, success = told[:, : len(TOLD)].T
        ended = terminated.bool()
        cut = (truncated.bool() | (self.elapsed >= self.limit)) & ~ended & ~self.over
        done = ended | cut
        final = observation[done]
        if self.once:
            self.over |= done
        elif bool(done.any()):
            self.episode[done] += 1
            self.elapsed[done] = 0
            self.limit[done] = self.max_episode_steps or NO_LIMIT
            observation = self._reset(done)
            self.actions = self.actions[len(self.actions) - int(self.elapsed.max()) :]
        self.observation = observation
        costs = told[:, len(TOLD) :].float()
        return Transition(observation, reward.float(), costs, ended, cut, final, success.bool() & done, {})

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
            "observation": self.observation.T.contiguous(),  # (D, N)
        }

    @override
    def load_state_dict(self, state: State) -> Tensor:
        """Play the actions of every running episode again."""
        self.seeds, self.episode = state["seeds"].clone(), state["episode"].clone()
        actions = state["actions"].movedim(-1, 1)
        steps = len(actions)
        observation = self._reset(torch.ones(self.num_envs, dtype=torch.bool))
        for number in range(steps):
            observed, *_ = self.env.step(actions[number].numpy())
            observation = torch.as_tensor(observed).clone()
            again = steps - state["elapsed"] == number + 1  # what a row has played until here means nothing
            observation = self._reset(again) if bool(again.any()) else observation
        self.elapsed, self.limit = state["elapsed"].clone(), state["limit"].clone()
        self.over = torch.zeros(self.num_envs, dtype=torch.bool)
        self.actions = list(actions.clone())
        saved = state.get("observation")
        if saved is not None and not torch.equal(saved.T, observation):
            row = int((observation != saved.T).any(1).nonzero()[0])
            rank_zero_warn(
                f"{self.label} does not repeat itself: with its seed and its actions row {row} came to another "
                "observation than was saved. The run goes on from there, and is not the one that was interrupted; "
                "reset(seed=...) has to decide all that is random."
            )
        self.observation = observation
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
        return torch.as_tensor(observed).clone()


def _plain(make: Callable[[], Any], costs: Sequence[str], max_episode_steps: int | None, parent: int) -> Plain:
    """An environment of plain numbers; SIGTERM ends the process of its own, whatever the trainer does on SIGTERM."""
    if os.getpid() != parent:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return Plain(make(), costs, max_episode_steps)


def _short(costs: Sequence[str]) -> list[str]:
    """Names of costs: ``wall`` of ``costs/wall``."""
    found = [key.rpartition("/")[2] for key in costs]
    if len(set(found)) < len(found):
        raise DataError(f"data.costs={list(costs)} names a cost twice: {found}.", "Let their last parts differ.")
    return found
