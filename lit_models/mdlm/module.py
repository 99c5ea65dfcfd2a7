"""MDLM-DiT as a LightningModule: masked diffusion learns to plan."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, overload

import numpy as np
import torch
from torch import Tensor

from litmotif.batches.plans import Observation, PlanBatch
from litmotif.seeding import generator

from ..core.evaluation import MODEL, EvaluatedModule, measure_rows
from ..core.modes import evaluating
from . import diffusion
from .diffusion import Objective
from .metrics import PlanLikelihood, PlanSuccess, Policy, RolloutsLike, Simulator
from .network import END, MASK, Memory, Network, PlanDiT
from .samplers import Sampler, Sampling, sample
from .shown import View, require_view, row_of


class MDLMDiT(EvaluatedModule):
    """Masked discrete diffusion over action plans, conditioned on a grid observation.

    Args:
        horizon: plan slots L, END included.
        view_size: width and height of the observed grid.
        words: vocabulary of the mission; word i has id i + 1.
        view: what the observed grid shows, which ``plan`` then asks for: ``full`` or ``partial``; None: nobody knows.
        network: its sizes, and what it is told.
        objective: what is learned.
        sampling: how plans are drawn.
        **kwargs: optimiser, schedule and seed, see ``BaseModule``.
    """

    architecture: ClassVar[frozenset[str]] = frozenset({"horizon", "view_size", "words", "network"})
    batch: ClassVar = PlanBatch
    entries: ClassVar[tuple[str, ...]] = ("encode", "decode")
    headline: ClassVar[str] = "nelbo"
    progress_bar: ClassVar[tuple[str, ...]] = ("nelbo", "success")

    def __init__(
        self,
        horizon: int,
        view_size: Sequence[int],
        words: Sequence[str] = (),
        view: View | None = None,
        network: Network = Network(),
        objective: Objective = Objective(),
        sampling: Sampling = Sampling(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.objective, self.sampling = self.group(Objective), self.group(Sampling)
        self.network = PlanDiT(horizon, view_size, len(words), self.group(Network))
        self.schedule = diffusion.SCHEDULES[self.objective.noise_schedule]
        self.horizon = horizon
        self.likelihood = PlanLikelihood()

    # ------------------------------------------------------------------ training
    def training_step(self, batch: PlanBatch, batch_idx: int) -> Tensor:
        """The weighted loss at low-discrepancy times; the true NELBO is logged beside it, whatever the weight."""
        draws, world = self.objective.draws_per_plan, self.trainer.world_size
        rows = len(batch.plan) * world
        source = self.step_generator(self.batches_so_far)  # one draw for the global batch; this rank takes its rows
        t = diffusion.low_discrepancy_times(rows * draws, source).view(draws, rows)
        coin = torch.rand(draws, rows, self.horizon, generator=source)
        masked_everywhere = coin >= self.schedule.alpha(t)[..., None]  # (M, R, L)
        mine = slice(self.global_rank, None, world)
        t, masked = t[:, mine].flatten().to(self.device), masked_everywhere[:, mine].flatten(0, 1).to(self.device)

        plan = batch.plan.repeat(draws, 1)  # (M * B, L)
        memory = self.network.encode(batch.observation).rows(
            torch.arange(len(plan), device=self.device) % len(batch.plan)
        )
        noise = self._noise(source, draws, rows)  # (M, R, L, D)
        noise = None if noise is None else noise[:, mine].flatten(0, 1).to(self.device)
        nll = self._nll(plan, masked, memory, t, noise)  # (M * B, L)
        weight = self.schedule.weight(t)
        nelbo = (weight * nll.sum(dim=1)).mean()
        if self.objective.loss_weight == "uniform":
            loss = nll.sum() * world / masked_everywhere.sum()
        else:
            loss = (weight.clamp(max=self.objective.weight_clip) * nll.sum(dim=1)).mean() / self.horizon
        self.log_means({"train/loss": loss, "train/nelbo": nelbo}, rows)
        return loss

    def _nll(self, plan: Tensor, masked: Tensor, memory: Memory, t: Tensor, noise: Tensor | None) -> Tensor:
        logits = self.network.decode(diffusion.corrupt(plan, masked, MASK), memory, t, noise)
        return diffusion.cross_entropy(logits, plan, masked)

    def _noise(self, source: torch.Generator, *rows: int) -> Tensor | None:
        """What stands at masked slots besides their MASK embedding: (*rows, L, D), or nothing."""
        if self.objective.corruption == "mask":
            return None
        size = (*rows, self.horizon, self.group(Network).hidden_size)
        return torch.randn(size, generator=source, device=source.device)

    # ------------------------------------------------------------------ evaluation
    def validation_step(self, batch: PlanBatch, batch_idx: int) -> None:
        """Add the plans of a batch to the NELBO."""
        self._evaluate(batch)

    def test_step(self, batch: PlanBatch, batch_idx: int) -> None:
        """Add the plans of a batch to the NELBO."""
        self._evaluate(batch)

    def _evaluate(self, batch: PlanBatch) -> None:
        actions = ((batch.plan != END).sum(dim=1) + 1).clamp(max=self.horizon)
        self.likelihood.update(self.evaluate_nelbo(batch), batch.floor, actions)

    def evaluate_nelbo(self, batch: PlanBatch) -> Tensor:
        """The NELBO of each plan (B,), nats, at fixed numbers of masked slots and seeded masks."""
        levels = min(self.objective.validation_levels or self.horizon, self.horizon)
        sources = [generator(self.hparams["seed"], int(item)) for item in batch.item]
        coins = torch.stack([torch.rand(levels * self.horizon + 1, generator=source) for source in sources])
        counts = diffusion.level_counts(self.horizon, levels, coins[:, 0])  # (B, K)
        masked = diffusion.exactly_masked(counts.flatten(), coins[:, 1:].reshape(-1, self.horizon))  # (B * K, L)
        noises = [noise for source in sources if (noise := self._noise(source, levels)) is not None]  # B of (K, L, D)
        noise = torch.cat(noises).to(self.device) if noises else None  # (B * K, L, D)
        rows = torch.arange(len(counts), device=self.device).repeat_interleave(levels)
        memory = self.network.encode(batch.observation).rows(rows)
        t = self.schedule.time(counts.flatten() / self.horizon)
        nll = self._nll(batch.plan[rows], masked.to(self.device), memory, t.to(self.device), noise)
        total = nll.sum(dim=1).view(-1, levels)  # (B, K)
        return diffusion.nelbo_from_levels(total, counts.to(self.device), self.horizon)

    def results(self, split: str) -> dict[str, Tensor]:
        """The NELBO, and what the plans achieve in the environment."""
        likelihood = self.likelihood.compute()
        self.likelihood.reset()
        success = measure_rows(PlanSuccess().to(self.device), self._rollouts(split))
        return {"loss": likelihood["nelbo"] / self.horizon} | likelihood | success

    def _rollouts(self, split: str) -> dict[str, RolloutsLike]:
        simulator: Simulator | None = getattr(self.trainer, "datamodule", None)
        if simulator is None or not hasattr(simulator, "rollout") or self.trainer.sanity_checking:
            return {}
        rank, world = self.global_rank, self.trainer.world_size
        model = simulator.rollout(self.policy(), split, self.sampling.replan_every, rank, world)
        return {MODEL: model} | (simulator.baselines(split, rank, world) if split == "test" else {})

    # ------------------------------------------------------------------ planning
    def predict_step(self, batch: PlanBatch, batch_idx: int) -> Tensor:
        """Plans (B, L) for the observations of a batch."""
        return self.plan(batch.observation, seed=batch_idx)

    def policy(self, seed: int = 0) -> Policy:
        """A function from observations to plans, with a random stream of its own."""
        source = generator(self.hparams["seed"], seed, self.global_rank)
        return lambda observation: self._plan(observation, source)

    @overload
    def plan(self, observation: Mapping[str, Any], seed: int = 0) -> list[int]: ...

    @overload
    def plan(self, observation: Observation, seed: int = 0) -> Tensor: ...

    @overload
    def plan(self, observation: np.ndarray[Any, Any] | Tensor, seed: int = 0) -> list[int]: ...

    def plan(
        self, observation: Observation | Mapping[str, Any] | np.ndarray[Any, Any] | Tensor, seed: int = 0
    ) -> Tensor | list[int]:
        """Plan from what the environment shows.

        Args:
            observation: an observation of B rows, or one dictionary as MiniGrid's environments give it
                (``image`` (W, H, 3), ``direction``, ``mission``), or the image of a full view alone.
            seed: of the sampler.

        Returns:
            Plans (B, L) int64, END behind their actions; for a dictionary or an image the list of its actions.

        Raises:
            ArgumentError: a part is missing, or a view of another size or kind than those of training.
        """
        source = generator(self.hparams["seed"], seed)
        if not isinstance(observation, Mapping | np.ndarray | Tensor):
            return self._plan(observation, source)
        row = row_of(observation, self.hparams["words"])
        plan: list[int] = self._plan(row, source)[0].tolist()
        return plan[: plan.index(END)] if END in plan else plan

    @torch.no_grad()
    def _plan(self, observation: Observation, source: torch.Generator) -> Tensor:
        require_view(observation.image, self.hparams["view_size"], self.hparams["view"])
        moved = Observation(
            *(part.to(self.device) for part in (observation.image, observation.direction, observation.mission))
        )

        def denoise(tokens: Tensor, t: Tensor) -> Tensor:
            noise = self._noise(source, len(tokens))
            noise = None if noise is None else noise.to(self.device)
            return self.network.decode(tokens.to(self.device), memory, t.to(self.device), noise)

        sampler = Sampler(denoise, self.horizon, MASK, END, self.schedule, self.sampling.temperature, source)
        with evaluating(self):
            memory = self.network.encode(moved)
            return sample(sampler, self.sampling.sampler, len(moved.direction), self.sampling.steps)
