"""Random finite constrained decision processes, whose optimum a linear program gives."""

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from scipy.optimize import linprog
from torch import Tensor

from litmotif.errors import ArgumentError

from .. import noise
from .base import BatchedEnv, Outcome, State


class TabularCMDP(BatchedEnv):
    """S states, A choices, one reward and M costs each; an episode goes on with probability ``survival`` a step.

    The mean undiscounted return of an episode therefore equals the discounted return of the endless process with
    discount ``survival``, so that the best policy under limits on the mean episode costs is a linear program over
    occupancy measures (Altman 1999, chapter 3).

    Args:
        num_envs: N.
        states: S.
        choices: A.
        constraints: M.
        survival: probability that a step does not end the episode.
        task: seed of the transition probabilities, rewards and costs.
        **options: see ``BatchedEnv``; ``max_episode_steps`` is far beyond the usual length, so that it does not matter.
    """

    cost_names: ClassVar[tuple[str, ...]] = ()
    metadata: dict[str, Any] = BatchedEnv.metadata | {"render_modes": [], "render_fps": 1}  # there is nothing to see

    def __init__(
        self,
        num_envs: int = 1,
        states: int = 6,
        choices: int = 3,
        constraints: int = 1,
        survival: float = 0.95,
        task: int = 0,
        **options: Any,
    ) -> None:
        self.states, self.choices, self.survival = states, choices, survival
        self.cost_names = tuple(f"cost{i}" for i in range(constraints))  # type: ignore[misc]
        self.observation_names = tuple(f"state{i}" for i in range(states))
        self.action_names = ("choice",)
        rng = np.random.default_rng(task)
        self.transition = rng.dirichlet(np.full(states, 0.5), size=(states, choices))  # (S, A, S)
        self.reward = rng.uniform(size=(states, choices))
        self.cost = rng.uniform(size=(states, choices, constraints))
        super().__init__(num_envs, **options)
        self.single_observation_space = spaces.Box(0.0, 1.0, (states,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._cumulative = torch.as_tensor(self.transition.cumsum(-1), dtype=torch.float32, device=self.device)
        self._reward = torch.as_tensor(self.reward, dtype=torch.float32, device=self.device)
        self._cost = torch.as_tensor(self.cost, dtype=torch.float32, device=self.device)

    def _action_space(self) -> "spaces.Space[Any]":
        return spaces.Discrete(self.choices)

    def begin(self, key: Tensor, rows: Tensor) -> State:
        """A state drawn evenly."""
        first = noise.uniform(key, torch.zeros_like(key), 1)[0]
        return {"state": (first * self.states).long()}

    def advance(self, state: State, action: Tensor) -> tuple[State, Outcome]:
        """Draw the next state, and whether there is one."""
        draw = noise.uniform(state["key"], state["elapsed"] + 1, 2)  # (2, n)
        here = state["state"]
        after = (self._cumulative[here, action] < draw[0].unsqueeze(1)).sum(1).clamp(max=self.states - 1)
        ended = draw[1] >= self.survival
        outcome = Outcome(self._reward[here, action], self._cost[here, action].T, ended, torch.zeros_like(ended), {})
        return {"state": after}, outcome

    def observe(self, state: State) -> Tensor:
        """One-hot (n, S)."""
        return torch.nn.functional.one_hot(state["state"], self.states).float()

    # ------------------------------------------------------------------ what is known exactly
    def evaluate(self, policy: "np.ndarray[Any, np.dtype[np.float64]]") -> tuple[float, "np.ndarray[Any, Any]"]:
        """Mean episode return and costs (M,) of a policy (S, A), by solving for its occupancy."""
        flow = np.einsum("sa,sat->st", policy, self.transition)
        occupancy = np.linalg.solve(np.eye(self.states) - self.survival * flow.T, np.full(self.states, 1 / self.states))
        visits = occupancy[:, None] * policy  # (S, A)
        return float((visits * self.reward).sum()), np.einsum("sa,sam->m", visits, self.cost)

    def optimum(self, limits: dict[str, float]) -> tuple[float, "np.ndarray[Any, np.dtype[np.float64]]"]:
        """Best mean episode return under limits on the mean episode costs, and the policy (S, A) that has it.

        Raises:
            ValueError: no policy keeps the limits.
        """
        pairs = self.states * self.choices
        inflow = self.transition.reshape(pairs, self.states).T * self.survival
        outflow = np.repeat(np.eye(self.states), self.choices, axis=1)
        names = list(limits)
        rows = [self.cost[..., self.cost_names.index(name)].ravel() for name in names]
        found: Any = linprog(
            -self.reward.ravel(),
            A_ub=np.array(rows) if rows else None,
            b_ub=[limits[name] for name in names] if rows else None,
            A_eq=outflow - inflow,
            b_eq=np.full(self.states, 1 / self.states),
        )
        if not found.success:
            raise ArgumentError(f"No policy keeps {limits}: {found.message}")
        visits = found.x.reshape(self.states, self.choices)
        return -float(found.fun), visits / visits.sum(1, keepdims=True).clip(1e-12)
