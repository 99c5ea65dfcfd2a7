"""Networks that judge motions: trained once on real data, they give the features that distances are measured in."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litmotif.errors import ArgumentError

from ...core.normalizer import Standardizer, Statistics

STRIDE = 8
"""Frames behind one step of the encoder's last layer."""


@dataclass(frozen=True)
class Network:
    """Sizes of both judges.

    Attributes:
        hidden_size: channels.
        feature_size: length D of the features, in both spaces.
        temperature: of the contrast at the start of training, > 0; learned in its logarithm, and never below 0.01.

    Raises:
        ValueError: a temperature of 0 or less.
    """

    hidden_size: int = 128
    feature_size: int = 64
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ArgumentError(f"temperature={self.temperature}: a positive number, such as 0.1.")


class MotionEncoder(nn.Module):
    """One-dimensional convolutions over time, then a mean over the frames that exist; padding never matters.

    Args:
        size: columns F.
        hidden_size: channels C.
        out_size: D.
    """

    def __init__(self, size: int, hidden_size: int, out_size: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(size, hidden_size, 3, padding=1)
        self.down = nn.ModuleList(_Down(hidden_size) for _ in range(int(math.log2(STRIDE))))
        self.head = nn.Linear(2 * hidden_size, out_size)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Encode normalised motion (B, T, F) that is 0 where ``valid`` (B, T) is not: (B, D)."""
        mask = valid[:, None].to(x.dtype)  # (B, 1, T)
        x = self.embed(x.transpose(1, 2)) * mask  # (B, C, T)
        for down in self.down:
            mask = mask[..., ::2]
            x = down(x) * mask  # (B, C, T / 2), and so on
        count = mask.sum(dim=-1).clamp(min=1)  # (B, 1)
        mean = x.sum(dim=-1) / count  # (B, C)
        spread = ((x - mean[..., None]).square() * mask).sum(dim=-1) / count  # (B, C)
        return self.head(torch.cat([mean, (spread + 1e-6).sqrt()], dim=-1))  # type: ignore[no-any-return]  # (B, D)


class _Down(nn.Module):
    """Half the steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to (B, C, ceil(T / 2))."""
        mixed: Tensor = self.conv(F.gelu(_over_channels(self.norm, x)))
        return mixed + x[..., ::2]


class _Up(nn.Module):
    """Twice the steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv1d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T) and the mask (B, 1, T') of the result, T' <= 2 T: (B, C, T')."""
        x = x.repeat_interleave(2, dim=-1)[..., : mask.shape[-1]] * mask
        mixed: Tensor = self.conv(F.gelu(_over_channels(self.norm, x)) * mask)
        return (mixed + x) * mask


class MotionAutoencoder(nn.Module):
    """From a motion to a vector and back: the vector is its feature for FID and FGD.

    Args:
        size: columns F.
        network: its sizes.
        statistics: of the columns, see ``Standardizer``.
    """

    def __init__(self, size: int, network: Network = Network(), statistics: Statistics | None = None) -> None:
        super().__init__()
        hidden_size, feature_size = network.hidden_size, network.feature_size
        self.normalizer = Standardizer(size, statistics)
        self.encoder = MotionEncoder(size, hidden_size, feature_size)
        self.start = nn.Linear(feature_size, hidden_size)
        self.place = nn.Linear(hidden_size, hidden_size)
        self.up = nn.ModuleList(_Up(hidden_size) for _ in range(int(math.log2(STRIDE))))
        self.out = nn.Conv1d(hidden_size, size, 3, padding=1)

    def features(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Physical motion (B, T, F) and frames that exist (B, T) bool, a prefix, to vectors (B, D)."""
        return self.encoder(self.normalizer(motion, valid), valid)  # type: ignore[no-any-return]

    def decode(self, features: Tensor, valid: Tensor) -> Tensor:
        """Normalised motion (B, T, F) of vectors (B, D), 0 where ``valid`` (B, T) is not."""
        mask = valid[:, None].to(features.dtype)  # (B, 1, T)
        masks = [mask]
        for _ in self.up:
            masks.append(masks[-1][..., ::2])
        coarse = masks.pop()  # (B, 1, T / 8)
        place = _sinusoids(coarse.shape[-1], self.place.in_features).to(features)  # (T / 8, C)
        x = (self.start(features)[:, None] + self.place(place)).transpose(1, 2) * coarse  # (B, C, T / 8)
        for up in self.up:
            x = up(x, masks.pop())
        return self.out(x).transpose(1, 2) * valid[..., None]  # type: ignore[no-any-return]  # (B, T, F)

    def loss(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Squared error of the normalised columns and of their first differences, mean over what exists: a scalar."""
        return self.error(self.decode(self.features(motion, valid), valid), motion, valid)

    def error(self, decoded: Tensor, motion: Tensor, valid: Tensor) -> Tensor:
        """That of normalised ``decoded`` (B, T, F) for physical ``motion`` (B, T, F): a scalar."""
        x: Tensor = self.normalizer(motion, valid)
        error = torch.where(valid[..., None], decoded - x, 0.0)  # (B, T, F)
        both = (valid[:, 1:] & valid[:, :-1])[..., None]
        moved = (error.diff(dim=1) * both).square().sum() / both.sum().clamp(min=1)
        return (error.square().sum() / valid.sum().clamp(min=1) + moved) / x.shape[-1]


SAME = 1e-6
"""Largest difference between the features of one text in different rows of a matrix product."""


class TextMotionEvaluator(nn.Module):
    """Motions and texts on one unit sphere, a motion near its text (Radford et al., arXiv:2103.00020, section 2.3).

    Args:
        size: columns F.
        text_size: of the text embeddings, D_text.
        network: its sizes.
        statistics: of the columns, see ``Standardizer``.
    """

    def __init__(
        self, size: int, text_size: int, network: Network = Network(), statistics: Statistics | None = None
    ) -> None:
        super().__init__()
        hidden_size, feature_size = network.hidden_size, network.feature_size
        self.normalizer = Standardizer(size, statistics)
        self.encoder = MotionEncoder(size, hidden_size, feature_size)
        self.text = nn.Sequential(nn.Linear(text_size, hidden_size), nn.GELU(), nn.Linear(hidden_size, feature_size))
        self.log_temperature = nn.Parameter(torch.tensor(math.log(network.temperature)))

    def features(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Physical motion (B, T, F) and frames that exist (B, T) bool, a prefix, to unit vectors (B, D)."""
        return F.normalize(self.encoder(self.normalizer(motion, valid), valid), dim=-1)

    def embed_text(self, text: Tensor) -> Tensor:
        """Text embeddings (B, D_text) to unit vectors (B, D)."""
        return F.normalize(self.text(text), dim=-1)

    def loss(self, motion: Tensor, valid: Tensor, text: Tensor) -> Tensor:
        """``contrast`` of physical motion (B, T, F), frames that exist (B, T) bool, and text embeddings (B, D_text)."""
        return self.contrast(self.features(motion, valid), self.embed_text(text))

    def contrast(self, motions: Tensor, texts: Tensor) -> Tensor:
        """InfoNCE from motions to texts and back (van den Oord et al., arXiv:1807.03748, eq. 4): a scalar, nats.

        Rows with equal text share the target, for a text is no wrong answer to itself.

        Args:
            motions: features (B, D) in the common space.
            texts: of the same rows (B, D).
        """
        temperature = self.log_temperature.exp().clamp(min=0.01).to(motions.dtype)
        logits = motions @ texts.T / temperature  # (B, B)
        with torch.no_grad():
            same = ((texts[:, None] - texts).abs().amax(dim=-1) < SAME).to(logits.dtype)  # (B, B), symmetric
        target = same / same.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    return norm(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


def _sinusoids(steps: int, size: int) -> Tensor:
    """Places 0, 1, ... as sines and cosines of falling frequency (steps, size)."""
    frequency = torch.exp(-math.log(1e4) * torch.arange(0, size, 2) / size)
    angle = torch.arange(steps)[:, None] * frequency  # (steps, size / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :size]
