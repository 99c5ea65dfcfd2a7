"""Playing: T steps for learning, or whole episodes for evaluation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from litmotif.batches.rollouts import Act, Episodes, Rollout

from ..core import DataError
from .draw import Film
from .source import Source, State

LONGEST = 100_000


class Collector:
    """Environments that stand ready for the next T steps; the training batch of on-policy learners.

    Args:
        source: this process's environments.
        seed: row i of all has seed ``seed + i``.
        steps: T.
        first: position of this process's first environment among all.
        total: environments of all processes together.
        stagger: spread the ends of the first episodes.
    """

    def __init__(self, source: Source, seed: int, steps: int, first: int, total: int, stagger: bool = True) -> None:
        self.source, self.steps, self.first, self.total = source, steps, first, total
        self.max_episode_steps = source.max_episode_steps
        self.collected = 0
        """Rollouts so far, those of the runs that this one resumes included."""
        self.age = torch.zeros(source.num_envs, dtype=torch.int64)
        """(N,) steps of the running episodes."""
        self.observation = source.reset([seed + first + row for row in range(source.num_envs)])
        if stagger:
            source.stagger(first, total)
        self._before: State = self._state()

    def collect(self, act: Act) -> Rollout:
        """Let the policy act for T steps."""
        self._before = self._state()
        self.collected += 1
        columns: list[tuple[Tensor, ...]] = []
        finals: list[Tensor] = []
        for step in range(self.steps):
            action = act(self.observation, step)
            told = self.source.step(action)
            ended = told.terminated | told.truncated
            self.age = self.age + 1
            columns.append((self.observation, action, told.reward, told.costs, told.terminated, ended, self.age))
            self.age = torch.where(ended.cpu(), 0, self.age)
            finals.append(told.final_observation)
            self.observation = told.observation
        observation, action, reward, costs, terminated, ended, age = map(torch.stack, zip(*columns, strict=True))
        last = self.observation
        return Rollout(observation, action, reward, costs, terminated, ended, last, torch.cat(finals), age)

    def state_dict(self, rollouts: int) -> State:
        """The environments as they stood after so many rollouts: now, or before one that was cut off."""
        return self._before if self.collected > rollouts else self._state()

    def load_state_dict(self, state: State, rollouts: int) -> None:
        """Go on from there."""
        self.observation = self.source.load_state_dict(state)
        self.age = state["age"].clone() if "age" in state else torch.zeros_like(self.age)
        self._before, self.collected = self._state(), rollouts

    def _state(self) -> State:
        return self.source.state_dict() | {"age": self.age.clone()}


class Evaluation:
    """Fresh episodes of a split, the same at each evaluation; the batch of validation, test and prediction.

    Args:
        make: makes this process's environments when they are first needed.
        seed: episode i of the split has seed ``seed + i``.
        first: number of this process's first episode.
        episodes: of this process; rows beyond them are played and forgotten.
        total: places of all processes together, by which the noise of a row does not depend on the processes.
        film: watches the policy play.
    """

    def __init__(
        self, make: Callable[[], Source], seed: int, first: int, episodes: int, total: int, film: Film | None = None
    ) -> None:
        self.make, self.seed, self.first, self.episodes, self.total = make, seed, first, episodes, total
        self.film = film
        self._baselines: dict[str, Episodes] = {}

    def evaluate(self, act: Act) -> Episodes:
        """Let the policy act until each episode has ended.

        Raises:
            DataError: an episode never ends.
        """
        return self._play(act, self.film)

    def _play(self, act: Act, film: Film | None) -> Episodes:
        source = self.make()
        source.once = True
        observation = source.reset([self.seed + self.first + row for row in range(source.num_envs)])
        running = torch.ones(source.num_envs, dtype=torch.bool)
        returns = torch.zeros(source.num_envs, dtype=torch.float64)
        lengths = torch.zeros(source.num_envs, dtype=torch.int64)
        costs = torch.zeros(source.num_envs, len(source.cost_names), dtype=torch.float64)
        success = torch.zeros(source.num_envs, dtype=torch.bool)
        measures: dict[str, Tensor] = {}
        for step in range(LONGEST):
            if film is not None:
                film.watch(source, step)
            told = source.step(act(observation, step))
            observation = told.observation
            returns += told.reward * running
            costs += told.costs * running.unsqueeze(1)
            lengths += running
            success |= told.success & running
            for name, value in told.measures.items():
                measures[name] = measures.get(name, torch.zeros(source.num_envs)) + value * running
            running &= ~(told.terminated | told.truncated)
            if not running[: self.episodes].any():
                break
        else:
            raise DataError(f"An episode has not ended after {LONGEST} steps: set data.max_episode_steps.")
        kept = slice(self.episodes)
        means = {name: (value / lengths)[kept] for name, value in measures.items()}
        return Episodes(returns[kept].float(), costs[kept].float(), lengths[kept], success[kept], means)

    def baselines(self) -> dict[str, Episodes]:
        """The same episodes under ``zero``, ``random`` and, where there is one, ``scripted``."""
        if not self._baselines:
            source = self.make()
            generator = torch.Generator().manual_seed(self.seed)
            policies: dict[str, Act] = {
                "zero": lambda observation, step: source.zeros(),
                "random": lambda observation, step: self._random(source, generator),
            }
            if hasattr(getattr(source, "env", None), "scripted"):
                policies["scripted"] = lambda observation, step: _present(source.scripted())
            self._baselines = {name: self._play(policy, None) for name, policy in policies.items()}
        return self._baselines

    def _random(self, source: Source, generator: torch.Generator) -> Tensor:
        mine = slice(self.first, self.first + source.num_envs)
        shape, size = (self.total, *source.action_shape[1:]), source.action_size
        if source.action_kind == "continuous":
            return 2.0 * torch.rand(shape, generator=generator)[mine] - 1.0
        if isinstance(size, int):
            return torch.randint(size, shape, generator=generator)[mine]
        return (torch.rand(shape, generator=generator)[mine] * torch.tensor(size)).long()


def _present(action: Any) -> Tensor:
    assert action is not None  # noqa: S101
    tensor: Tensor = action
    return tensor
