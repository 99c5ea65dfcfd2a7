"""StateActionDDPM as a LightningModule: one diffusion model of states and actions, steered when it plans."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from litmotif.batches.trajectories import Policy, Window
from litmotif.seeding import generator

from ..core.evaluation import GenerativeModule
from ..core.modes import evaluating
from ..core.normalizer import Statistics
from ..diffusion.guidance import Guidance, GuidanceSettings
from ..diffusion.rolling import Rolling
from ..diffusion.samplers import Noise, Streams
from .closed_loop import ClosedLoopSettings, GuidedPolicy, try_tasks
from .costs import CostFunction, make_costs
from .layout import StateLayout
from .network import Network, StateActionTransformer
from .normalizer import Normalizer
from .objective import ObjectiveSettings, StreamProcess, make_objective
from .plan_evaluation import LOSSES, PlanEvaluation
from .planner import Plan, Planner, PlanSampling, Tick, row_noise


class StateActionDDPM(GenerativeModule):
    """Diffusion over windows of states and actions (BeyondMimic, arXiv:2508.08241; Diffuse-CLoC, arXiv:2503.11801).

    It learns what a robot does and what comes of it. When it plans, the past is given and costs that it never saw in
    training pull the future where it shall go.

    Args:
        layout: of the columns, from the data.
        history: past steps N of a window, from the data.
        horizon: future steps H of a window, from the data.
        statistics: mean and standard deviation of the columns, from the data.
        network: its sizes.
        process: the noise that it learns to undo.
        objective: what is learned.
        emphasis: factor of the emphasis projection, see ``Normalizer``; None for none.
        mixtures: columns that it adds; None takes one for each column of a state.
        sampling: how plans are drawn.
        guide: costs that steer predictions, and a row ``guided`` of the test, such as ``[{cost: joystick, velocity:
            [0.5, 0]}]``; one's own as ``{class_path: ..., init_args: {...}}``, see ``costs.Cost``.
        guidance: how costs act.
        closed_loop: how it acts.
        eval_samples: plans for each held-out window.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    batch: ClassVar = Window
    unfit_precisions: ClassVar = frozenset({"bf16-true", "16-true"})
    architecture: ClassVar[frozenset[str]] = frozenset(
        {"layout", "history", "horizon", "network", "process", "emphasis", "mixtures"}
    )
    entries: ClassVar[tuple[str, ...]] = ("forward",)
    headline: ClassVar[str] = "state_mse"
    evaluation: PlanEvaluation
    normalizer: Normalizer

    def __init__(
        self,
        layout: dict[str, Any],
        history: int,
        horizon: int,
        statistics: Statistics | None = None,
        network: Network = Network(),
        process: StreamProcess = StreamProcess(),
        objective: ObjectiveSettings = ObjectiveSettings(),
        emphasis: float | None = None,
        mixtures: int | None = None,
        sampling: PlanSampling = PlanSampling(),
        guide: list[dict[str, Any]] | None = None,
        guidance: GuidanceSettings = GuidanceSettings(),
        closed_loop: ClosedLoopSettings = ClosedLoopSettings(),
        eval_samples: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        length, kinds, learned = history + 1 + horizon, self.group(StreamProcess), self.group(ObjectiveSettings)
        self.layout, self.history = StateLayout.from_plain(layout), history
        self.normalizer = Normalizer(self.layout, emphasis, mixtures, statistics)
        sizes = (self.normalizer.state_size, self.normalizer.action_size, length)
        self.network = StateActionTransformer(*sizes, kinds.num_train_timesteps, self.group(Network))
        self.objective = make_objective(history, length, kinds, learned)
        tokens = (self.objective.diffusions, self.objective.known)
        self.planner = Planner(self.network, self.normalizer, *tokens, self.group(PlanSampling))
        self.acting = self.group(ClosedLoopSettings)
        rolling, every = self.acting.rolling, self.acting.replan_every
        self.rolling = None if rolling is None else self.planner.rolling(rolling, every)
        self.settings = self.group(GuidanceSettings)
        self.guide = None if guide is None else make_costs(guide, self.layout, history)
        self.evaluation = PlanEvaluation(self.layout, history, learned.action_horizon, guide is not None)

    # ------------------------------------------------------------------ training
    def training_step(self, batch: Window, batch_idx: int) -> Tensor:
        """Denoise windows whose tokens have noise levels of their own."""
        rows = len(batch.states) * self.trainer.world_size
        mine = slice(self.global_rank, None, self.trainer.world_size)  # this rank's rows of the global batch's draw
        source = generator(self.hparams["seed"], self.batches_so_far, device=self.device)
        x0 = self.normalizer.normalise(batch.states, batch.actions)
        noise = tuple(torch.randn((rows, *v.shape[1:]), generator=source, device=self.device)[mine] for v in x0)
        levels = tuple(part[mine] for part in self.objective.draw_levels(rows, source))
        loss = self.objective.total(*self.objective.losses(self.network, x0, noise, levels)).mean()
        self.log_means({"train/loss": loss}, rows)
        return loss

    # ------------------------------------------------------------------ evaluation
    def evaluate(self, batch: Window) -> dict[str, Plan]:
        """Plan from the past of each window, and compare."""
        items = batch.item.tolist()
        keys = [[(sample + 1, item) for item in items] for sample in range(self.hparams["eval_samples"])]
        sources = [generator(self.hparams["seed"], 0, item) for item in items]
        x0 = self.normalizer.normalise(batch.states, batch.actions)
        draw = row_noise(sources)
        noise = self._noise(draw, x0)
        losses = self.objective.losses(self.network, x0, noise, self.objective.planning_levels(sources, self.device))
        self.evaluation.add_losses(dict(zip(LOSSES, (self.objective.total(*losses), *losses), strict=True)))
        truth = Plan(batch.states, batch.actions)
        plans = {"model": self._plans(truth, keys)}
        if self.guide is not None:
            plans["guided"] = self._plans(truth, keys, self.guide)
        noises = [noise, *(self._noise(draw, x0) for _ in keys[1:])]
        self.evaluation.add(plans, truth, self.normalizer, noises, self.guide, getattr(self.data, "feet", None))
        return plans

    def _noise(self, draw: Noise, x0: Streams) -> Streams:
        return tuple(draw(part.shape, part.dtype).to(self.device) for part in x0)

    def shown(self, batch: Window, made: dict[str, Plan]) -> tuple[dict[str, Tensor]]:
        """One window and its plans."""
        return ({"ground truth": batch.states[0], **{name: plan.states[0, 0] for name, plan in made.items()}},)

    def results(self, split: str) -> dict[str, Tensor]:
        """What was found, and what becomes of the tasks of a world to act in."""
        found = super().results(split)
        if hasattr(self.data, "rollout") and not self.trainer.sanity_checking:
            share = (self.global_rank, self.trainer.world_size)
            found |= try_tasks(self.data, self.policy(), split, self.acting.replan_every, *share, self.device)
        return found

    # ------------------------------------------------------------------ planning
    def predict_step(self, batch: Window, batch_idx: int) -> Tensor:
        """Planned states and actions side by side (B, W, S + A), physical units, under ``guide`` if there is one."""
        past = Plan(batch.states, batch.actions)
        return torch.cat(self._tick(past, [(0, item) for item in batch.item.tolist()], self.guide).plan, dim=-1)

    def plan(
        self,
        states: Tensor,
        actions: Tensor,
        guide: CostFunction | Sequence[dict[str, Any] | CostFunction] | None = None,
        num_samples: int = 1,
        seed: int = 0,
    ) -> Plan:
        """Plan from what has happened.

        Args:
            states: (B, N + 1, S), physical units, in the character frame of the last, current step.
            actions: (B, N, A).
            guide: what steers the plan: a cost, or a list of costs or of what YAML writes; None: nothing.
            num_samples: plans from each past, G.
            seed: of the sampler.

        Returns:
            States (G, B, W, S) and actions (G, B, W, A).
        """
        cost = make_costs(guide, self.layout, self.history) if isinstance(guide, Sequence) else guide
        keys = [[(seed, sample, row) for row in range(len(states))] for sample in range(num_samples)]
        with evaluating(self):
            return self._plans(Plan(states, actions), keys, cost)

    def policy(self, seed: int = 0) -> Policy:
        """What acts in closed loop under the costs of a task, see ``GuidedPolicy``."""
        options = self.acting.task_options or {}
        return GuidedPolicy(self._tick, self.layout, self.history, options, self.rolling, seed)

    def _plans(self, past: Plan, keys: Sequence[Sequence[tuple[int, ...]]], guide: CostFunction | None = None) -> Plan:
        """As many plans from each past as there are ``keys``: (G, B, W, ...)."""
        made = [self._tick(past, of_rows, guide).plan for of_rows in keys]
        return Plan(*(torch.stack(parts) for parts in zip(*made, strict=True)))

    def _tick(
        self,
        past: Plan,
        keys: Sequence[tuple[int, ...]],
        guide: CostFunction | None = None,
        rolling: Rolling | None = None,
        last: Tick | None = None,
    ) -> Tick:
        """A plan a row, each with a random stream of its own."""
        noise = row_noise([generator(self.hparams["seed"], *key) for key in keys])
        guidance = None if guide is None else Guidance(guide, self.settings)
        states, actions = past.states.to(self.device), past.actions.to(self.device)
        return self.planner.tick(states, actions, noise, guidance, rolling, last)
