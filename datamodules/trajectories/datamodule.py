"""Trajectories: windows of what robots did, from files or from our own mobile base, and a world to try plans in."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from matplotlib.figure import Figure
from torch import Tensor

from litmotif.batches.trajectories import Policy, TaskName, Window

from ..core import DataError, Draw, SplitDataModule
from ..envs.mobile_base import DT
from ..files.broken import MAX_BAD
from ..robots.g1_csv import Order
from ..robots.jumps import Jumps, clean, report
from ..robots.kinematics import G1_TRACKED, KinematicTree, from_mjcf, g1
from ..robots.recording import Layout, Recording
from ..splits import deal, stand_in
from ..stick_figures import Skeleton, draw_strip
from .contact import poses, soles
from .features import robot_features
from .mirror import SUFFIX, mirrored
from .mobile_base import policies
from .mobile_base.recordings import record, to_recordings
from .mobile_base.scenes import TASKS
from .mobile_base.tasks import Rollouts, rollout
from .mobile_base.view import draw_paths
from .readers.folder import Format, read_folder
from .resample import resample
from .store import TrajectoryStore

Split = Literal["train", "val", "test"]
EVAL_SEEDS = {"val": 1_000_000_000, "test": 2_000_000_000}
"""Seed of the closed-loop episodes of a split: the same for every seed of a training."""


class Windows:
    """The windows of one split; each batch is one gather from the store.

    Args:
        store: all recordings.
        starts: (M,) first steps.
        history: N.
        horizon: H.
    """

    def __init__(self, store: TrajectoryStore, starts: Tensor, history: int, horizon: int) -> None:
        self.store, self.starts, self.history, self.length = store, starts, history, history + 1 + horizon

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, draws: Sequence[Draw]) -> Window:
        """One batch."""
        item = torch.tensor([index for index, _ in draws])
        states, actions, _ = self.store.windows(self.starts[item], self.length, self.history)
        return Window(states, actions, item)


class Trajectories(SplitDataModule):
    """Windows of states and actions.

    Without ``root`` the trajectories are generated in seconds: a mobile base among pillars under analytic controllers
    with noise on its actions; plans can then be tried in the closed loop of three tasks. With ``root`` they come from
    files: native npz, G1 csv, BeyondMimic npz, Minari or LeRobot, see ``readers``.

    Args:
        root: file or folder.
        format: of the files; ``auto`` recognises them by what they hold.
        source_fps: steps a second, where the files do not say, or say it wrongly.
        max_bad: share of broken files that is tolerated: they are left out, with a warning that counts them.
        fps: resample to so many steps a second; None keeps the files' own.
        joints: order of the joint columns, for formats that do not say.
        bodies: order of the bodies, for formats that do not say.
        quaternion: order of the root quaternion of a csv, where it is not the format's.
        state_keys: columns of the state in a LeRobot dataset, where there is no observation.state.
        robot: ``g1``, or an MJCF file: the robot of the files, whose forward kinematics turns joints into bodies.
        tracked: bodies in the state; None takes BeyondMimic's, but for the pelvis, which is the root; of another robot
            than the G1 all that turn on hinges.
        jumps: recordings that jump are kept (``keep``), cut there (``split``) or left out (``drop``).
        mirror: learn from the mirror image of each recording too.
        history: past steps N.
        horizon: future steps H.
        stride: a training window begins every so many steps.
        eval_stride: the same in validation and test; None takes H, so that no step is planned twice.
        val: share of the motions held out for validation; 0 validates on the training motions.
        test: share of the motions held out for the test; 0 tests on the training motions.
        std_floor: least standard deviation of a column; None refuses columns that do not vary.
        episodes: generated recordings.
        episode_seconds: length of each, s.
        tasks: tried in closed loop where the trajectories are generated.
        task_episodes: of each task.
        val_tasks: try them after each validation too, not only in the test.
        **kwargs: batch sizes, steps an epoch, workers, seed: see ``BaseDataModule``.
    """

    links = ("layout", "history", "horizon", "statistics")

    def __init__(
        self,
        root: str | None = None,
        format: Format = "auto",
        source_fps: float | None = None,
        max_bad: float = MAX_BAD,
        fps: float | None = None,
        joints: list[str] | None = None,
        bodies: list[str] | None = None,
        quaternion: Order | None = None,
        state_keys: list[str] | None = None,
        robot: str = "g1",
        tracked: list[str] | None = None,
        jumps: Jumps = "split",
        mirror: bool = False,
        history: int = 4,
        horizon: int = 16,
        stride: int = 1,
        eval_stride: int | None = None,
        val: float = 0.1,
        test: float = 0.1,
        std_floor: float | None = None,
        episodes: int = 200,
        episode_seconds: float = 20.0,
        tasks: list[str] | None = None,
        task_episodes: int = 50,
        val_tasks: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if history < 0 or horizon < 1 or stride < 1:
            raise DataError(f"history={history}, horizon={horizon}, stride={stride}: at least 0, 1 and 1.")
        if unknown := set(tasks or ()) - set(TASKS):
            raise DataError(f"tasks={tasks}: no {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}.")
        self.root, self.history, self.horizon = root, history, horizon
        self.tasks: list[TaskName] = [task for task in TASKS if tasks is None or task in tasks]
        self._splits: dict[str, Windows] | None = None
        self._rollouts: dict[str, Rollouts] = {}
        self._shown: dict[str, Tensor] = {}

    # ------------------------------------------------------------------ what a module must know
    @property
    def layout(self) -> Layout:
        """Names, sizes, units and frames of the columns, joints with their limits, bodies, steps a second."""
        return self.split("train").store.layout

    @cached_property
    def statistics(self) -> dict[str, list[float]]:
        """Mean and standard deviation of each column over the training windows, as a normaliser takes them."""
        train = self.split("train")
        store, floor = train.store, self.hparams["std_floor"]
        found = store.statistics(train.starts, train.length, self.history, floor)
        return {name: value.tolist() for name, value in found._asdict().items()}

    # ------------------------------------------------------------------ trying plans
    def feet(self, states: Tensor) -> Tensor | None:
        """Soles (..., W, F, 3) m in the character frame, by forward kinematics from states (..., W, S).

        None where nobody knows them: without joints, and of another robot than the G1.
        """
        if not self.layout["joints"] or self.hparams["robot"] != "g1":
            return None
        return soles(states, self.layout, self._robot)

    def rollout(
        self, policy: Policy, split: str, replan_every: int = 4, rank: int = 0, world_size: int = 1
    ) -> dict[str, Rollouts]:
        """Try a policy in each task; see ``mobile_base.tasks``."""
        if self.root is not None or (split == "val" and not self.hparams["val_tasks"]):
            return {}
        self._rollouts = self._try(policy, split, replan_every, rank, world_size)
        return self._rollouts

    def baselines(self, split: str, rank: int = 0, world_size: int = 1) -> dict[str, dict[str, Rollouts]]:
        """The same for the ``expert`` that the recordings are of, for standing still and for ``random`` actions."""
        if self.root is not None:
            return {}
        return {name: self._try(policy, split, 4, rank, world_size) for name, policy in policies.BASELINES.items()}

    def _try(self, policy: Policy, split: str, replan_every: int, rank: int, world_size: int) -> dict[str, Rollouts]:
        count, seed = self.hparams["task_episodes"], EVAL_SEEDS[split]
        return {
            task: rollout(policy, task, count, seed, replan_every, self.history, rank=rank, world_size=world_size)
            for task in self.tasks
        }

    def show(self, plans: dict[str, Tensor]) -> None:
        """Keep plans of one window, states (W, S) by title, for the pictures of a run."""
        self._shown = {title: states.detach().cpu() for title, states in plans.items()}

    def figures(self) -> dict[str, Figure]:
        """Pictures of the latest episodes in closed loop, and of the robot in the plans that were shown last."""
        found = {task: draw_paths(rollouts, task) for task, rollouts in self._rollouts.items()}
        if self._shown and self.layout["joints"]:
            bodies = {title: poses(states, self.layout, self._robot)[0] for title, states in self._shown.items()}
            skeletons = [Skeleton(title, points.numpy()) for title, points in bodies.items()]
            found["plans"] = draw_strip(skeletons, self._robot.edges, self._robot.bodies)
        return found

    # ------------------------------------------------------------------ data
    def split(self, name: str) -> Windows:
        """The windows of a split."""
        if self._splits is None:
            self._splits = self._load()
        return self._splits[name]

    def _load(self) -> dict[str, Windows]:
        h = self.hparams
        if self.root is None:
            rank_zero_info("data.root is not set: trajectories of a mobile base, generated.")
        recordings = self._generate() if self.root is None else self._read(Path(self.root))
        shares = {"train": 1 - h["val"] - h["test"], "val": h["val"], "test": h["test"]}
        dealt = stand_in(deal([recording.motion for recording in recordings], shares, self.seed), shares)
        store = TrajectoryStore(recordings)
        length = self.history + 1 + self.horizon
        splits = {}
        for name, numbers in dealt.items():
            held_out = name != "train"
            kept = [k for k in numbers if not (held_out and recordings[k].name.endswith(SUFFIX))]
            stride = (h["eval_stride"] or self.horizon) if held_out else h["stride"]
            splits[name] = Windows(store, store.starts(length, kept, stride), self.history, self.horizon)
            motions = len({recordings[k].motion for k in kept})
            rank_zero_info(f"{name}: {len(splits[name]):,} windows of {motions} motions.")
        return splits

    def _generate(self) -> list[Recording]:
        steps = round(self.hparams["episode_seconds"] / DT)
        return to_recordings(record(self.hparams["episodes"], steps, self.seed))

    def _read(self, root: Path) -> list[Recording]:
        h = self.hparams
        order = (h["joints"], h["bodies"], h["quaternion"], h["state_keys"])
        recordings = read_folder(root, h["format"], h["source_fps"], *order, tree=self._robot, max_bad=h["max_bad"])
        shortest = self.history + 1 + self.horizon
        recordings, jumps = clean(recordings, h["jumps"], shortest=shortest)
        if jumps:
            clips = len({jump.recording for jump in jumps})
            rank_zero_info(f"{len(jumps)} jumps in {clips} recordings, jumps={h['jumps']}:\n{report(jumps, 10)}")
        if h["fps"] is not None:
            recordings = [resample(recording, h["fps"]) for recording in recordings]
        if all(recording.joint_pos is None for recording in recordings):
            if h["mirror"]:
                raise DataError("mirror=true: these files name no joints, so that nobody knows left from right.")
            return recordings
        if h["mirror"]:
            recordings += [mirrored(recording, self._robot) for recording in recordings]
        if any(recording.actions is None for recording in recordings):
            rank_zero_info("The files hold no actions: each is the next step's joint angles.")
        tracked = h["tracked"] or (G1_TRACKED if h["robot"] == "g1" else self._robot.hinged)
        return [robot_features(recording, self._robot, tracked) for recording in recordings]

    @cached_property
    def _robot(self) -> KinematicTree:
        return g1() if self.hparams["robot"] == "g1" else from_mjcf(self.hparams["robot"])
