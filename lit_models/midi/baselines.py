"""Predictions that need no model; every metric stands beside theirs."""

import torch
from torch import Tensor

from litmotif.seeding import generator


def constant(target_mean: Tensor, targets: Tensor) -> Tensor:
    """The mean over the training songs (K,) everywhere: of classes their frequency, so the likeliest is the majority.

    Returns:
        (B, T, K).
    """
    return target_mean.expand_as(targets)


def copy(targets: Tensor, mask: Tensor, first: Tensor) -> Tensor:
    """The last target of the same column that was known before.

    Args:
        targets: (B, T, K).
        mask: which of them are known (B, T, K).
        first: what stands where there was none (K,).

    Returns:
        (B, T, K).
    """
    t = torch.arange(targets.shape[1], device=targets.device)[:, None]
    last = torch.where(mask, t, -1).cummax(dim=1).values  # (B, T, K)
    before = torch.cat([torch.full_like(last[:, :1], -1), last[:, :-1]], dim=1)  # (B, T, K)
    return torch.where(before < 0, first, targets.gather(1, before.clamp(min=0)))


def shuffled(targets: Tensor, mask: Tensor, song: Tensor, seed: int = 0) -> Tensor:
    """The targets of each song in another order: what chance reaches that knows how often everything occurs.

    The order is a function of (seed, song) only, whatever the batch; columns of equal mask share it, so that a row of
    classes stays whole.

    Args:
        targets: (B, T, K).
        mask: which of them are known (B, T, K).
        song: (B,) int64.
        seed: of the order.

    Returns:
        (B, T, K); 0 where the mask is off.
    """
    key = torch.full(targets.shape[:2], torch.inf)
    for row, (index, length) in enumerate(zip(song.tolist(), _lengths(mask).tolist(), strict=True)):
        key[row, :length] = torch.rand(length, generator=generator(seed, index))
    drawn = key.to(targets.device)[..., None].masked_fill(~mask, torch.inf)  # (B, T, K)
    source, place = drawn.argsort(dim=1), (~mask).int().argsort(dim=1, stable=True)
    return torch.zeros_like(targets).scatter(1, place, targets.gather(1, source)).masked_fill(~mask, 0.0)


def valid_frames(mask: Tensor) -> Tensor:
    """Frames up to the last one with a known target (B, T) bool, from the mask (B, T, K)."""
    return mask.any(dim=2).flip(1).cummax(dim=1).values.flip(1)


def _lengths(mask: Tensor) -> Tensor:
    return valid_frames(mask).sum(dim=1)
