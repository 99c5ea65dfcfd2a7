"""Training objective: the noise that windows are shown under, and the error of what is predicted from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from litmotif.errors import ArgumentError

from ..diffusion.process import Diffusion, LossWeighting
from ..diffusion.samplers import Denoiser, Streams
from ..diffusion.schedules import BetaSchedule, Process, make_diffusion

LevelSampling = Literal["independent", "shared", "mixed"]
SHARED = {"independent": 0.0, "shared": 1.0, "mixed": 0.5}
"""Share of the windows in which all tokens of a stream have one level."""


def known_tokens(history: int, length: int) -> Tensor:
    """Which tokens of states and of actions are given when planning: bool (2, W)."""
    step = torch.arange(length)
    return torch.stack([step <= history, step < history])


@dataclass(frozen=True)
class StreamProcess(Process):
    """Noising process of states, and of actions.

    Attributes:
        action_beta_schedule: of the actions' noise; None takes that of the states.
    """

    action_beta_schedule: BetaSchedule | None = None


@dataclass(frozen=True)
class ObjectiveSettings:
    """Training objective, as YAML writes it.

    Attributes:
        loss_weighting: weight of a token by its level.
        snr_gamma: where ``min_snr`` cuts.
        level_sampling: noise levels in training: one for each token (``independent``, the papers'), one for all tokens
            of a stream in a window (``shared``, as in sampling), or each for half of the windows (``mixed``).
        clean_history: share of the windows whose past is clean, as it is when planning.
        action_horizon: actions that are learned, from the current step on; None takes all H + 1.
        state_weight: of the states' loss.
        action_weight: of the actions' loss.

    Raises:
        ValueError: an unknown name, or a number out of its range.
    """

    loss_weighting: LossWeighting = "uniform"
    snr_gamma: float = 5.0
    level_sampling: LevelSampling = "independent"
    clean_history: float = 0.5
    action_horizon: int | None = None
    state_weight: float = 1.0
    action_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.level_sampling not in SHARED:
            raise ArgumentError(f"level_sampling={self.level_sampling!r}: choose one of {', '.join(SHARED)}.")
        if not 0 <= self.clean_history <= 1:
            raise ArgumentError(f"clean_history={self.clean_history}: a share of the windows, 0 to 1.")
        if self.action_horizon is not None and self.action_horizon < 1:
            raise ArgumentError(f"action_horizon={self.action_horizon}: at least 1 action is learned.")


@dataclass(frozen=True, eq=False)
class Objective:
    """The weighted squared error over windows of two streams.

    Attributes:
        diffusions: of states and actions.
        known: tokens that are given when planning (2, W) bool.
        learned: actions that count (W,) bool.
        settings: the draw of levels, and weights.
    """

    diffusions: tuple[Diffusion, Diffusion]
    known: Tensor
    learned: Tensor
    settings: ObjectiveSettings = ObjectiveSettings()

    def draw_levels(self, rows: int, source: torch.Generator) -> Streams:
        """Levels for training: states and actions (R, W) int64, on the device of ``source``."""
        length, device = len(self.learned), source.device
        drawn = torch.stack([diffusion.draw_levels((rows, length), source) for diffusion in self.diffusions])
        coins = torch.rand((2, rows, 1), generator=source, device=device)
        drawn = torch.where(coins[0] < SHARED[self.settings.level_sampling], drawn[..., :1], drawn)  # (2, R, W)
        clean = self.known.to(device)[:, None] & (coins[1] < self.settings.clean_history)
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
        weighting = (self.settings.loss_weighting, self.settings.snr_gamma)
        noisy = tuple(d.add_noise(*parts) for d, *parts in zip(diffusions, x0, noise, levels, strict=True))
        errors = []
        for i, (diffusion, prediction) in enumerate(zip(diffusions, denoise(noisy, levels), strict=True)):
            target = diffusion.target(x0[i], noise[i], levels[i])
            error = (prediction.float() - target).square().mean(dim=-1)  # (B, W)
            errors.append(error * diffusion.loss_weight(levels[i], *weighting))
        learned = self.learned.to(device)
        return errors[0].mean(dim=1), (errors[1] * learned).sum(dim=1) / learned.sum()

    def total(self, states: Tensor, actions: Tensor) -> Tensor:
        """The weighted sum of both losses."""
        return self.settings.state_weight * states + self.settings.action_weight * actions


def make_objective(history: int, length: int, process: StreamProcess, settings: ObjectiveSettings) -> Objective:
    """The objective of windows of ``length`` steps, ``history`` of them before the current one.

    Args:
        history: N.
        length: W.
        process: of both streams.
        settings: the draw of levels, and weights.
    """
    schedules = (process.beta_schedule, process.action_beta_schedule or process.beta_schedule)
    levels, kind = process.num_train_timesteps, process.prediction_type
    states, actions = (make_diffusion(levels, name, kind) for name in schedules)
    acted = length - history if settings.action_horizon is None else settings.action_horizon
    return Objective((states, actions), known_tokens(history, length), torch.arange(length) < history + acted, settings)
