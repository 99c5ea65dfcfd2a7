"""The base of the simulators: N episodes in one set of tensors, as a Gymnasium vector environment."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from litmotif.errors import ArgumentError

from .. import noise
from .view import Picture, View

LEVELS = 5
State = dict[str, Tensor]
"""All that an episode remembers; the last axis of each tensor counts the episodes."""


class Outcome(NamedTuple):
    """What one step of n episodes gives besides the new state.

    Attributes:
        reward: (n,) float32.
        costs: (M, n) float32, each >= 0, in the order of ``cost_names``.
        terminated: (n,) bool: the task has ended, well or badly; nothing follows.
        success: (n,) bool: it ended well, now.
        measures: (n,) float32 each: what an evaluation averages over an episode besides reward and costs.
    """

    reward: Tensor
    costs: Tensor
    terminated: Tensor
    success: Tensor
    measures: dict[str, Tensor]


def take(state: State, rows: Tensor) -> State:
    """The episodes of these rows."""
    return {name: value[..., rows] for name, value in state.items()}


def put(state: State, rows: Tensor, fresh: State) -> None:
    """Write ``fresh`` over these rows."""
    for name, value in fresh.items():
        state[name][..., rows] = value


class BatchedEnv(VectorEnv[Tensor, Tensor, Tensor]):
    """N simulators that share their arithmetic; tensors in, tensors out.

    A subclass is three pure functions of the state (``begin``, ``advance``, ``observe``) and the spaces. Row i of a
    batch with seed s lives through the same episodes as a batch of one with seed s + i.

    An episode that ends is begun anew within the same step (``AutoresetMode.SAME_STEP``): ``step`` returns the first
    observation of the next one, and ``info["final_obs"]`` the last of the old one in the rows where
    ``info["_final_obs"]``. Each info holds ``cost`` (N,), ``costs`` (N, M), ``success`` (N,) and ``measures``.

    Args:
        num_envs: N.
        seed: of the episodes until ``reset`` names another.
        max_episode_steps: an episode is truncated after as many.
        device: where the tensors live.
        render_mode: ``rgb_array`` or ``human``; row 0 is drawn.
        level: of difficulty, 0 to 4.

    Raises:
        ValueError: a level or a render mode that there is not.
    """

    levels: Tensor
    """(N,) int64: the difficulty of each row from its next episode on; a curriculum may write here."""

    metadata: dict[str, Any] = {  # noqa: RUF012 (Gymnasium's own type)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array", "human"],
    }
    cost_names: ClassVar[tuple[str, ...]]
    view: ClassVar[str | None] = None
    """``MODULE:CLASS`` of its ``View``, imported when first drawn; None where there is nothing to see."""
    autoreset: bool = True
    """False leaves an episode that has ended as it is, for ``ScalarEnv``."""
    _saved: ClassVar[tuple[str, ...]] = ("seeds", "episode", "levels")
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def __init__(
        self,
        num_envs: int = 1,
        seed: int = 0,
        max_episode_steps: int = 400,
        device: str = "cpu",
        render_mode: str | None = None,
        level: int = 0,
    ) -> None:
        if not 0 <= level < LEVELS:
            raise ArgumentError(f"level: {level} must be one of 0 to {LEVELS - 1}.")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ArgumentError(f"render_mode: {render_mode!r} is not known; use rgb_array, human or null.")
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self._view: View | None = None
        self.levels = torch.full((num_envs,), level, dtype=torch.int64, device=device)
        self.device, self.render_mode = torch.device(device), render_mode
        self.single_observation_space: spaces.Box = spaces.Box(
            -np.inf, np.inf, (len(self.observation_names),), np.float32
        )
        self.single_action_space = self._action_space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seed(seed)
        torch.empty(6_000_000)  # once freed, glibc keeps pieces up to this size: or each step faults its memory in anew

    # ------------------------------------------------------------------ what a subclass writes
    @abstractmethod
    def begin(self, key: Tensor, rows: Tensor) -> State:
        """The first state of new episodes.

        Args:
            key: (n,) int64, what ``noise`` draws from: all randomness of the episode follows from it.
            rows: (n,) which rows of the batch they are.
        """

    @abstractmethod
    def advance(self, state: State, action: Tensor) -> tuple[State, Outcome]:
        """One step of control; ``state["key"]`` (n,) and ``state["elapsed"]`` (n,) are there to draw noise.

        Args:
            state: of n episodes; not changed.
            action: (A, n) in [-1, 1]; (n,) int64 where the action space is ``Discrete``.
        """

    @abstractmethod
    def observe(self, state: State) -> Tensor:
        """(n, D) float32, about unit scale, in the order of ``observation_names``."""

    # ------------------------------------------------------------------ Gymnasium
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Begin all episodes anew: those of ``seed``, or the next ones."""
        if seed is None:
            self.episode += 1
        else:
            self._seed(seed)
        rows = torch.arange(self.num_envs, device=self.device)
        self.state = self._fresh(rows)
        return self.observe(self.state), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step of all episodes.

        Args:
            actions: (N, A); clipped to [-1, 1].

        Returns:
            Observation (N, D), reward (N,), terminated (N,), truncated (N,), info.

        Raises:
            ValueError: an action is not finite.
        """
        key, elapsed = self.state["key"], self.state["elapsed"] + 1
        state, outcome = self.advance(self.state, self._checked(actions))
        self.state = state | {"key": key, "elapsed": elapsed}
        truncated = (elapsed >= self.max_episode_steps) & ~outcome.terminated
        info: dict[str, Any] = {
            "cost": outcome.costs.sum(0),
            "costs": outcome.costs.T,
            "success": outcome.success,
            "measures": outcome.measures,
        }
        observation = self.observe(self.state)
        done = outcome.terminated | truncated
        rows = done.nonzero().squeeze(1)
        if self.autoreset and len(rows):
            info["final_obs"], info["_final_obs"] = observation.clone(), done
            self.episode[rows] += 1
            fresh = self._fresh(rows)
            put(self.state, rows, fresh)
            observation[rows] = self.observe(fresh)
        return observation, outcome.reward, outcome.terminated, truncated, info

    def render(self) -> Picture | None:  # type: ignore[override]
        """A picture of row 0; None where a window shows it, or nothing is to be drawn."""
        if self.render_mode is None or self.view is None:
            return None
        if self._view is None:
            self._view = resolve_name(self.view)(self.render_mode)
        return self._view.show(self)

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of the window."""
        if self._view is not None:
            self._view.close()
            self._view = None

    # ------------------------------------------------------------------ a run that goes on later
    def state_dict(self) -> dict[str, Any]:
        """All that the future depends on: the episodes as they stand."""
        saved: dict[str, Any] = {name: getattr(self, name).clone() for name in self._saved}
        return saved | {"state": {name: value.clone() for name, value in self.state.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> Tensor:
        """Go on from there; returns the observation that ``step`` gave last."""
        for name in self._saved:
            setattr(self, name, state[name].to(self.device))
        self.state = {name: value.to(self.device) for name, value in state["state"].items()}
        return self.observe(self.state)

    def stagger(self, first: int, total: int) -> None:
        """Let the first episodes end at moments spread over a whole episode, so that the ages in a batch differ.

        Args:
            first: number of row 0 among all environments of all processes.
            total: how many these are.
        """
        place = torch.arange(first, first + self.num_envs, device=self.device)
        self.state["elapsed"] = place * self.max_episode_steps // total

    # ------------------------------------------------------------------
    def _checked(self, actions: Tensor) -> Tensor:
        """(A, n) within the bounds, or (n,) choices."""
        if isinstance(self.single_action_space, spaces.Discrete):
            return torch.as_tensor(actions, device=self.device).long()
        action = torch.as_tensor(actions, dtype=torch.float32, device=self.device)
        if not action.isfinite().all():
            raise ArgumentError(f"Action of row {int((~action.isfinite()).any(1).nonzero()[0])} is not finite.")
        return action.T.clamp(-1.0, 1.0).contiguous()

    def _action_space(self) -> "spaces.Space[Any]":
        return spaces.Box(-1.0, 1.0, (len(self.action_names),), np.float32)

    def _seed(self, seed: int | Sequence[int | None]) -> None:
        first = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else [s or 0 for s in seed]
        self.seeds = torch.tensor(first, device=self.device)
        self.episode = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)

    def _fresh(self, rows: Tensor) -> State:
        key = noise.combine(self.seeds[rows], self.episode[rows])
        elapsed = torch.zeros(len(rows), dtype=torch.int64, device=self.device)
        return self.begin(key, rows) | {"key": key, "elapsed": elapsed}
