"""Constrained policy optimisation as a LightningModule."""

from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from litmotif.errors import ArgumentError
from litmotif.seeding import generator

from ..core import optim
from .on_policy import OnPolicy
from .optimizer import Surrogates, TrustRegion
from .samples import Samples
from .trust_region import TrustRegionSettings, solve

CASES = ("inactive", "boundary", "recovery", "infeasible")


class CPO(OnPolicy):
    """Constrained policy optimisation (Achiam et al. 2017) with the exact step for any number of constraints.

    Without ``cost_limits`` it is TRPO (Schulman et al. 2015).

    Args:
        trust_region: of an update, and the search within.
        kwargs: of ``OnPolicy`` and ``BaseModule``.
    """

    solver = staticmethod(solve)
    """Gives the step; a comparison may put another here."""

    def __init__(self, trust_region: TrustRegionSettings = TrustRegionSettings(), **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The critics' and the trust region, in this order."""
        settings = self.group(TrustRegionSettings)
        trust_region = TrustRegion(self.policy.parameters(), settings, self.reduce, self.solver)
        critics: Any = super().configure_optimizers()
        return [critics, self.with_schedule(trust_region)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let changed hyper-parameters win over the restored optimiser's."""
        super().on_load_checkpoint(checkpoint)
        old, wanted = checkpoint.get("hyper_parameters", {}), self.group(TrustRegionSettings).target_kl
        peak = self.group(optim.Optimizer).lr
        critics = peak / old.get("optimizer", {}).get("lr", peak)
        ratio = wanted / old.get("trust_region", {}).get("target_kl", wanted) / critics
        optim.rescale_restored(
            checkpoint.get("optimizer_states", [])[1:], checkpoint.get("lr_schedulers", [])[1:], lr=ratio, decay=0.0
        )

    def update_policy(self, samples: Samples) -> dict[str, float]:
        """One step of the trust region, counted by the trainer."""
        needed = len(samples.gaps) + 2
        if samples.count < needed:
            raise ArgumentError(
                f"An update has {samples.count} samples and needs at least {needed}: raise data.num_envs or "
                "data.rollout_length."
            )
        optimizers: Any = self.optimizers()
        trust_region: TrustRegion = optimizers[1].optimizer
        trust_region.gaps = samples.gaps
        exact = samples.double()
        self.policy.double()  # in place: sums over any number of processes now agree far below what a step is
        try:
            optimizers[1].step(closure=lambda: self._surrogates(exact))
        finally:
            self.policy.float()
        update = trust_region.last
        report = {
            "kl": update.kl,
            "kl_share": update.kl_share,
            "reward_gain": update.reward_gain,
            "case": float(CASES.index(update.case)),
            "accepted": float(update.accepted),
            "trials": float(update.trials),
            "fisher_products": float(update.products),
        }
        names = [self.cost_names[number] for number in self.limited]
        return report | {f"multiplier_{name}": nu for name, nu in zip(names, update.multipliers, strict=True)}

    def _surrogates(self, samples: Samples) -> Surrogates:
        new = self.policy(samples.observation)
        ratio = (self.policy.log_prob(new, samples.action) - samples.log_prob).exp()  # (S,)
        reward = ratio @ samples.reward_advantage
        costs = ratio @ samples.cost_advantages  # (m,)
        kl = self.policy.kl(samples.old, new)  # (S,)
        sums = torch.cat((reward.unsqueeze(0), kl.sum().unsqueeze(0), costs))
        if not torch.is_grad_enabled():
            return Surrogates(sums, len(ratio), kl.new_zeros(()), 0)
        rows = self._fisher_rows(samples).to(kl.device)
        old = samples.old._replace(location=samples.old.location[rows])
        curvature = self.policy.kl(old, self.policy(samples.observation[rows])).sum()
        return Surrogates(sums, len(ratio), curvature, len(rows))

    def _fisher_rows(self, samples: Samples) -> Tensor:
        """Which of this process's samples the Fisher matrix is measured on; the choice is made among all."""
        source = generator(self.hparams["seed"], 2, self.batches_so_far)
        wanted = max(1, round(samples.count * self.group(TrustRegionSettings).fisher_fraction))
        return samples.rows(torch.randperm(samples.count, generator=source)[:wanted])
