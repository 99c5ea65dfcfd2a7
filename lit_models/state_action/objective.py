"""Training objective: the noise that windows are shown under, and the error of what is predicted from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..diffusion.process import Diffusion, LossWeighting, PredictionType
from ..diffusion.samplers import Denoiser, Streams
from ..diffusion.schedules import BetaSchedule, make_diffusion

LevelSampling = Literal["independent", "shared", "mixed"]
SHARED = {"independent": 0.0, "shared": 1.0, "mixed": 0.5}
"""Share of the windows in which all tokens of a stream have one level."""


def known_tokens(history: int, length: int) -> Tensor:
    """Which tokens of states and of actions are given when planning: bool (2, W)."""
    step = torch.arange(length)
    return torch.stack([step <= history, step < history])


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted squared error over windows of two streams.

    Attributes:
        diffusions: of states and actions.
        known: tokens that are given when planning (2, W) bool.
        learned: actions that count (W,) bool.
        level_sampling: ``independent`` levels for each token, ``shared`` by a stream's tokens, or ``mixed``.
        clean_history: share of the windows in which known tokens are clean.
        loss_weighting: of a token by its level.
        snr_gamma: where ``min_snr`` cuts.
        state_weight: of the states in the total.
        action_weight: of the actions in it.

    Raises:
        ValueError: an unknown name, or a share out of [0, 1].
    """

    diffusions: tuple[Diffusion, Diffusion]
    known: Tensor
    learned: Tensor
    level_sampling: LevelSampling = "independent"
    clean_history: float = 0.5
    loss_weighting: LossWeighting = "uniform"
    snr_gamma: float = 5.0
    state_weight: float = 1.0
    action_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.level_sampling not in SHARED:
            raise ArgumentError(f"level_sampling={self.level_sampling!r}: choose one of {', '.join(SHARED)}.")
        if not 0 <= self.clean_history <= 1:
            raise ArgumentError(f"clean_history={self.clean_history}: a share of the windows, 0 to 1.")
        if not self.learned.any():
            raise ArgumentError("action_horizon: at least 1 action is learned.")

    def draw_levels(self, rows: int, source: torch.Generator) -> Streams:
        """Levels for training: states and actions (R, W) int64, on the device of ``source``."""
        length, device = len(self.learned), source.device
        drawn = torch.stack([diffusion.draw_levels((rows, length), source) for diffusion in self.diffusions])
        coins = torch.rand((2, rows, 1), generator=source, device=device)
        drawn = torch.where(coins[0] < SHARED[self.level_sampling], drawn[..., :1], drawn)  # (2, R, W)
        clean = self.known.to(device)[:, None] & (coins[1] < self.clean_history)
        states, actions = torch.where(clean, 0, drawn)
        return states, actions

    def planning_levels(self, sources: Sequence[torch.Generator], device: torch.device) -> Streams:
        """Levels as in planning: the known tokens clean, all others of a stream at one level from 1 to K: (B, W)."""
        drawn = torch.stack(
            [torch.stack([d.draw_levels((1,), source, low=1) for source in sources]) for d in self.diffusions]
        )  # (2, B, 1)
        states, actions = torch.where(self.known[:, None], 0, drawn).to(device)
        return states, actions

    def losses(self, denoise: Denoiser, x0: Streams, noise: Streams, levels: Streams) -> tuple[Tensor, Tensor]:
        """Losses of states and of actions (B,): means over tokens; clean tokens and unlearned actions cost nothing.

        Args:
            denoise: the network.
            x0: clean streams (B, W, D).
            noise: standard normal (B, W, D).
            levels: (B, W).
        """
        device = x0[0].device
        diffusions = [diffusion.to(device) for diffusion in self.diffusions]
        noisy = tuple(d.add_noise(*parts) for d, *parts in zip(diffusions, x0, noise, levels, strict=True))
        errors = []
        for i, (diffusion, prediction) in enumerate(zip(diffusions, denoise(noisy, levels), strict=True)):
            target = diffusion.target(x0[i], noise[i], levels[i])
            error = (prediction.float() - target).square().mean(dim=-1)  # (B, W)
            errors.append(error * diffusion.loss_weight(levels[i], self.loss_weighting, self.snr_gamma))
        learned = self.learned.to(device)
        return errors[0].mean(dim=1), (errors[1] * learned).sum(dim=1) / learned.sum()

    def total(self, states: Tensor, actions: Tensor) -> Tensor:
        """The weighted sum of both losses."""
        return self.state_weight * states + self.action_weight * actions


def make_objective(
    history: int,
    length: int,
    num_train_timesteps: int,
    beta_schedule: BetaSchedule,
    action_beta_schedule: BetaSchedule | None,
    prediction_type: PredictionType,
    action_horizon: int | None,
    level_sampling: LevelSampling,
    clean_history: float,
    loss_weighting: LossWeighting,
    snr_gamma: float,
    state_weight: float,
    action_weight: float,
) -> Objective:
    """The objective of windows of ``length`` steps, ``history`` of them before the current one.

    Args:
        history: N.
        length: W.
        num_train_timesteps: K, of both streams.
        beta_schedule: of the states.
        action_beta_schedule: of the actions; None takes that of the states.
        prediction_type: of both.
        action_horizon: actions that are learned, from the current step on; None takes all.
        level_sampling: see ``Objective``.
        clean_history: see ``Objective``.
        loss_weighting: see ``Objective``.
        snr_gamma: see ``Objective``.
        state_weight: see ``Objective``.
        action_weight: see ``Objective``.

    Raises:
        ValueError: an unknown name, or a number out of its range.
    """
    schedules = (beta_schedule, action_beta_schedule or beta_schedule)
    states, actions = (make_diffusion(num_train_timesteps, name, prediction_type) for name in schedules)
    acted = length - history if action_horizon is None else action_horizon
    return Objective(
        (states, actions),
        known_tokens(history, length),
        torch.arange(length) < history + acted,
        level_sampling,
        clean_history,
        loss_weighting,
        snr_gamma,
        state_weight,
        action_weight,
    )
