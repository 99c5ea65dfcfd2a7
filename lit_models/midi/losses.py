"""Loss terms as sums that add up over batches and processes, and what is made of the sums.

A mean over what the mask leaves is a ratio of two sums, (total, count); a concordance is a function of six. Adding the
sums of all processes first makes a step of two processes the step of one.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from litmotif.batches.music import MusicBatch
from litmotif.errors import ArgumentError

Regression = Literal["mse", "huber"]
Kind = Literal["distance", "concordance", "keys", "sign", "classes"]


class Term(NamedTuple):
    """One term of a loss: what is measured of some columns, and its weight.

    Attributes:
        kind: ``distance`` is ``distance`` by the options ``regression`` and ``huber_delta``, or squares;
            ``concordance`` 1 - CCC over the batch, 0 where a column is unknown throughout; ``keys`` nats of independent
            keys, ``sign`` of whether a target is above 0, ``classes`` of the softmax.
        columns: of the targets.
        weight: the option of ``objective`` that weighs it; None for 1.
    """

    kind: Kind
    columns: slice = slice(None)
    weight: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its sums."""
        return (6, self.columns.stop - self.columns.start) if self.kind == "concordance" else (2,)

    def sums(self, logits: Tensor, outputs: Tensor, batch: MusicBatch, h: Mapping[str, Any]) -> Tensor:
        """Sums that add up: ``ratio`` or, of a concordance, ``moments``.

        Args:
            logits: before the last activation, columns as those of the targets (B, T, K).
            outputs: behind it (B, T, K).
            batch: with the targets.
            h: the options of ``objective``.
        """
        parts = (logits, outputs, batch.targets, batch.mask)
        z, y, target, mask = (part[..., self.columns] for part in parts)
        match self.kind:
            case "distance":
                return ratio(distance(y, target, h.get("regression", "mse"), h.get("huber_delta", 1.0)), mask)
            case "concordance":
                return moments(y, target, mask)
            case "keys":
                return keys_nll(z, target, mask, h["pos_weight"])
            case "sign":
                return keys_nll(z, (target > 0).float(), mask)
            case "classes":
                return class_nll(z, target, mask, h.get("label_smoothing", 0.0))

    def loss(self, sums: Tensor, h: Mapping[str, Any]) -> Tensor:
        """The weighted term, from sums over all that it is a mean of."""
        weight = h[self.weight] if self.weight else 1.0
        if self.kind == "concordance":
            return weight * (sums[0] > 0).all() * (1 - concordance(sums).mean())
        return weight * mean(sums)


def with_total(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``loss``, the sum of all terms, and each of several as ``loss_NAME``."""
    total = torch.stack([term.float() for term in terms.values()]).sum()
    named = {f"loss_{name}": term.float() for name, term in terms.items()} if len(terms) > 1 else {}
    return {"loss": total} | named


def valid_frames(mask: Tensor) -> Tensor:
    """Frames up to the last one with a known target (B, T) bool, from the mask (B, T, K)."""
    return mask.any(dim=2).flip(1).cummax(dim=1).values.flip(1)


def ratio(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of the values where the mask is on, and how many these are: (2,).

    Args:
        values: (...).
        mask: (...) bool.
    """
    return torch.stack([values.masked_fill(~mask, 0.0).sum(), mask.sum().to(values.dtype)])


def mean(sums: Tensor) -> Tensor:
    """The mean that ``ratio`` stands for; 0 of nothing."""
    return sums[0] / sums[1].clamp(min=1)


def distance(prediction: Tensor, target: Tensor, kind: Regression, delta: float) -> Tensor:
    """Elementwise (p - t)^2, or Huber's: half of it up to ``delta``, linear beyond, times 2 (Huber 1964).

    The factor lets both agree near 0. All arguments and the result: (...).

    Raises:
        ValueError: unknown kind.
    """
    if kind == "mse":
        return F.mse_loss(prediction, target, reduction="none")
    if kind == "huber":
        return 2 * F.huber_loss(prediction, target, reduction="none", delta=delta)
    raise ArgumentError(f"regression={kind!r}: choose 'mse' or 'huber'.")


def keys_nll(logits: Tensor, targets: Tensor, mask: Tensor, pos_weight: float = 1.0) -> Tensor:
    """Negative log-likelihood of independent keys, summed over keys, a frame: sums (2,) of (nats, frames).

    The figure of Boulanger-Lewandowski et al. (arXiv:1206.6392) and Bai et al. (arXiv:1803.01271).

    Args:
        logits: (B, T, K).
        targets: keys that sound, 0 or 1 (B, T, K).
        mask: (B, T, K); a frame counts where any of its keys does.
        pos_weight: weight of the keys that sound.
    """
    weight = torch.tensor(pos_weight, device=logits.device, dtype=logits.dtype)
    nats = F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=weight)
    return ratio(nats.masked_fill(~mask, 0.0).sum(dim=-1), mask.any(dim=-1))


def class_nll(logits: Tensor, targets: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy under the softmax over all columns: sums (2,) of (nats, frames).

    Columns that the mask leaves out are no target and get no smoothing, but stay in the softmax, as they do in the
    exported network: so they learn to be impossible.

    Args:
        logits: (..., K).
        targets: one-hot (..., K).
        mask: (..., K).
        smoothing: share of the target spread evenly over the columns of the mask (Szegedy et al., arXiv:1512.00567).
    """
    known = mask.any(dim=-1) & ((targets > 0) & mask).any(dim=-1)  # (...)
    even = mask / mask.sum(dim=-1, keepdim=True).clamp(min=1)  # (..., K)
    spread = (1 - smoothing) * targets.masked_fill(~mask, 0.0) + smoothing * even  # (..., K)
    nats = -(spread * logits.log_softmax(dim=-1)).masked_fill(spread == 0, 0.0).sum(dim=-1)  # (...)
    return ratio(nats, known)


def moments(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sums of 1, p, t, p^2, t^2, p t over all but the last dimension, where the mask is on: (6, K) float64.

    Args:
        prediction: (..., K).
        target: (..., K).
        mask: (..., K) bool.
    """
    on = mask.flatten(0, -2)
    p, t = (values.flatten(0, -2).double().masked_fill(~on, 0.0) for values in (prediction, target))  # (N, K)
    return torch.stack([part.sum(dim=0) for part in (on.double(), p, t, p * p, t * t, p * t)])


def concordance(sums: Tensor) -> Tensor:
    """Concordance correlation 2 s_pt / (s_p^2 + s_t^2 + (m_p - m_t)^2) (Lin 1989, eq. 1), from ``moments``: (K,).

    A constant equal to a constant has 0 / 0: it counts as 0.
    """
    n, p, t, pp, tt, pt = sums
    n = n.clamp(min=1)
    both = (pp - p * p / n + tt - t * t / n) / n + (p / n - t / n).square()
    ccc: Tensor = 2 * (pt / n - p * t / n / n) / both.clamp(min=1e-12)
    return ccc
