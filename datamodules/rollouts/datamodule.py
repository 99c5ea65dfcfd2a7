"""On-policy rollouts and evaluation episodes of any Gymnasium environment, as a LightningDataModule."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import DataLoader

from .. import noise
from ..core import Batches, DataError, Draw, SplitDataModule
from .collector import Collector, Evaluation
from .draw import Film
from .source import BatchedSource, Source, State
from .sources import make_source

SPLITS = ("train", "val", "test")


class Rollouts(SplitDataModule):
    """N environments that a policy plays T steps at a time, and held-out episodes to judge it by.

    A training batch is the environments themselves, ready for the next T steps; the module lets its policy act in
    them. The environments' whole state is saved with each checkpoint, so that a resumed run plays on as if nothing had
    happened: our simulators save tensors, any other is set up again by playing the actions of its running episodes.

    Args:
        env: Gymnasium id, or ``module:id`` to import the module that registers it. ``litmotif/...`` are our batched
            simulators; a ``Safety...`` that nobody has registered comes from Safety-Gymnasium.
        env_kwargs: of one environment.
        eval_kwargs: laid over ``env_kwargs`` in validation and test.
        num_envs: N, all processes together.
        rollout_length: T, steps of each environment an update.
        steps_per_epoch: updates an epoch.
        val: episodes of the validation split.
        test: episodes of the test split.
        eval_envs: episodes played side by side in evaluation, at most, all processes together.
        costs: keys of ``info`` that hold costs, ``a/b`` for ``info["a"]["b"]``; None means ``cost``. A key that a step
            does not tell costs 0 there. Our simulators name their own.
        sparse_costs: costs may be absent for whole episodes: random actions do not have to find each first.
        max_episode_steps: truncates an episode; None takes the environment's own limit.
        stagger: let the first episodes end at moments spread over a whole episode, so that the ages in a batch differ.
        curriculum: from update ``curriculum[i]`` on, new episodes are of level ``i + 1``; our simulators only.
        num_workers: above 0 plays scalar environments in processes of their own; no result depends on it.
        seed: of all episodes.
    """

    of_env = ("env_kwargs", "eval_kwargs")
    links = ("observation_size", "action_size", "action_kind", "action_bounds", "cost_names")

    def __init__(
        self,
        env: str = "litmotif/Wheelchair-v0",
        env_kwargs: dict[str, Any] | None = None,
        eval_kwargs: dict[str, Any] | None = None,
        num_envs: int = 1024,
        rollout_length: int = 32,
        steps_per_epoch: int = 10,
        val: int = 256,
        test: int = 1000,
        eval_envs: int = 1024,
        costs: list[str] | None = None,
        sparse_costs: bool = False,
        max_episode_steps: int | None = None,
        stagger: bool = True,
        curriculum: list[int] | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(steps_per_epoch=steps_per_epoch, num_workers=num_workers, seed=seed)
        if min(num_envs, rollout_length, steps_per_epoch, val, test, eval_envs) < 1:
            raise DataError("num_envs, rollout_length, steps_per_epoch, val, test and eval_envs must be at least 1.")
        if curriculum is not None and sorted(curriculum) != list(curriculum):
            raise DataError(f"curriculum={curriculum} must rise: the updates at which the next level begins.")
        self.env, self.kwargs = env, {"train": dict(env_kwargs or {})}
        self.kwargs["val"] = self.kwargs["test"] = self.kwargs["train"] | dict(eval_kwargs or {})
        self.num_envs, self.rollout_length = num_envs, rollout_length
        self.episodes = {"val": val, "test": test}
        self.eval_envs, self.costs, self.sparse_costs = eval_envs, costs, sparse_costs
        self.max_episode_steps = max_episode_steps
        self.stagger, self.curriculum = stagger, curriculum
        self._probe: Source | None = None
        self._evaluators: dict[int, Source] | None = None
        self._collector: Collector | None = None
        self._saved: State = {}
        self.film = Film()

    # ------------------------------------------------------------------ what a module must be built with
    @property
    def observation_size(self) -> int:
        """D."""
        return self._one().observation_size

    @property
    def action_size(self) -> int | list[int]:
        """A; a list where several choices are made at once."""
        return self._one().action_size

    @property
    def action_kind(self) -> str:
        """``continuous`` or ``choices``."""
        return self._one().action_kind

    @property
    def action_bounds(self) -> list[list[float]] | None:
        """Lowest and highest action in the environment's units, or the first and the last choice."""
        return self._one().action_bounds

    @property
    def cost_names(self) -> list[str]:
        """Of the M costs."""
        return self._one().cost_names

    def _one(self) -> Source:
        if self._probe is None:
            self._probe = self._make("train", 1, processes=False)
        return self._probe

    # ------------------------------------------------------------------ loaders
    def prepare_data(self) -> None:
        """Make one environment, so that what is wrong with it is known before a module is built."""
        source = self._one()
        if images := getattr(source, "images", []):
            rank_zero_warn(
                f"data.env={self.env!r} shows images {', '.join(map(str, images))}: divided by 255, they are flattened "
                f"to {source.observation_size} inputs of an MLP; there are no convolutions here."
            )

    def split(self, name: str) -> "_Handles":
        """The environments of training, made anew; or the episodes of another split."""
        handles: Sequence[Collector | Evaluation] = [self._training()] if name == "train" else self._episodes(name)
        return _Handles(handles, self._world)

    def loader(self, batches: Batches, train: bool) -> DataLoader[Any]:
        """A loader whose batches are the handles: each process gets the same one at a time."""
        self.batch_size = self.eval_batch_size = self._world
        workers, self.num_workers = self.num_workers, 0  # the handles live here; workers are for environments
        try:
            return super().loader(batches, train)
        finally:
            self.num_workers = workers

    def _training(self) -> Collector:
        first, rows = self._share("num_envs")
        self._close_training()
        source = self._make("train", rows, processes=self.num_workers > 0)
        self._collector = Collector(
            source, self._seed_of("train"), self.rollout_length, first, self.num_envs, self.stagger
        )
        if self._saved:
            mine = _rows(self._saved["environments"], first, rows)
            self._collector.load_state_dict(mine, self._saved["rollouts"])
            self._saved = {}
        return self._collector

    def _episodes(self, split: str) -> list[Evaluation]:
        first, rows = self._share("eval_envs")
        evaluations = []
        for start in range(0, self.episodes[split], self.eval_envs):
            here = min(max(self.episodes[split] - start - first, 0), rows)
            seed = self._seed_of(split) + start
            evaluations.append(
                Evaluation(partial(self._evaluated, split, max(here, 1)), seed, first, here, self.eval_envs, self.film)
            )
        return evaluations

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _share(self, name: str) -> tuple[int, int]:
        """First row of this process, and how many."""
        world = self._world
        rank = self.trainer.global_rank if self.trainer else 0
        total: int = getattr(self, name)
        if total % world:
            raise DataError(f"{name}={total} counts all processes together and does not divide by {world} of them.")
        return rank * (total // world), total // world

    # ------------------------------------------------------------------ environments
    def _make(self, split: str, rows: int, processes: bool) -> Source:
        kwargs, limit = self.kwargs[split], self.max_episode_steps
        return make_source(self.env, rows, kwargs, self.costs, limit, processes, self.sparse_costs)

    def _evaluated(self, split: str, rows: int) -> Source:
        """Made once; the splits differ by their seeds."""
        self._evaluators = {} if self._evaluators is None else self._evaluators
        if rows not in self._evaluators:
            self._evaluators[rows] = self._make(split, rows, processes=self.num_workers > 0)
        return self._evaluators[rows]

    def _seed_of(self, split: str) -> int:
        """Far from every other split's."""
        return int(noise.combine(self.seed, SPLITS.index(split))) >> 2

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Let the curriculum have its say before the rollout."""
        if isinstance(batch, Collector) and self.curriculum is not None and isinstance(batch.source, BatchedSource):
            batch.source.env.levels.fill_(bisect_right(self.curriculum, batch.collected))
        return batch

    # ------------------------------------------------------------------ a run that goes on later
    def state_dict(self) -> dict[str, Any]:
        """The place in the epoch, and the environments of all processes after the last whole update."""
        place = super().state_dict()
        if not place or self._collector is None or self.trainer is None:
            return place
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        state = self._collector.state_dict(progress.processed)
        whole = _gathered(state, self.trainer.strategy) if self.trainer.world_size > 1 else state
        return place | {"rollouts": progress.processed, "environments": whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Play on from there.

        Raises:
            DataError: the checkpoint holds another number of environments.
        """
        super().load_state_dict(state_dict)
        if "environments" not in state_dict:
            return
        saved = next(iter(_leaves(state_dict["environments"]))).shape[-1]
        if saved != self.num_envs:
            raise DataError(
                f"The checkpoint holds {saved} environments, data.num_envs is {self.num_envs}: "
                "set it to the same number, or start a new run from the weights."
            )
        self._saved = {"rollouts": state_dict["rollouts"], "environments": state_dict["environments"]}

    def teardown(self, stage: str) -> None:
        """Close the environments."""
        if stage == "fit":
            self._close_training()
        for source in (self._evaluators or {}).values():
            source.close()
        self._evaluators = None

    def _close_training(self) -> None:
        if self._collector is not None:
            self._collector.source.close()
            self._collector = None

    # ------------------------------------------------------------------ pictures
    def figures(self) -> dict[str, Figure]:
        """Scenes of the first evaluated episode, where the environment can be drawn."""
        figure = self.film.figure()
        return {} if figure is None else {"rollouts": figure}


class _Handles:
    """Environments or evaluations as a data set: every process draws the same one."""

    def __init__(self, handles: Sequence[Collector | Evaluation], world: int) -> None:
        self.handles, self.world = handles, world

    def __len__(self) -> int:
        return len(self.handles) * self.world

    def __getitems__(self, draws: Sequence[Draw]) -> Any:
        return self.handles[draws[0][0] // self.world]


def _leaves(state: State) -> list[Tensor]:
    return [leaf for value in state.values() for leaf in (_leaves(value) if isinstance(value, dict) else [value])]


def _rows(state: State, first: int, rows: int) -> State:
    """The environments of one process."""
    return {
        name: _rows(value, first, rows) if isinstance(value, dict) else value[..., first : first + rows].clone()
        for name, value in state.items()
    }


def _gathered(state: State, strategy: Any) -> State:
    """The environments of all processes, in order; every process must call this."""
    whole: State = {}
    for name, value in state.items():
        if isinstance(value, dict):
            whole[name] = _gathered(value, strategy)
        elif name == "actions":
            whole[name] = _gathered_actions(value, strategy)
        else:
            parts = strategy.all_gather(value.to(strategy.root_device))  # (W, ..., n)
            whole[name] = torch.cat(list(parts.to(value.device)), dim=-1)
    return whole


def _gathered_actions(actions: Tensor, strategy: Any) -> Tensor:
    """Histories of unequal length, aligned at their ends."""
    longest = int(strategy.reduce(torch.tensor(len(actions)), reduce_op="max"))
    padded = torch.cat((actions.new_zeros((longest - len(actions), *actions.shape[1:])), actions))
    return torch.cat(list(strategy.all_gather(padded)), dim=-1)
