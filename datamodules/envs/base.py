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
MAX_EPISODE_STEPS = 400
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

    What follows an end is one of Gymnasium's three. ``SAME_STEP``: ``step`` returns the first observation of the next
    episode, and ``info["final_obs"]`` the last of the old one in the rows where ``info["_final_obs"]``. ``NEXT_STEP``:
    the next ``step`` begins the next episode in these rows, whatever their action, at reward 0. ``DISABLED``: the row
    stays as it is until ``reset(options={"reset_mask": mask})``. Each info holds ``cost`` (N,), ``costs`` (N, M),
    ``success`` (N,) and ``measures``.

    Actions in NumPy are answered in NumPy, so that the wrappers of ``gymnasium.wrappers.vector`` fit. ``reset`` answers
    as the last ``step`` did; before the first one in tensors, and in NumPy with ``NEXT_STEP`` and ``DISABLED``.

    Args:
        num_envs: N.
        seed: of the episodes until ``reset`` names another; None draws one.
        max_episode_steps: an episode is truncated after as many.
        device: where the tensors live.
        render_mode: ``rgb_array`` or ``human``; row 0 is drawn.
        level: of difficulty, 0 to 4.
        autoreset_mode: what follows an end, as ``AutoresetMode`` or its value.

    Raises:
        ValueError: a level, a render mode or an autoreset mode that there is not.
    """

    seeds: Tensor
    """(N,) int64: of each row."""
    episode: Tensor
    """(N,) int64: number of the running episode of each row's seed."""
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
    """False lets an episode run on after its end, for ``ScalarEnv``."""
    _saved: ClassVar[tuple[str, ...]] = ("seeds", "episode", "levels")
    observation_names: tuple[str, ...]
    action_names: tuple[str, ...]

    def __init__(
        self,
        num_envs: int = 1,
        seed: int | None = None,
        max_episode_steps: int = MAX_EPISODE_STEPS,
        device: str = "cpu",
        render_mode: str | None = None,
        level: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        if not 0 <= level < LEVELS:
            raise ArgumentError(f"level: {level} must be one of 0 to {LEVELS - 1}.")
        if render_mode not in (None, *self.metadata["render_modes"]):
            known = ", ".join([*self.metadata["render_modes"], "null"])
            raise ArgumentError(f"render_mode: {render_mode!r} is not known here; use one of {known}.")
        if autoreset_mode not in (modes := [*AutoresetMode, *(mode.value for mode in AutoresetMode)]):
            raise ArgumentError(f"autoreset_mode: {autoreset_mode!r} must be one of {modes[3:]}.")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self._numpy = self.autoreset_mode is not AutoresetMode.SAME_STEP
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
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
        self._seed([seed] * num_envs if seed is None else seed)
        self._ended = torch.zeros(num_envs, dtype=torch.bool, device=device)
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
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes anew: those of ``seed``, or the next ones.

        Args:
            seed: of row 0, the others follow; or one a row, None where there is none to give.
            options: ``reset_mask`` (N,) bool: the rows to begin anew; the others go on.

        Returns:
            Observation (N, D), info.

        Raises:
            ValueError: seeds or a mask of another length.
        """
        rows = torch.ones(self.num_envs, dtype=torch.bool, device=self.device)
        if options is not None and "reset_mask" in options:
            rows = torch.as_tensor(options["reset_mask"], dtype=torch.bool, device=self.device)
            if rows.shape != (self.num_envs,):
                raise ArgumentError(f"reset_mask of shape {tuple(rows.shape)} must be ({self.num_envs},).")
        if seed is None:
            self.episode[rows] += 1
        else:
            self._seed(seed, rows)
        self._ended &= ~rows
        chosen = rows.nonzero().squeeze(1)
        fresh = self._fresh(chosen)
        if len(chosen) == self.num_envs:
            self.state = fresh
        else:
            put(self.state, chosen, fresh)
        observation: Any = self.observe(self.state)
        return (_to_numpy(observation) if self._numpy else observation), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all episodes.

        Args:
            actions: (N, A), clipped to [-1, 1]; (N,) choices. In NumPy all that is returned is NumPy too.

        Returns:
            Observation (N, D), reward (N,), terminated (N,), truncated (N,), info.

        Raises:
            ValueError: actions of another shape, one that is not finite, or a choice that there is not.
        """
        self._numpy = not isinstance(actions, Tensor)
        told: tuple[Any, Any, Any, Any, dict[str, Any]] = self._step(self._checked(actions))
        if self._numpy:
            told = _to_numpy(told)
        return told

    def _step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        key, elapsed, waiting = self.state["key"], self.state["elapsed"] + 1, self._ended
        same_step = self.autoreset_mode is AutoresetMode.SAME_STEP
        old = None if same_step or not waiting.any() else self.state
        state, outcome = self.advance(self.state, action)
        self.state = state | {"key": key, "elapsed": elapsed}
        truncated = (elapsed >= self.max_episode_steps) & ~outcome.terminated
        if old is not None:
            self._hold(old, waiting)
            outcome = Outcome(*(_blank(part, waiting) for part in outcome))
            truncated = truncated & ~waiting
        info: dict[str, Any] = {
            "cost": outcome.costs.sum(0),
            "costs": outcome.costs.T,
            "success": outcome.success,
            "measures": outcome.measures,
        }
        observation = self.observe(self.state)
        done = outcome.terminated | truncated
        rows = done.nonzero().squeeze(1)
        if not same_step:
            self._ended = done | (waiting & (self.autoreset_mode is AutoresetMode.DISABLED))
        elif self.autoreset and len(rows):
            info["final_obs"], info["_final_obs"] = observation.clone(), done
            observation[rows] = self.observe(self._next(rows))
        return observation, outcome.reward, outcome.terminated, truncated, info

    def _next(self, rows: Tensor) -> State:
        """Begin the next episode in these rows; their states."""
        self.episode[rows] += 1
        fresh = self._fresh(rows)
        put(self.state, rows, fresh)
        return fresh

    def _hold(self, old: State, waiting: Tensor) -> None:
        """Rows that had ended before this step: as they were, or at their next beginning."""
        rows = waiting.nonzero().squeeze(1)
        put(self.state, rows, take(old, rows))
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._next(rows)

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
    def _checked(self, actions: Any) -> Tensor:
        """(A, n) within the bounds, or (n,) choices."""
        space = self.single_action_space
        wanted = (self.num_envs, *(space.shape or ()))
        given = actions if isinstance(actions, Tensor) else torch.tensor(np.asarray(actions))
        given = given.to(self.device)
        if given.shape != wanted:
            raise ArgumentError(f"Actions of shape {tuple(given.shape)} must be {wanted}: one a row.")
        if isinstance(space, spaces.Discrete):
            choice = given.long()
            if ((choice < 0) | (choice >= space.n)).any():
                raise ArgumentError(f"Actions {sorted(set(choice.tolist()))} must be choices from 0 to {space.n - 1}.")
            return choice
        action = given.to(torch.float32)
        if not action.isfinite().all():
            raise ArgumentError(f"Action of row {int((~action.isfinite()).any(1).nonzero()[0])} is not finite.")
        return action.T.clamp(-1.0, 1.0).contiguous()

    def _action_space(self) -> "spaces.Space[Any]":
        return spaces.Box(-1.0, 1.0, (len(self.action_names),), np.float32)

    def _seed(self, seed: int | Sequence[int | None], rows: Tensor | None = None) -> None:
        first = list(seed) if isinstance(seed, Sequence) else [int(seed) + i for i in range(self.num_envs)]
        if len(first) != self.num_envs:
            raise ArgumentError(f"{len(first)} seeds for {self.num_envs} rows: give one a row, or a number.")
        if None in first:  # nobody asked for the same episodes twice
            drawn = np.random.SeedSequence().generate_state(self.num_envs, np.uint64) >> np.uint64(2)
            first = [int(new) if given is None else given for given, new in zip(first, drawn, strict=True)]
        chosen = torch.tensor(first, device=self.device)
        zeros = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self.seeds = chosen if rows is None else torch.where(rows, chosen, self.seeds)
        self.episode = zeros if rows is None else torch.where(rows, zeros, self.episode)

    def _fresh(self, rows: Tensor) -> State:
        key = noise.combine(self.seeds[rows], self.episode[rows])
        elapsed = torch.zeros(len(rows), dtype=torch.int64, device=self.device)
        return self.begin(key, rows) | {"key": key, "elapsed": elapsed}


def _blank(part: Any, rows: Tensor) -> Any:
    """An outcome, nothing in these rows."""
    if isinstance(part, dict):
        return {name: _blank(value, rows) for name, value in part.items()}
    return part.masked_fill(rows, 0)


def _to_numpy(told: Any) -> Any:
    """Tensors in tuples and dictionaries as arrays."""
    if isinstance(told, dict):
        return {name: _to_numpy(value) for name, value in told.items()}
    return tuple(map(_to_numpy, told)) if isinstance(told, tuple) else told.cpu().numpy()
