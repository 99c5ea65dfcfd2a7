"""Microtiming metrics: errors in time, and divergences of offsets and velocities."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from .losses import ratio
from .metrics import Found, gathered

BINS = 32
"""Of the histograms, over [-1, 1]."""


def timing_error(prediction: Tensor, target: Tensor, mask: Tensor, step_ms: Tensor) -> Tensor:
    """Milliseconds by which hits are off, and hits: (2,). Arguments as of ``Timing.update``."""
    drums = mask.shape[-1] // 2
    late = (prediction - target).abs()[..., :drums] / 2
    return ratio(late * step_ms[..., None], mask[..., :drums])


class Timing(Metric):
    """``timing_mae_ms``, ``timing_mse`` in (sixteenth)^2, ``offset_kl`` and ``velocity_kl`` in nats, over all hits.

    The errors are those of Gillick et al. (arXiv:1905.06118), table 2; the divergences KL(truth || prediction) of
    histograms with 32 bins, one count added to each, for an error alone rewards the mean.
    """

    full_state_update = False
    errors: Tensor
    histograms: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        gathered(self, "errors", (3,))
        gathered(self, "histograms", (4, BINS), torch.int64)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor, step_ms: Tensor) -> None:
        """Add hits.

        Args:
            prediction: offset in half sixteenths and velocity, both in [-1, 1], of D drums (B, T, 2 D).
            target: the same.
            mask: hits (B, T, 2 D) bool.
            step_ms: length of a sixteenth (B, T).
        """
        drums = mask.shape[-1] // 2
        hit = mask[..., :drums]
        late = (prediction - target)[..., :drums].double() / 2  # in sixteenths
        ms = (late.abs() * step_ms[..., None])[hit].sum()
        self.errors += torch.stack([hit.sum().double(), late.square()[hit].sum(), ms])
        for row, values in enumerate((target, prediction)):
            cells = ((values + 1) / 2 * BINS).long().clamp(0, BINS - 1)
            for column, part in enumerate((slice(drums), slice(drums, None))):
                chosen = cells[..., part][mask[..., part]]
                self.histograms[2 * column + row] += torch.bincount(chosen, minlength=BINS)

    def compute(self) -> Found:
        """All by name; NaN where there was no hit."""
        hits, square, ms = self.errors
        share = (self.histograms + 1).double()
        share = share / share.sum(dim=1, keepdim=True)
        kl = (share[::2] * (share[::2] / share[1::2]).log()).sum(dim=1)  # (2,)
        found = {"timing_mae_ms": ms / hits, "timing_mse": square / hits, "offset_kl": kl[0], "velocity_kl": kl[1]}
        return {name: value.float() for name, value in found.items()}
