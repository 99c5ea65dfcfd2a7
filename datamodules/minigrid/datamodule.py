"""MiniGridPlans: expert plans to learn from, and the environments to try plans in."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure

from litmotif.batches.plans import Observation, Rollouts
from litmotif.cache import Arrays, cache_folder, cached

from ..core import DataError, SplitDataModule, random_stream
from .augment import Symmetry, swapped_words
from .draw import draw_rollouts
from .envs import Start, View, enumerable, free_poses, make_env, own_kwargs, reset
from .generate import Episode, Recipe, generate
from .rollouts import Policy, Trace, copying_policy, encode_all, random_rollouts, roll_out
from .table import Episodes, PlanTable, Windows, make_episodes, make_windows

FORMAT = 2
SPLITS = ("train", "val", "test")
SEEDS = {"val": 1_000_000_000, "test": 2_000_000_000}
"""First layout seed of a split; training begins at ``seed * 1,000,000``, so that every seed has the same test."""
PICTURED = 12
SIZES = {"train": 1000, "val": 100, "test": 100}
"""Episodes of a split where nobody says how many, and starts are drawn."""
HELD_OUT = 7
"""Of so many enumerated starts one is held out for validation and one for the test."""


class MiniGridPlans(SplitDataModule):
    """Expert plans of a MiniGrid or BabyAI environment.

    MiniGrid ids are solved by breadth-first search, every plan uniform among the shortest; BabyAI ids by BabyAI's bot.
    Only episodes that earned a reward are kept. Where the pose of the agent is all that varies, the starts are
    enumerated and held out as states; otherwise a split is a range of layout seeds, and an episode whose first
    observation also begins a training episode is left out of the others.

    Args:
        env: id of the environment.
        env_kwargs: arguments of its constructor, e.g. ``{agent_start_pos: null}`` for any start in Empty; None takes
            its own defaults, and frees a start that never varies.
        view: ``full``: the whole grid with the agent in it; ``partial``: the 7 x 7 cells before the agent.
        train: episodes to learn from (starts, where they are enumerated); None: 1000, or all starts but those of the
            others.
        val: episodes to validate on; 0 validates on the training episodes; None: 100, or a seventh of the starts.
        test: episodes to test on; 0 tests on the training episodes; None: as ``val``.
        starts: ``auto`` enumerates where that is possible; ``enumerate`` insists; ``seeds`` never does.
        horizon: slots L of a plan, END included; None takes the 95th percentile of the training plans, and END.
        stride: a training window begins every so many actions; None only where a plan outgrows the horizon.
        max_optimal_plans: shortest plans kept of each start, one is drawn each time.
        symmetry: ``mirror`` reflects every second training window, ``all`` also turns full views.
        generation_workers: processes that make plans; None takes what the job is worth.
        progress: show a bar while making plans.
        cache_dir: where plans are kept; None takes LITMOTIF_CACHE or the user's cache folder.
        split_seed: decides which enumerated starts are held out.
        **kwargs: batch sizes, steps an epoch, workers, seed: see ``BaseDataModule``.
    """

    links = ("horizon", "view_size", "words", "view")
    of_env = ("env_kwargs", "train", "val", "test", "horizon")

    def __init__(
        self,
        env: str = "MiniGrid-Empty-8x8-v0",
        env_kwargs: dict[str, Any] | None = None,
        view: View = "full",
        train: int | None = None,
        val: int | None = None,
        test: int | None = None,
        starts: Literal["auto", "enumerate", "seeds"] = "auto",
        horizon: int | None = None,
        stride: int | None = None,
        max_optimal_plans: int = 16,
        symmetry: Symmetry = "none",
        generation_workers: int | None = None,
        progress: bool = True,
        cache_dir: str | None = None,
        split_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.view, self.counts = view, {"train": train, "val": val, "test": test}
        self._splits: dict[str, PlanTable] | None = None
        self._words: list[str] = []
        self._traces: list[Trace] = []

    @cached_property
    def recipe(self) -> Recipe:
        """What an episode depends on besides its start."""
        h = self.hparams
        given = own_kwargs(h["env"]) if h["env_kwargs"] is None else dict(h["env_kwargs"])
        return Recipe(h["env"], given, self.view, h["max_optimal_plans"])

    # ------------------------------------------------------------------ what a module must know
    @property
    def horizon(self) -> int:
        """Slots L of a plan."""
        return self.split("train").windows.plans.shape[-1]

    @property
    def view_size(self) -> list[int]:
        """Width and height of the observed grid."""
        return list(self.split("train").windows.image.shape[1:3])

    @property
    def words(self) -> list[str]:
        """Vocabulary of the missions, of the training split alone; empty where all missions are the same."""
        self.split("train")
        return self._words

    # ------------------------------------------------------------------ trying plans
    def rollout(
        self, policy: Policy, split: str, replan_every: int | None = None, rank: int = 0, world_size: int = 1
    ) -> Rollouts:
        """Execute the plans of a policy in the real environment.

        Args:
            policy: observations of B rows -> plans (B, L) int64.
            split: ``train``, ``val`` or ``test``.
            replan_every: None: open loop; h: a new plan after h actions.
            rank: this process takes every ``world_size``-th episode from here.
            world_size: processes.
        """
        episodes = self.split(split).episodes
        share = slice(rank, None, world_size)

        def encode(envs: Sequence[Any], view: View) -> Observation:
            return encode_all(envs, view, self.words, self._mission_length)

        outcomes, self._traces = roll_out(
            self.recipe, episodes.starts()[share], episodes.optimal[share], policy, encode, replan_every, PICTURED
        )
        return outcomes

    def baselines(self, split: str, rank: int = 0, world_size: int = 1) -> dict[str, Rollouts]:
        """What others achieve in the same episodes.

        Returns:
            ``random``: uniformly random actions. ``copy``: the plan of the nearest training observation. ``expert``:
            the plans that are learned from.
        """
        traces = self._traces
        episodes = self.split(split).episodes
        share = slice(rank, None, world_size)
        randomly = random_rollouts(self.recipe, episodes.starts()[share], episodes.optimal[share])
        copied = self.rollout(copying_policy(self.split("train").windows), split, None, rank, world_size)
        self._traces = traces  # the picture is of the policy, not of its rivals
        steps = (episodes.actions[share] >= 0).sum(dim=1)
        returns = episodes.returns[share]
        expert = Rollouts(torch.ones(len(steps), dtype=torch.bool), steps, episodes.optimal[share], returns)
        return {"random": randomly, "copy": copied, "expert": expert}

    def figures(self) -> dict[str, Figure]:
        """Pictures of the latest rollout."""
        if not self._traces:
            return {}
        return {"rollouts": draw_rollouts(self._traces, f"{self.recipe.env}: planned paths")}

    # ------------------------------------------------------------------ data
    def split(self, name: str) -> PlanTable:
        """The data of a split; a split of 0 episodes is the training split."""
        if self._splits is None:
            self._splits = self._load()
        return self._splits[name]

    def _load(self) -> dict[str, PlanTable]:
        if self.counts["train"] == 0:
            raise DataError("data.train=0: there is nothing to learn from. Ask for at least 1 episode.")
        h = self.hparams
        key = {
            "format": FORMAT,
            "minigrid": version("minigrid"),
            "recipe": self.recipe._asdict(),
            "counts": self.counts,
            "seed": None if h["starts"] == "enumerate" else self.seed,
            **{name: h[name] for name in ("starts", "horizon", "stride", "split_seed")},
        }
        arrays = cached(cache_folder(h["cache_dir"], "minigrid"), key, self._make, "plans")
        self._words = [str(word) for word in arrays["words"]]
        self._mission_length = int(arrays["mission_length"])
        splits = {}
        for name in SPLITS:
            parts = {
                k.removeprefix(f"{name}."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(f"{name}.")
            }
            if parts:
                windows = Windows(*(parts[field] for field in Windows._fields))
                episodes = Episodes(*(parts[field] for field in Episodes._fields))
                changes = (h["symmetry"], swapped_words(self._words)) if name == "train" else ()
                splits[name] = PlanTable(windows, episodes, *changes)
        for name in (name for name, count in self.counts.items() if count == 0):
            rank_zero_info(f"data.{name} is 0: the training episodes stand in for it.")
            splits[name] = PlanTable(splits["train"].windows, splits["train"].episodes)
        return splits

    def _make(self) -> Arrays:
        made = self._solve()
        missions = {episode.mission for episode in made["train"]}
        words = sorted({word for mission in missions for word in mission.split()}) if len(missions) > 1 else []
        mission_length = max(len(mission.split()) for mission in missions) if words else 0
        horizon = self._choose_horizon([len(episode.actions) for episode in made["train"]])
        arrays: Arrays = {
            "words": np.array(words, dtype=np.str_),
            "mission_length": np.array(mission_length),
        }
        for name, episodes in made.items():
            stride = self.hparams["stride"] if name == "train" else None
            windows = make_windows(episodes, horizon, stride, words, mission_length)
            for part in (windows, make_episodes(episodes)):
                arrays |= {f"{name}.{field}": tensor.numpy() for field, tensor in part._asdict().items()}
        return arrays

    def _solve(self) -> Mapping[str, list[Episode]]:
        made: dict[str, list[Episode]] = {}
        known: set[bytes] = set()
        for name, starts in self._starts().items():
            solved = generate(self.recipe, starts, self.hparams["generation_workers"], self.hparams["progress"])
            fresh = [episode for episode in solved if _first_sight(episode) not in known]
            if name == "train":
                known = {_first_sight(episode) for episode in solved}
                fresh = solved
            rank_zero_info(
                f"{self.recipe.env}, {name}: {len(fresh)} episodes of {len(starts)} "
                f"({len(starts) - len(solved)} unsolved, {len(solved) - len(fresh)} begin like a training episode)."
            )
            if not fresh:
                raise DataError(self._why_empty(name, len(starts), len(solved)))
            made[name] = fresh
        return made

    def _why_empty(self, name: str, asked: int, solved: int) -> str:
        if not solved:
            return f"data.{name}: no episode of {asked} in {self.recipe.env} was solved by the expert."
        return (
            f"data.{name}: every episode of {self.recipe.env} begins like a training episode, so that the split would "
            "measure nothing. Where the environment takes it, free the start with data.env_kwargs: "
            "{agent_start_pos: null}; or set data.val and data.test to 0."
        )

    def _starts(self) -> dict[str, list[Start]]:
        mode = self.hparams["starts"]
        env = make_env(self.recipe.env, self.recipe.env_kwargs)
        if mode == "seeds" or not enumerable(env):
            if mode == "enumerate":
                raise DataError(
                    f"data.starts=enumerate: in {self.recipe.env} more than the agent's pose varies, or the pose is "
                    "fixed. Give data.env_kwargs: {agent_start_pos: null} where the environment takes it, or "
                    "data.starts: seeds."
                )
            first = SEEDS | {"train": self.seed * 1_000_000}
            wanted = self._wanted(SIZES)
            return {name: [Start(first[name] + i) for i in range(count)] for name, count in wanted.items()}
        reset(env, Start(0))
        poses = free_poses(env)
        held_out = max(1, len(poses) // HELD_OUT)
        wanted = self._wanted({"val": held_out, "test": held_out})
        wanted = {"train": len(poses) - sum(wanted.values()), **wanted} if self.counts["train"] is None else wanted
        if sum(wanted.values()) > len(poses):
            raise DataError(
                f"data: {self.recipe.env} has {len(poses)} starts; train, val and test ask for {sum(wanted.values())}. "
                "Leave them out to share the starts among them."
            )
        order = iter(random_stream(self.hparams["split_seed"], 4).permutation(len(poses)))
        return {name: [Start(0, *poses[next(order)]) for _ in range(count)] for name, count in wanted.items()}

    def _wanted(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """Episodes of the splits that have any; ``sizes`` where nobody says how many."""
        wanted = {name: sizes.get(name, 0) if count is None else count for name, count in self.counts.items()}
        return {name: count for name, count in wanted.items() if count}

    def _choose_horizon(self, lengths: Sequence[int]) -> int:
        percentile = int(np.ceil(np.percentile(lengths, 95)))
        horizon: int = self.hparams["horizon"] or percentile + 1
        if horizon < min(lengths):
            raise DataError(
                f"data.horizon={horizon} is shorter than every plan: the shortest has {min(lengths)} actions, "
                f"95 % have up to {percentile}. Set it to {percentile + 1}, or leave it out."
            )
        return horizon


def _first_sight(episode: Episode) -> bytes:
    image: bytes = episode.images[0].tobytes()
    return image + bytes([int(episode.directions[0])]) + episode.mission.encode()
