"""PPO with Lagrange multipliers: the usual rival of constrained policy optimisation, under the same roof."""

from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from litmotif.seeding import generator

from .network import Distribution
from .on_policy import OnPolicy, set_gradients
from .samples import Samples


class PPOLagrangian(OnPolicy):
    """Clipped policy gradients on reward minus priced costs (Schulman et al. 2017; Ray, Achiam and Amodei 2019).

        maximise  (A_r - sum_i lambda_i A_ci) / (1 + sum_i lambda_i),
        lambda_i <- max(0, lambda_i + multiplier_lr * (J_ci - d_i) / d_i)

    Args:
        policy_lr: learning rate of the policy, shaped by ``schedule`` as the critics' is.
        clip: of the ratio of the new policy's probability to the old one's.
        policy_passes: through the samples of an update.
        policy_batch: samples of a step of the policy, all processes together.
        target_kl: a pass that ends beyond it is the last of the update; None never stops early.
        multiplier_lr: step of the multipliers, a relative excess.
        multiplier_start: their first value.
        kwargs: of ``OnPolicy`` and ``BaseModule``.
    """

    def __init__(
        self,
        policy_lr: float = 3e-4,
        clip: float = 0.2,
        policy_passes: int = 10,
        policy_batch: int = 2048,
        target_kl: float | None = 0.02,
        multiplier_lr: float = 0.05,
        multiplier_start: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.multipliers: Tensor
        self.register_buffer("multipliers", torch.full((len(self.limited),), multiplier_start, dtype=torch.float64))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The critics' and the policy's, in this order."""
        critics: Any = super().configure_optimizers()
        policy = torch.optim.Adam(self.policy.parameters(), lr=self.hparams["policy_lr"])
        return [critics, self.with_schedule(policy)]

    def update_policy(self, samples: Samples) -> dict[str, float]:
        """Passes of clipped gradient steps; the last one is counted by the trainer, as the update."""
        h = self.hparams
        self._price(samples)
        price = self.multipliers.float()
        advantage = (samples.reward_advantage - samples.cost_advantages @ price) / (1.0 + price.sum())
        optimizers: Any = self.optimizers()
        raw = self._raw_optimizer(1)
        source = generator(h["seed"], 3, self.batches_so_far)
        kl, passes = 0.0, 0
        for passes in range(1, h["policy_passes"] + 1):  # noqa: B007 (the number of passes is reported)
            for chunk in torch.split(torch.randperm(samples.count, generator=source), h["policy_batch"]):
                self._slope(samples, advantage, chunk)
                raw.step()
            kl = self._kl(samples)
            if h["target_kl"] is not None and kl > h["target_kl"]:
                break
        for parameter in self.policy.parameters():
            parameter.grad = None
        optimizers[1].step()  # without gradients: only counts
        names = [self.cost_names[number] for number in self.limited]
        report = {f"multiplier_{name}": value for name, value in zip(names, price.tolist(), strict=True)}
        return report | {"kl": kl, "passes": float(passes)}

    def _price(self, samples: Samples) -> None:
        """Raise the price of what is above its limit, lower it below."""
        limits = [self.limits[self.cost_names[number]] or 1.0 for number in self.limited]
        relative = torch.as_tensor(samples.gaps, device=self.device) * samples.episode_length / torch.tensor(limits)
        self.multipliers.add_(self.hparams["multiplier_lr"] * relative).clamp_(min=0.0)

    def _slope(self, samples: Samples, advantage: Tensor, chunk: Tensor) -> None:
        """Leave in ``grad`` the gradient of the clipped objective over the samples of a chunk, of all processes."""
        rows = samples.rows(chunk).to(self.device)
        parameters = list(self.policy.parameters())
        new = self.policy(samples.observation[rows])
        ratio = (self.policy.log_prob(new, samples.action[rows]) - samples.log_prob[rows]).exp()  # (b,)
        clip = self.hparams["clip"]
        gain = torch.minimum(ratio * advantage[rows], ratio.clamp(1.0 - clip, 1.0 + clip) * advantage[rows])
        slopes = torch.autograd.grad(-gain.sum() / len(chunk), parameters)
        set_gradients(parameters, self.reduce(torch.cat([slope.reshape(-1) for slope in slopes])))

    @torch.no_grad()
    def _kl(self, samples: Samples) -> float:
        old: Distribution = samples.old
        total = self.policy.kl(old, self.policy(samples.observation)).double().sum()
        return float(self.reduce(total)) / samples.count
