"""Training objective: the noise that motions are shown under, and what the network's idea of them costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from litmotif.batches.motion import MotionBatch
from litmotif.errors import ArgumentError

from ..core.normalizer import Standardizer
from ..diffusion.process import Diffusion, LossWeighting
from ..diffusion.schedules import Process
from .generation import Condition, Network
from .losses import MotionLosses, NoiseWeighting


@dataclass(frozen=True)
class MotionProcess(Process):
    """Noising process of motion.

    Attributes:
        signal_scale: multiplies signal over noise at each level. Frames resemble each other and so do columns: noise
            that is drawn for each alone leaves the whole of a motion recognisable until there is far more of it than in
            the usual schedules, as in large images (Hoogeboom et al., arXiv:2301.11093, section 3.1).
    """

    num_train_timesteps: int = 50
    signal_scale: float = 1.0


@dataclass(frozen=True)
class ObjectiveSettings:
    """Training objective, as YAML writes it.

    Attributes:
        loss_weighting: weight of the reconstruction by its level.
        snr_gamma: where ``min_snr`` cuts.
        loss_weights: of the losses by name, see ``MotionLosses``; those left out take the requirement's.
        noise_weighting: how the losses in metres fall with the noise.
        condition_dropout: share of the motions whose text, and whose sound, is left out.
        clean_share: share of the motions of which some frames are clean, so that beginnings and keyframes can be given.

    Raises:
        ValueError: a share out of [0, 1].
    """

    loss_weighting: LossWeighting = "uniform"
    snr_gamma: float = 5.0
    loss_weights: dict[str, float] | None = None
    noise_weighting: NoiseWeighting = "alpha_bar"
    condition_dropout: float = 0.1
    clean_share: float = 0.1

    def __post_init__(self) -> None:
        for name in ("condition_dropout", "clean_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ArgumentError(f"{name}={share}: a share of the motions, 0 to 1.")


class Draw(NamedTuple):
    """What is random about B motions of a training step.

    Attributes:
        noise: standard normal (B, T, F).
        levels: of noise (B, T) or (B, 1) int64.
        drop: whose text and whose sound is left out (B, 2) bool.
    """

    noise: Tensor
    levels: Tensor
    drop: Tensor

    def cut(self, rows: slice, frames: int) -> "Draw":
        """Some rows of the draw of a global batch, and its first frames."""
        return Draw(self.noise[rows, :frames], self.levels[rows, :frames], self.drop[rows])


@dataclass(frozen=True, eq=False)
class MotionObjective:
    """The losses of noisy motions.

    Attributes:
        max_frames: longest motion.
        losses: of x_0-hat.
        normalizer: to the units of the network and back.
        diffusion: the process.
        settings: weights and shares.
    """

    max_frames: int
    losses: MotionLosses
    normalizer: Standardizer
    diffusion: Diffusion
    settings: ObjectiveSettings = ObjectiveSettings()

    def draw(self, rows: int, source: torch.Generator) -> Draw:
        """For ``rows`` motions of ``max_frames``, on the device of ``source``.

        One level a motion; of some motions some frames are clean, and some lack their text or sound.
        """
        frames, device = self.max_frames, source.device
        noise = torch.randn((rows, frames, len(self.normalizer.mean)), generator=source, device=device)
        level = self.diffusion.draw_levels((rows, 1), source, low=1)
        coins = torch.rand((4, rows, 1), generator=source, device=device)
        place = torch.rand((rows, frames), generator=source, device=device)
        clean = (coins[0] < self.settings.clean_share) & _clean_frames(coins[1], place)
        drop = torch.cat([coins[2], coins[3]], dim=1) < self.settings.condition_dropout
        return Draw(noise, torch.where(clean, 0, level), drop)

    def draw_each(self, sources: Sequence[torch.Generator], frames: int, device: torch.device) -> Draw:
        """For held-out motions: each row from a generator of its own, one level a motion, nothing left out."""
        noise = torch.empty(len(sources), self.max_frames, len(self.normalizer.mean))
        levels = torch.empty(len(sources), 1, dtype=torch.int64)
        for row, level, source in zip(noise, levels, sources, strict=True):  # maybe none: a batch without repeats
            row.normal_(generator=source)
            level.copy_(self.diffusion.draw_levels((1,), source, low=1))
        nothing = torch.zeros(len(sources), 2, dtype=torch.bool)
        return Draw(*(part.to(device) for part in (noise[:, :frames], levels, nothing)))

    def __call__(self, network: Network, batch: MotionBatch, condition: Condition, draw: Draw) -> dict[str, Tensor]:
        """Every loss (B,) of what the network makes of noisy motions; ``losses.total`` adds them up."""
        noise, levels, drop = draw
        diffusion = self.diffusion.to(noise.device)
        x0 = self.normalizer(batch.motion, batch.valid)
        x = diffusion.add_noise(x0, noise, levels)
        if condition.drop is not None:
            drop = drop | condition.drop
        prediction = network(x, levels, batch.valid, condition.text, condition.audio, drop)
        found = diffusion.to_x0(prediction.float(), x, levels)
        weight = diffusion.loss_weight(levels, self.settings.loss_weighting, self.settings.snr_gamma)
        kind = diffusion.prediction_type
        if kind != "sample":  # the weight of an error of x_0 that is the same as that of the prediction
            snr = torch.where(levels > 0, diffusion.snr(levels), 0.0)
            weight = weight * (snr if kind == "epsilon" else snr + 1).float()
        guess, signal = self.normalizer.physical(found), diffusion.alpha_bar[levels]
        return self.losses(guess, batch.motion, batch.valid, self.normalizer.std, signal, weight)  # type: ignore[no-any-return]


def _clean_frames(coin: Tensor, place: Tensor) -> Tensor:
    """A beginning of up to half a motion for every second row, single frames for the others: (B, T)."""
    frames = place.shape[1]
    begun = torch.arange(frames, device=place.device) < coin * frames
    return torch.where(coin < 0.5, begun, place < 0.1)
