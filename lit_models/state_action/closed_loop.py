"""Tasks in closed loop: the costs that stand for them, and how well they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.batches.trajectories import History, Policy, Task
from litmotif.errors import ArgumentError
from litmotif.intervals import rate

from ..core.evaluation import MODEL, measure_rows
from ..diffusion.rolling import Rolling
from .costs import CostFunction, Sum, make_costs
from .layout import StateLayout
from .planner import Plan, Tick
from .simulator import ClosedLoop, OutcomesLike


@dataclass(frozen=True)
class ClosedLoopSettings:
    """Acting in closed loop.

    Attributes:
        replan_every: actions that are executed of each plan.
        rolling: levels to which the noise of states and actions of the last plan is raised before they are denoised
            again, such as [14, 4] of 20, or ``ramp``, which grows along the horizon; None begins afresh.
        task_options: by task, how its costs act, such as ``{forest: {obstacles: {weight: 2.0}}}``, see ``task_costs``.
    """

    replan_every: int = 4
    rolling: Literal["ramp"] | tuple[int, int] | None = None
    task_options: dict[str, dict[str, Any]] | None = None


def task_costs(task: Task, layout: StateLayout, history: int, options: Mapping[str, Any]) -> Sum:
    """The costs of a task.

    Args:
        task: what shall be done.
        layout: of the columns.
        history: steps N before the current one.
        options: of this task: fields of its costs ``joystick``, ``waypoint`` and ``obstacles``, such as their weights.
            ``ahead`` (m) puts the goal so far away in its direction, be it nearer or farther: a window ends long before
            a far goal, whose cost grows with the square of its distance, and does not stop at a near one.

    Raises:
        ValueError: an unknown option, or a field that does not fit.
    """
    costs: dict[str, dict[str, Any]] = {}
    if task.velocity is not None:
        costs["joystick"] = {"velocity": task.velocity}
    if task.waypoint is not None:
        ahead = options.get("ahead")
        goal = task.waypoint if ahead is None else ahead * torch.nn.functional.normalize(task.waypoint, dim=-1)
        costs["waypoint"] = {"goal": goal}
    if task.obstacles is not None:
        costs["obstacles"] = {"discs": task.obstacles}
    if strange := set(options) - {*costs, "ahead"}:
        raise ArgumentError(
            f"task_options.{task.kind} has {', '.join(sorted(strange))}; there are {', '.join(costs)} and ahead."
        )
    plain = [{"cost": name, **fields, **options.get(name, {})} for name, fields in costs.items()]
    return make_costs(plain, layout, history)


class Ticker(Protocol):
    """What plans: a row each, with a random stream of its own."""

    def __call__(
        self,
        past: Plan,
        keys: Sequence[tuple[int, ...]],
        guide: CostFunction | None = None,
        rolling: Rolling | None = None,
        last: Tick | None = None,
    ) -> Tick:
        """See ``Planner.tick``; ``keys`` are those of the rows' random streams."""


class GuidedPolicy:
    """What acts in closed loop: plans under the costs of the task; rows depend on their episode and step alone.

    Args:
        tick: what plans.
        layout: of the columns.
        history: steps N before the current one.
        options: by task, see ``task_costs``.
        rolling: how plans move on; None begins each with pure noise.
        seed: of the plans.
    """

    def __init__(
        self,
        tick: Ticker,
        layout: StateLayout,
        history: int,
        options: Mapping[str, Mapping[str, Any]],
        rolling: Rolling | None = None,
        seed: int = 0,
    ) -> None:
        self.tick, self.layout, self.history, self.options = tick, layout, history, options
        self.rolling, self.seed = rolling, seed
        self._last: tuple[int, Tick] | None = None

    def __call__(self, history: History, task: Task) -> Tensor:
        """Actions from now on (B, K, A)."""
        cost = task_costs(task, self.layout, self.history, self.options.get(task.kind, {}))
        keys = [(self.seed, int(episode), history.step) for episode in history.episode]
        last = None
        if self.rolling and self._last and self._last[0] + self.rolling.shift_by == history.step:
            last = self._last[1]
        made = self.tick(Plan(history.states, history.actions), keys, cost, self.rolling, last)
        self._last = history.step, made
        return made.plan.actions[:, self.history :]


class TaskOutcomes(Metric):
    """Success with its 95 % Wilson interval, seconds of the solved episodes, shares of falls and collisions.

    Counts and sums only, so that processes add up exactly.
    """

    full_state_update = False
    totals: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("totals", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outcomes: OutcomesLike) -> None:
        """Add N episodes."""
        success = outcomes.success.double()
        parts = [success, outcomes.falls, outcomes.collisions, success * outcomes.seconds, torch.ones_like(success)]
        self.totals += torch.stack([part.double().sum() for part in parts]).to(self.totals)

    def compute(self) -> dict[str, float]:
        """``success`` with ``low`` and ``high``, ``falls``, ``collisions``, and ``seconds`` if any succeeded."""
        solved, falls, collisions, seconds, episodes = self.totals.tolist()
        if not episodes:
            return {}
        found = rate("success", int(solved), int(episodes))
        found |= {"falls": falls / episodes, "collisions": collisions / episodes}
        return found | ({"seconds": seconds / solved} if solved else {})


def try_tasks(
    world: ClosedLoop, policy: Policy, split: str, replan_every: int, rank: int, world_size: int, device: torch.device
) -> dict[str, Tensor]:
    """Outcomes of a policy in every task of a world, in a test beside those of the baselines.

    Returns:
        ``TASK_METRIC``, and ``TASK_METRIC/BASELINE``; the same on all processes.
    """
    with torch.inference_mode(False), torch.no_grad():  # guidance takes gradients of what is made in here
        runs = {MODEL: world.rollout(policy, split, replan_every, rank, world_size)}
        if split == "test":
            runs |= world.baselines(split, rank, world_size)
    found: dict[str, Tensor] = {}
    for task in runs[MODEL]:
        table = measure_rows(TaskOutcomes().to(device), {row: tasks[task] for row, tasks in runs.items()})
        found |= {f"{task}_{name}": value for name, value in table.items()}
    return found
