"""StateActionDDPM as a LightningModule: one diffusion model of states and actions, steered when it plans."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from litmotif.batches.trajectories import Policy, Window
from litmotif.seeding import generator

from ..core.evaluation import GenerativeModule
from ..core.modes import evaluating
from ..core.normalizer import Statistics
from ..diffusion.guidance import Guidance, GuidanceSettings
from ..diffusion.process import LossWeighting, PredictionType, TimestepSpacing
from ..diffusion.rolling import Rolling
from ..diffusion.sampler_names import SamplerName, make_sampler
from ..diffusion.samplers import Noise, Streams
from ..diffusion.schedules import BetaSchedule
from .closed_loop import GuidedPolicy, try_tasks
from .costs import CostFunction, make_costs
from .layout import StateLayout
from .network import Attention, StateActionTransformer
from .normalizer import Normalizer
from .objective import LevelSampling, make_objective
from .plan_evaluation import LOSSES, PlanEvaluation
from .planner import Plan, Planner, Tick, row_noise

NETWORK = ("num_train_timesteps", "hidden_size", "num_layers", "num_heads", "mlp_ratio", "dropout", "attention")
OBJECTIVE = (
    *("num_train_timesteps", "beta_schedule", "action_beta_schedule", "prediction_type", "action_horizon"),
    *("level_sampling", "clean_history", "loss_weighting", "snr_gamma", "state_weight", "action_weight"),
)
"""Hyper-parameters that are handed on as they are."""


class StateActionDDPM(GenerativeModule):
    """Diffusion over windows of states and actions (BeyondMimic, arXiv:2508.08241; Diffuse-CLoC, arXiv:2503.11801).

    It learns what a robot does and what comes of it. When it plans, the past is given and costs that it never saw in
    training pull the future where it shall go.

    Args:
        layout: of the columns, from the data.
        history: past steps N of a window, from the data.
        horizon: future steps H of a window, from the data.
        statistics: mean and standard deviation of the columns, from the data.
        hidden_size: token width.
        num_layers: blocks.
        num_heads: attention heads.
        mlp_ratio: width of the perceptrons over ``hidden_size``.
        dropout: rate in the blocks.
        attention: ``causal``: actions see the past alone, states see no action; ``full``: all see all.
        num_train_timesteps: noise levels K.
        beta_schedule: of the states' noise.
        action_beta_schedule: of the actions' noise; None takes that of the states.
        prediction_type: what the network predicts.
        loss_weighting: weight of a token by its level.
        snr_gamma: where ``min_snr`` cuts.
        level_sampling: noise levels in training: one for each token (``independent``, the papers'), one for all tokens
            of a stream in a window (``shared``, as in sampling), or each for half of the windows (``mixed``).
        clean_history: share of the windows whose past is clean, as it is when planning.
        action_horizon: actions that are learned, from the current step on; None takes all H + 1.
        state_weight: of the states' loss.
        action_weight: of the actions' loss.
        emphasis: factor of the emphasis projection, see ``Normalizer``; None for none.
        mixtures: columns that it adds; None takes one for each column of a state.
        sampler: ``ddpm``, ``ddim``, ``dpm_solver`` or ``diffusers``.
        sampler_options: of its constructor, such as ``{eta: 1.0}`` or ``{class_path: ...}``.
        sampling_steps: model evaluations a plan; None takes K.
        timestep_spacing: of the levels of a plan with fewer steps, see ``process.make_path``.
        within_limits: keep the joints of plans within their limits, where the layout tells them.
        guide: costs that steer predictions, and a row ``guided`` of the test, such as ``[{cost: joystick, velocity:
            [0.5, 0]}]``; one's own as ``{class_path: ..., init_args: {...}}``, see ``costs.Cost``.
        guidance: how costs act, see ``GuidanceSettings``.
        task_options: by task, how its costs act in closed loop, such as ``{forest: {obstacles: {weight: 2.0}}}``, see
            ``closed_loop.task_costs``.
        replan_every: actions that are executed of each plan in closed loop.
        rolling: noise in closed loop: levels to which states and actions of the last plan are raised before they are
            denoised again, such as [14, 4] of 20, or ``ramp``, which grows along the horizon; None begins afresh.
        eval_samples: plans for each held-out window.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    architecture: ClassVar[frozenset[str]] = frozenset(
        {
            *("layout", "history", "horizon", "hidden_size", "num_layers", "num_heads", "mlp_ratio", "attention"),
            *("num_train_timesteps", "beta_schedule", "action_beta_schedule", "prediction_type"),
            *("emphasis", "mixtures"),
        }
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
        hidden_size: int = 128,
        num_layers: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        attention: Attention = "causal",
        num_train_timesteps: int = 20,
        beta_schedule: BetaSchedule = "squaredcos_cap_v2",
        action_beta_schedule: BetaSchedule | None = None,
        prediction_type: PredictionType = "sample",
        loss_weighting: LossWeighting = "uniform",
        snr_gamma: float = 5.0,
        level_sampling: LevelSampling = "independent",
        clean_history: float = 0.5,
        action_horizon: int | None = None,
        state_weight: float = 1.0,
        action_weight: float = 1.0,
        emphasis: float | None = None,
        mixtures: int | None = None,
        sampler: SamplerName = "ddim",
        sampler_options: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        timestep_spacing: TimestepSpacing = "trailing",
        within_limits: bool = True,
        guide: list[dict[str, Any]] | None = None,
        guidance: dict[str, Any] | None = None,
        task_options: dict[str, dict[str, Any]] | None = None,
        replan_every: int = 4,
        rolling: Literal["ramp"] | tuple[int, int] | None = None,
        eval_samples: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        h, length = self.hparams, history + 1 + horizon
        self.layout, self.history = StateLayout.from_plain(layout), history
        self.normalizer = Normalizer(self.layout, emphasis, mixtures, statistics)
        sizes = (self.normalizer.state_size, self.normalizer.action_size, length)
        self.network = StateActionTransformer(*sizes, **{name: h[name] for name in NETWORK})
        self.objective = make_objective(history, length, **{name: h[name] for name in OBJECTIVE})
        self.planner = Planner(
            self.network,
            self.normalizer,
            self.objective.diffusions,
            self.objective.known,
            make_sampler(sampler, sampler_options),
            sampling_steps,
            timestep_spacing,
            within_limits,
        )
        self.rolling = None if rolling is None else self.planner.rolling(rolling, replan_every)
        self.settings = GuidanceSettings(**(guidance or {}))
        self.guide = None if guide is None else make_costs(guide, self.layout, history)
        self.evaluation = PlanEvaluation(self.layout, history, action_horizon, guide is not None)

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
            found |= try_tasks(self.data, self.policy(), split, self.hparams["replan_every"], *share, self.device)
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
        options = self.hparams["task_options"] or {}
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
