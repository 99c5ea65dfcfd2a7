"""PPO with Lagrange multipliers: the usual rival of constrained policy optimisation, under the same roof."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from litmotif.seeding import generator

from .metrics import scale
from .network import Distribution
from .on_policy import OnPolicy, set_gradients
from .samples import Samples


@dataclass(frozen=True)
class PolicySteps:
    """Clipped gradient steps of the policy.

    Attributes:
        lr: learning rate, shaped by ``schedule`` as the critics' is.
        clip: of the ratio of the new policy's probability to the old one's.
        passes: through the samples of an update.
        batch: samples of a step, all processes together.
        target_kl: a pass that ends beyond it is the last of the update; None never stops early.
    """

    lr: float = 3e-4
    clip: float = 0.2
    passes: int = 10
    batch: int = 2048
    target_kl: float | None = 0.02


@dataclass(frozen=True)
class Multipliers:
    """Lagrange multipliers of the limits.

    Attributes:
        lr: their step, a relative excess.
        start: their first value.
    """

    lr: float = 0.05
    start: float = 0.0


class PPOLagrangian(OnPolicy):
    """Clipped policy gradients on reward minus priced costs (Schulman et al. 2017; Ray, Achiam and Amodei 2019).

        maximise  (A_r - sum_i lambda_i A_ci) / (1 + sum_i lambda_i),
        lambda_i <- max(0, lambda_i + multipliers.lr * (J_ci - d_i) / |d_i|)

    Args:
        policy_steps: of the policy.
        multipliers: of the limits.
        kwargs: of ``OnPolicy`` and ``BaseModule``.
    """

    def __init__(
        self,
        policy_steps: PolicySteps = PolicySteps(),
        multipliers: Multipliers = Multipliers(),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        start = self.group(Multipliers).start
        self.multipliers: Tensor
        self.register_buffer("multipliers", torch.full((len(self.limited),), start, dtype=torch.float64))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The critics' and the policy's, in this order."""
        critics: Any = super().configure_optimizers()
        policy = torch.optim.Adam(self.policy.parameters(), lr=self.group(PolicySteps).lr)
        return [critics, self.with_schedule(policy)]

    def update_policy(self, samples: Samples) -> dict[str, float]:
        """Passes of clipped gradient steps; the last one is counted by the trainer, as the update."""
        steps = self.group(PolicySteps)
        self._price(samples)
        price = self.multipliers.float()
        advantage = (samples.reward_advantage - samples.cost_advantages @ price) / (1.0 + price.sum())
        optimizers: Any = self.optimizers()
        raw = self._raw_optimizer(1)
        source = generator(self.hparams["seed"], 3, self.batches_so_far)
        kl, passes = 0.0, 0
        for passes in range(1, steps.passes + 1):  # noqa: B007 (the number of passes is reported)
            for chunk in torch.split(torch.randperm(samples.count, generator=source), steps.batch):
                self._slope(samples, advantage, chunk)
                raw.step()
            kl = self._kl(samples)
            if steps.target_kl is not None and kl > steps.target_kl:
                break
        for parameter in self.policy.parameters():
            parameter.grad = None
        optimizers[1].step()  # without gradients: only counts
        names = [self.cost_names[number] for number in self.limited]
        report = {f"multiplier_{name}": value for name, value in zip(names, price.tolist(), strict=True)}
        return report | {"kl": kl, "passes": float(passes)}

    def _price(self, samples: Samples) -> None:
        """Raise the price of what is above its limit, lower it below."""
        limits = [scale(self.limits[self.cost_names[number]]) for number in self.limited]
        relative = torch.as_tensor(samples.gaps, device=self.device) * samples.episode_length / torch.tensor(limits)
        self.multipliers.add_(self.group(Multipliers).lr * relative).clamp_(min=0.0)

    def _slope(self, samples: Samples, advantage: Tensor, chunk: Tensor) -> None:
        """Leave in ``grad`` the gradient of the clipped objective over the samples of a chunk, of all processes."""
        rows = samples.rows(chunk).to(self.device)
        parameters = list(self.policy.parameters())
        new = self.policy(samples.observation[rows])
        ratio = (self.policy.log_prob(new, samples.action[rows]) - samples.log_prob[rows]).exp()  # (b,)
        clip = self.group(PolicySteps).clip
        gain = torch.minimum(ratio * advantage[rows], ratio.clamp(1.0 - clip, 1.0 + clip) * advantage[rows])
        slopes = torch.autograd.grad(-gain.sum() / len(chunk), parameters)
        set_gradients(parameters, self.reduce(torch.cat([slope.reshape(-1) for slope in slopes])))

    @torch.no_grad()
    def _kl(self, samples: Samples) -> float:
        old: Distribution = samples.old
        total = self.policy.kl(old, self.policy(samples.observation)).double().sum()
        return float(self.reduce(total)) / samples.count
