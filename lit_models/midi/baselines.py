"""Baselines: predictions that need no model; every metric stands beside theirs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from litmotif.batches.music import MusicBatch
from litmotif.seeding import generator

from .losses import valid_frames

Row = Callable[[Any, MusicBatch], Tensor]
"""The module, of which it takes ``target_mean`` and ``hparams``, and a batch -> predictions (B, T, K)."""


def constant(module: Any, batch: MusicBatch) -> Tensor:
    """The mean over the training songs everywhere: of classes their frequency, so the likeliest is the majority."""
    return module.target_mean.expand_as(batch.targets)  # type: ignore[no-any-return]


def chance(module: Any, batch: MusicBatch) -> Tensor:
    """``shuffled`` by the seed of the module."""
    return shuffled(batch.targets, batch.mask, batch.song, module.hparams["seed"])


def last_known(module: Any, batch: MusicBatch) -> Tensor:
    """``copy``; the constant before anything is known."""
    return copy(batch.targets, batch.mask, module.target_mean)


ROWS: Mapping[str, Row] = {"constant": constant, "chance": chance, "copy": last_known}


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
    for row, (index, length) in enumerate(zip(song.tolist(), valid_frames(mask).sum(dim=1).tolist(), strict=True)):
        key[row, :length] = torch.rand(length, generator=generator(seed, index))
    drawn = key.to(targets.device)[..., None].masked_fill(~mask, torch.inf)  # (B, T, K)
    source, place = drawn.argsort(dim=1), (~mask).int().argsort(dim=1, stable=True)
    return torch.zeros_like(targets).scatter(1, place, targets.gather(1, source)).masked_fill(~mask, 0.0)


def constant_logits(target_mean: Tensor, keys: bool, least: float) -> Tensor:
    """Logits (K,) of the mean target, its probabilities no less than ``least``; of independent keys or of classes."""
    share = target_mean.clamp(least, 1 - least)
    return share.logit() if keys else share.log()
