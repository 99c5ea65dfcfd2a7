"""On-policy learning under constraints: rollouts, advantages, critics, statistics."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from litmotif.batches.rollouts import Rollout
from litmotif.errors import ArgumentError, LitmotifError

from ..core import optim
from ..core.normalizer import Standardizer
from .acting import Acting
from .advantage import Discounts, gae
from .environments import CollectorLike
from .metrics import excess, scale, share
from .network import Critics, Distribution, Network
from .samples import Samples, sample_index
from .trust_region import Floats

MOST_MARGIN = 0.25
"""The largest learned margin, as a share of the limit: a limit that is far away at first must not wind it up."""

PROGRESS = ("train/return", "train/cost_share", "train/kl_share", "train/steps_per_second")
"""What the progress bar shows."""


class InfeasibleLimitError(LitmotifError, RuntimeError):
    """The policy was in recovery for long, and the cost no longer falls: no policy found keeps the limit."""


@dataclass(frozen=True)
class Margin:
    """Margin below the limits.

    Attributes:
        share: trains against ``limit - share * |limit|``, so that the limit holds with room for noise.
        lr: learns a further margin: each update adds this share of the excess over the limit, and takes away this share
            of what is below it. Noise in the cost gradients lets a policy drift over a limit though every single step
            keeps to it; the learned margin grows until it does not (0 learns none).
    """

    share: float = 0.0
    lr: float = 0.0


@dataclass(frozen=True)
class CriticFit:
    """Fit of the critics.

    Attributes:
        passes: through the samples of an update.
        batch: samples of a step, all processes together.
    """

    passes: int = 4
    batch: int = 2048


class OnPolicy(Acting):
    """Actor and critics over rollouts; a subclass updates the policy.

    **Units.** A limit is on the undiscounted cost of an episode, the number that is logged. The mean episode cost is
    estimated as (mean cost a step) x (mean episode length), which counts every step once, those of unfinished episodes
    too. The mean length is steps by ends of the last rollouts, and at most the limit of steps, where one is known;
    where none is, the mean of whole episodes and of the running ones that are older. The gap of a constraint is divided
    by the mean episode length, since the cost surrogate is a mean over steps.

    Args:
        discounts: of rewards and costs.
        margin: how far below its limits it trains.
        critics: how they are fitted.
        recovery_patience: updates in recovery without a new lowest cost after which the run stops; None never stops.
        kwargs: of ``Acting`` and ``BaseModule``; ``optimizer`` is the critics'.
    """

    def __init__(
        self,
        discounts: Discounts = Discounts(),
        margin: Margin = Margin(),
        critics: CriticFit = CriticFit(),
        recovery_patience: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.automatic_optimization = False
        self.limited = [number for number, name in enumerate(self.cost_names) if name in self.limits]
        signals = 1 + len(self.cost_names)
        self.critics = Critics(self.hparams["observation_size"], signals, self.group(Network))
        self.value_moments = Standardizer(signals, running=True)
        self.lengths: Tensor
        self.register_buffer("lengths", torch.zeros(2, dtype=torch.float64))  # steps, ends; fading
        self.margins: Tensor
        self.register_buffer("margins", torch.zeros(len(self.limited), dtype=torch.float64))  # learned, cost an episode
        self.experience: Tensor
        self.register_buffer("experience", torch.zeros(signals, dtype=torch.float64))  # steps, and their summed costs
        self.recovery: Tensor
        self.register_buffer("recovery", torch.tensor([0.0, torch.inf]))  # updates since the lowest excess; that excess

    # ------------------------------------------------------------------ what a subclass writes
    @abstractmethod
    def update_policy(self, samples: Samples) -> dict[str, float]:
        """Improve the policy; returns what to log. Counts as one step of the trainer."""

    # ------------------------------------------------------------------ optimisers
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Of the critics: ``optimizer`` is theirs. Only the policy's steps count as steps of the trainer."""
        if self.group(optim.Schedule).name == "plateau":
            raise ArgumentError("schedule.name='plateau' needs steps that the trainer makes; choose another schedule.")
        return self.with_schedule(self.make_optimizer(self.critics))

    # ------------------------------------------------------------------ training
    def training_step(self, batch: CollectorLike, batch_idx: int) -> None:
        """One rollout, one update of the policy, a few passes of the critics; all of it or nothing."""
        began = time.perf_counter()
        source = self.step_generator(self.batches_so_far)
        with torch.no_grad():
            rollout = batch.collect(self._actor(batch.first, batch.total, source, deterministic=False))
            _require_finite(rollout)
        with self._restored_on_failure():
            samples, targets, report = self._samples(rollout, batch)
            report |= self.update_policy(samples)
            report |= self._fit_critics(samples, targets, source)
            observed = Standardizer.sums(rollout.observation)
            self.observation_moments.merge(self.reduce(observed))
        report["steps_per_second"] = samples.count / (time.perf_counter() - began)
        self.log_steps({f"train/{name}": value for name, value in report.items()}, PROGRESS)
        self.step_schedules("step")  # left to a module that optimises by hand

    def _samples(self, rollout: Rollout, batch: CollectorLike) -> tuple[Samples, Tensor, dict[str, float]]:
        """The samples of the update, the critics' targets (S, K), and what to log."""
        with torch.no_grad():
            signals = torch.cat((rollout.reward.unsqueeze(-1), rollout.costs), dim=-1)  # (T, N, K)
            observation = self.observation_moments(rollout.observation)  # (T, N, D)
            advantages, targets = self._advantages(rollout, signals, observation)
            flat = observation.flatten(0, 1)  # (S, D)
            old = self.policy(flat)
            old = Distribution(old.location, old.log_std.clone())
            action = rollout.action.flatten(0, 1)
            length, means = self._episode_means(rollout, signals, batch)
            moments = self.reduce(Standardizer.sums(advantages))
            count = int(moments[0])
            mean, square = (moments[1:] / count).view(2, -1)
            centred = advantages.flatten(0, 1) - mean.float()  # (S, K)
            spread = float((square[0] - mean[0] ** 2).clamp(min=1e-12).sqrt())
            episode = dict(zip(("reward", *self.cost_names), (means * length).tolist(), strict=True))
            gaps = self._gaps(episode) / length
            samples = Samples(
                flat,
                action,
                self.policy.log_prob(old, action),
                centred[:, 0] / spread,
                centred[:, [1 + number for number in self.limited]],
                old,
                sample_index(len(signals), signals.shape[1], batch),
                gaps,
                length,
                count,
            )
        self.experience += torch.as_tensor(np.concatenate(([1.0], means[1:])) * count)
        entropy = float(self.reduce(self.policy.entropy(old).double().sum())) / count
        report = {"return": episode.pop("reward"), "length": length, "entropy": entropy}
        report |= {f"cost_{name}": value for name, value in episode.items()} | self.experienced()
        report |= {f"cost_{name}/limit": limit for name, limit in self.limits.items()}
        if self.limits:  # how much of its limit the worst cost uses
            report["cost_share"] = max(share(episode[name], limit) for name, limit in self.limits.items())
        if self.group(Margin).lr:
            names = [self.cost_names[number] for number in self.limited]
            report |= {f"margin_{name}": value for name, value in zip(names, self.margins.tolist(), strict=True)}
        self._watch(episode)
        return samples, targets.flatten(0, 1), report

    def _advantages(self, rollout: Rollout, signals: Tensor, observation: Tensor) -> tuple[Tensor, Tensor]:
        """(T, N, K) advantages and value targets, in the unit of the signals."""
        discounts = self.group(Discounts)
        after = torch.cat((rollout.last_observation, rollout.final_observation))
        all_values = self._values(torch.cat((observation.flatten(0, 1), self.observation_moments(after))))
        here, envs = signals[..., 0].numel(), signals.shape[1]
        values = all_values[:here].view_as(signals)
        next_values = torch.cat((values[1:], all_values[here : here + envs].unsqueeze(0)))
        next_values[rollout.ended] = all_values[here + envs :]
        costs = len(self.cost_names)
        gamma = signals.new_tensor([discounts.gamma] + [discounts.cost_gamma] * costs)
        lam = signals.new_tensor([discounts.gae_lambda] + [discounts.cost_gae_lambda] * costs)
        advantages = gae(signals, values, next_values, rollout.terminated, rollout.ended, gamma, lam)
        return advantages, advantages + values

    def _values(self, observation: Tensor) -> Tensor:
        """(B, K) in the unit of the signals, from standardised observations (B, D)."""
        return self.value_moments.physical(self.critics(observation))

    def _episode_means(self, rollout: Rollout, signals: Tensor, batch: CollectorLike) -> tuple[float, Floats]:
        """Mean episode length, and the mean reward and costs a step (K,)."""
        ended = rollout.ended
        whole = rollout.age.to(ended.device)[ended].sum().double()
        counted = torch.stack((ended.sum().double(), whole))
        packed = self.reduce(torch.cat((Standardizer.sums(signals)[: 1 + signals.shape[-1]], counted)))
        steps, total, ends, whole = packed[0], packed[1:-2], packed[-2], packed[-1]
        limit = batch.max_episode_steps
        self.lengths.mul_(0.9).add_(torch.stack((whole if limit is None else steps, ends)))
        if limit is None:
            length = self._unlimited_length(rollout)
        else:
            length = min(float(self.lengths[0]) / max(float(self.lengths[1]), 1e-9), float(limit))
        return length, np.asarray((total / steps).cpu().numpy())

    def _unlimited_length(self, rollout: Rollout) -> float:
        """Mean length where no limit is known, and so the ends are not spread: of whole episodes, and of longer ones.

        A running episode that is older than the whole ones are long counts with its age; where none has ended yet, all
        do.
        """
        known = float(self.lengths[0] / self.lengths[1]) if self.lengths[1] > 0.0 else 0.0
        ages = rollout.age[-1].to(rollout.ended.device)[~rollout.ended[-1]].double()
        older = ages[ages > known]
        summed = self.reduce(torch.stack((older.sum(), older.new_tensor(len(older))))) + self.lengths.to(ages.device)
        return float(summed[0] / summed[1])

    def _gaps(self, episode: dict[str, float]) -> Floats:
        """(m,) how far each limited cost is above what it is trained against, in cost an episode."""
        names, margin = [self.cost_names[number] for number in self.limited], self.group(Margin)
        limits = np.array([self.limits[name] for name in names], dtype=np.float64)
        room = np.array([scale(self.limits[name]) for name in names], dtype=np.float64)
        costs = np.array([episode[name] for name in names], dtype=np.float64)
        excess = costs - (limits - margin.share * room)
        learned = self.margins.cpu().numpy() + margin.lr * excess
        self.margins.copy_(torch.as_tensor(np.clip(learned, 0.0, MOST_MARGIN * room)))
        return np.asarray(excess + self.margins.cpu().numpy(), dtype=np.float64)

    def _watch(self, episode: dict[str, float]) -> None:
        """Stop where recovery leads nowhere."""
        patience = self.hparams["recovery_patience"]
        if patience is None or not self.limits:
            return
        results = {f"cost_{name}": torch.tensor(value) for name, value in episode.items()}
        worst = excess(results, self.limits)
        if worst < float(self.recovery[1]) * 0.99 or worst == 0.0:
            self.recovery.copy_(torch.tensor([0.0, worst or torch.inf]))
            return
        self.recovery[0] += 1.0
        if self.recovery[0] >= patience:
            above = {n: f"{episode[n]:.3g} > {limit:.3g}" for n, limit in self.limits.items() if episode[n] > limit}
            raise InfeasibleLimitError(
                f"For {patience} updates no policy came nearer to the limits: {above} (mean episode cost > limit; "
                f"the lowest excess was {float(self.recovery[1]):.0%} of a limit). Raise cost_limits, lengthen "
                "recovery_patience, or set it to null."
            )

    def _fit_critics(self, samples: Samples, targets: Tensor, source: torch.Generator) -> dict[str, float]:
        """Regress the critics on the targets, in units in which these have mean 0 and deviation 1."""
        self._rescale_critics(targets)
        normal = ((targets - self.value_moments.mean) / self.value_moments.std).float()
        optimizer: Any = self._raw_optimizer(0)
        params = list(self.critics.parameters())
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        for _ in range(self.group(CriticFit).passes):
            order = torch.randperm(samples.count, generator=source)
            loss.zero_()
            for chunk in torch.split(order, self.group(CriticFit).batch):
                rows = samples.rows(chunk).to(self.device)
                gap = self.critics(samples.observation[rows]) - normal[rows]  # (b, K)
                error = gap.square().sum() / len(chunk)
                slopes = torch.autograd.grad(error, params)
                packed = self.reduce(torch.cat([slope.reshape(-1) for slope in slopes] + [error.detach().reshape(1)]))
                set_gradients(params, packed)
                optimizer.step()
                loss += packed[-1] * len(chunk)
        optimizer.zero_grad()
        return {"critic_loss": float(loss) / samples.count / normal.shape[1]}

    def _rescale_critics(self, targets: Tensor) -> None:
        """Take in the targets' moments and keep every value as it was (van Hasselt et al. 2016, eq. 3-4)."""
        moments = self.value_moments
        mean, std = moments.mean.clone(), moments.std.clone()
        moments.merge(self.reduce(Standardizer.sums(targets)))
        weight, bias = self.critics.weights[-1], self.critics.biases[-1]  # (K, H, 1), (K, 1, 1)
        ratio = (std / moments.std).view(-1, 1, 1)
        with torch.no_grad():
            weight.mul_(ratio)
            bias.mul_(ratio).add_(((mean - moments.mean) / moments.std).view(-1, 1, 1))

    # ------------------------------------------------------------------ what learning has taken
    def experienced(self) -> dict[str, float]:
        """``env_steps`` learned from, and ``cost_rate_NAME``: cost a step over all of them (Ray et al. 2019)."""
        steps, *costs = self.experience.tolist()
        rates = zip(self.cost_names, costs, strict=True)
        return {"env_steps": steps} | {f"cost_rate_{name}": total / max(steps, 1.0) for name, total in rates}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A checkpoint of before experience was counted tells 0."""
        super().on_load_checkpoint(checkpoint)
        checkpoint["state_dict"].setdefault("experience", torch.zeros_like(self.experience))

    # ------------------------------------------------------------------ processes and failures
    def reduce(self, tensor: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.attached is None or self.attached.world_size == 1:
            return tensor
        summed: Tensor = self.trainer.strategy.reduce(tensor.clone(), reduce_op="sum")
        return summed

    def _raw_optimizer(self, number: int) -> Any:
        """An optimiser whose steps do not count as steps of the trainer."""
        optimizers: Any = self.optimizers(use_pl_optimizer=False)
        return optimizers[number] if isinstance(optimizers, list) else optimizers

    @contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        """Leave weights, statistics and optimisers as they were when the update does not come to its end."""
        weights = {name: value.clone() for name, value in self.state_dict().items()}
        optimizers = [_copied(optimizer.state_dict()) for optimizer in self.trainer.optimizers]
        try:
            yield
        except BaseException:
            self.load_state_dict(weights)
            for optimizer, state in zip(self.trainer.optimizers, optimizers, strict=True):
                optimizer.load_state_dict(state)
            raise


def set_gradients(parameters: Sequence[Tensor], packed: Tensor) -> None:
    """Spread a flat vector over ``grad``; what it holds beyond them is left."""
    start = 0
    for parameter in parameters:
        parameter.grad = packed[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()


def _require_finite(rollout: Rollout) -> None:
    """Refuse what would spoil every statistic at once."""
    for name in ("observation", "reward", "costs"):
        values: Tensor = getattr(rollout, name)
        if not values.isfinite().all():
            t, row = (~values.isfinite()).nonzero()[0, :2].tolist()
            raise ArgumentError(
                f"The environment gave a non-finite {name} at step {t} of this rollout in row {row}. "
                "The weights are those before this update."
            )


def _copied(state: dict[str, Any]) -> dict[str, Any]:
    """A state dictionary whose tensors do not change with the optimiser."""
    moments = {
        key: {name: value.clone() if isinstance(value, Tensor) else value for name, value in entry.items()}
        for key, entry in state["state"].items()
    }
    return {"state": moments, "param_groups": [dict(group) for group in state["param_groups"]]}
