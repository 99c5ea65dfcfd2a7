"""Samplers of masked diffusion: from all-masked slots to a plan.

Each takes ``denoise(tokens, t) -> logits`` and works on the device of its generator in float64: Gumbel noise drawn in
float32 cuts off the tail and lowers the temperature (Zheng et al., arXiv:2409.02908, section 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from .diffusion import NoiseSchedule

SamplerName = Literal["ancestral", "first_hitting", "confidence"]
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""(tokens (B, L) int64, t (B,)) -> logits (B, L, V)."""


@dataclass(frozen=True)
class Sampling:
    """Sampling of plans.

    Attributes:
        sampler: ``confidence``, ``first_hitting`` or ``ancestral``.
        steps: model evaluations a plan; None takes L.
        temperature: 0 takes the likeliest action.
        replan_every: closed loop, a new plan after so many actions; None executes the plan to its end.
    """

    sampler: SamplerName = "confidence"
    steps: int | None = None
    temperature: float = 0.0
    replan_every: int | None = None


def gumbel(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise in float64."""
    uniform = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
    return -torch.log(-torch.log(uniform.clamp_min(torch.finfo(torch.float64).tiny)))


def end_constraint(logits: Tensor, tokens: Tensor, mask_id: int, end_id: int) -> Tensor:
    """Make the plan's grammar certain: after END only END, before a known action no END.

    Args:
        logits: (B, L, V).
        tokens: slots (B, L), some masked.
        mask_id: id of a masked slot.
        end_id: id of END.

    Returns:
        Logits with -inf where a token cannot stand.
    """
    ended = after_end(tokens, end_id)  # (B, L)
    action = (tokens != mask_id) & (tokens != end_id)  # (B, L)
    before_action = action.flip(1).cummax(dim=1).values.flip(1)  # (B, L)
    is_end = torch.arange(logits.shape[-1], device=logits.device) == end_id  # (V,)
    banned = (ended[..., None] & ~is_end) | (before_action[..., None] & is_end)  # (B, L, V)
    return logits.masked_fill(banned, -torch.inf)


def after_end(tokens: Tensor, end_id: int) -> Tensor:
    """Whether a slot is, or lies behind, the first END: (B, L) bool."""
    return (tokens == end_id).cummax(dim=1).values


class Sampler:
    """One draw from a denoiser: holds what all samplers share.

    Args:
        denoise: the model.
        length: slots L.
        mask_id: id of a masked slot.
        end_id: id of END; None for sequences without an end.
        schedule: gives the t that a fraction of masked slots belongs to.
        temperature: 0 takes the likeliest token, 1 samples from the model.
        generator: source of all randomness.
    """

    def __init__(
        self,
        denoise: Denoiser,
        length: int,
        mask_id: int,
        end_id: int | None,
        schedule: NoiseSchedule,
        temperature: float,
        generator: torch.Generator,
    ) -> None:
        self.denoise = denoise
        self.length = length
        self.mask_id = mask_id
        self.end_id = end_id
        self.schedule = schedule
        self.temperature = temperature
        self.generator = generator

    def start(self, batch: int) -> Tensor:
        """All slots masked: (B, L)."""
        return torch.full((batch, self.length), self.mask_id, device=self.generator.device)

    def predict(self, tokens: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """A token for each slot, and how probable the model held it.

        Returns:
            Drawn tokens (B, L), and their probability at temperature 1, before the draw (B, L) float64.
        """
        logits = self.denoise(tokens, t).to(self.generator.device, torch.float64)
        if self.end_id is not None:
            logits = end_constraint(logits, tokens, self.mask_id, self.end_id)
        log_p = logits.log_softmax(dim=-1)
        score = log_p
        if self.temperature > 0:
            score = log_p / self.temperature + gumbel(log_p.shape, self.generator)
        drawn = score.argmax(dim=-1)
        return drawn, log_p.gather(-1, drawn[..., None]).squeeze(-1).exp()

    def commit(self, tokens: Tensor, drawn: Tensor, chosen: Tensor) -> Tensor:
        """Write ``drawn`` where ``chosen``; whatever follows an END becomes END."""
        tokens = torch.where(chosen & (tokens == self.mask_id), drawn, tokens)
        if self.end_id is not None:
            tokens = torch.where(after_end(tokens, self.end_id), self.end_id, tokens)
        return tokens

    def ancestral(self, batch: int, steps: int) -> Tensor:
        """Follow the reverse process on ``steps`` equal steps of t (Sahoo et al., arXiv:2406.07524, eq. 7).

        Slots unmask independently within a step, so that few steps pay with inconsistent plans.
        """
        tokens = self.start(batch)
        times = torch.linspace(1, 0, steps + 1, device=tokens.device)
        for t, s in pairwise(times):
            stay = (1 - self.schedule.alpha(s)) / (1 - self.schedule.alpha(t)) if s > 0 else torch.zeros_like(t)
            drawn, _ = self.predict(tokens, t.expand(batch))
            coin = torch.rand(tokens.shape, generator=self.generator, device=tokens.device)
            tokens = self.commit(tokens, drawn, coin >= stay)
        return tokens

    def first_hitting(self, batch: int) -> Tensor:
        """Unmask one uniformly chosen slot a step, at the time when the process would: exact for an exact model.

        Zheng et al., arXiv:2409.02908, algorithm 1: with n slots masked, the masked fraction u shrinks by U^(1/n).
        """
        tokens = self.start(batch)
        fraction = torch.ones(batch, device=tokens.device)
        for _ in range(self.length):
            masked = tokens == self.mask_id
            left = masked.sum(dim=1)
            if not left.any():
                break
            uniform = torch.rand(batch, generator=self.generator, device=tokens.device)
            fraction = fraction * uniform ** (1 / left.clamp(min=1))
            drawn, _ = self.predict(tokens, self.schedule.time(fraction))
            race = torch.rand(tokens.shape, generator=self.generator, device=tokens.device, dtype=torch.float64)
            winner = race.masked_fill(~masked, -1).argmax(dim=1, keepdim=True)
            tokens = self.commit(tokens, drawn, torch.zeros_like(masked).scatter(1, winner, True))
        return tokens

    def confidence(self, batch: int, steps: int) -> Tensor:
        """Unmask the slots that the model is surest of, an equal share a step (Chang et al., arXiv:2202.04200)."""
        tokens = self.start(batch)
        for step in range(steps):
            masked = tokens == self.mask_id
            left = masked.sum(dim=1)
            if not left.any():
                break
            drawn, probability = self.predict(tokens, self.schedule.time(left / self.length))
            share = (left / (steps - step)).ceil()
            rank = probability.masked_fill(~masked, -1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            tokens = self.commit(tokens, drawn, rank < share[:, None])
        return tokens


def sample(sampler: Sampler, name: SamplerName, batch: int, steps: int | None = None) -> Tensor:
    """Draw ``batch`` sequences.

    Args:
        sampler: the model and what all samplers share.
        name: ``ancestral``, ``first_hitting`` (always L steps) or ``confidence``.
        batch: rows B.
        steps: model evaluations; None takes L.

    Returns:
        Tokens (B, L) int64, none masked.

    Raises:
        ValueError: unknown name, or a number of steps that the sampler cannot take.
    """
    steps = sampler.length if steps is None else steps
    if steps < 1:
        raise ArgumentError(f"sampling.steps={steps}: at least 1 step is needed.")
    if name == "ancestral":
        return sampler.ancestral(batch, steps)
    if name == "confidence":
        return sampler.confidence(batch, min(steps, sampler.length))
    if name == "first_hitting":
        return sampler.first_hitting(batch)
    raise ArgumentError(f"sampler={name!r}: choose 'ancestral', 'first_hitting' or 'confidence'.")
