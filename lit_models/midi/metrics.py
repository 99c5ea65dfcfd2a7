"""Regression, likelihood and key-detection metrics: sums and counts only, so that processes add up exactly."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from .losses import class_nll, concordance, keys_nll, mean, moments, ratio

Found = dict[str, Tensor]


def gathered(metric: Metric, name: str, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> None:
    """Give a metric a state that is 0 at first and added up over processes."""
    metric.add_state(name, torch.zeros(tuple(shape), dtype=dtype), dist_reduce_fx="sum")


def absolute_error(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sum of the absolute errors, and their number: (2,)."""
    return ratio((prediction - target).abs(), mask)


def cosine(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sum over frames of the cosine of the known values of a frame, and the frames that have any: (2,)."""
    p, t = (values.masked_fill(~mask, 0.0) for values in (prediction, target))  # (..., K)
    return ratio(torch.cosine_similarity(p, t, dim=-1), mask.any(dim=-1))


class Regression(Metric):
    """Errors and correlations of K columns, from their moments in float64.

    Errors (``mse``, ``mae``, ``rmse``) are means over all known values; ``cosine`` the mean over frames of the cosine
    of the known values of a frame. ``correlation`` (Pearson), ``r2`` and ``ccc`` (Lin 1989) are of each column over all
    its values, then averaged over those columns that vary; ``r`` is Pearson's of all columns pooled. One column has no
    ``cosine`` and no ``r``. torchmetrics has these without a mask.

    Args:
        size: columns K.
        names: of the columns; where given, ``rmse``, ``r2`` and ``ccc`` are also given of each, as ``r2_valence``.
        prefix: before every name.
    """

    full_state_update = False
    sums: Tensor
    absolute: Tensor
    cosines: Tensor

    def __init__(self, size: int, names: Sequence[str] = (), prefix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.names, self.prefix = list(names), prefix
        gathered(self, "sums", (6, size))
        gathered(self, "absolute", (1,))
        gathered(self, "cosines", (2,))

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add values.

        Args:
            prediction: (..., K).
            target: (..., K).
            mask: (..., K) bool.
        """
        p, t = prediction.double(), target.double()
        self.sums += moments(p, t, mask)
        self.absolute += absolute_error(p, t, mask)[0]
        self.cosines += cosine(p, t, mask)

    def compute(self) -> Found:
        """All by name; NaN where a column has no variance, or no value."""
        n, p, t, pp, tt, pt = self.sums
        square = pp - 2 * pt + tt  # (K,)
        mse = square.clamp(min=0) / n
        variance = spread(n, t, tt)
        r2 = 1 - n * mse / variance
        varies = spread(n, p, pp) > 0
        ccc = (concordance(self.sums) * varies).where(variance > 0, torch.nan)
        overall = square.sum().clamp(min=0) / n.sum()
        found = {
            "mse": overall,
            "mae": self.absolute[0] / n.sum(),
            "rmse": overall.sqrt(),
            "cosine": self.cosines[0] / self.cosines[1],
            "correlation": pearson(self.sums).nanmean(),
            "r": pearson(self.sums.sum(dim=1, keepdim=True))[0],
            "r2": r2.nanmean(),
            "ccc": ccc.nanmean(),
        }
        if len(n) == 1:  # signs, and the same again
            del found["cosine"], found["r"]
        for k, name in enumerate(self.names):
            found |= {f"rmse_{name}": mse[k].sqrt(), f"r2_{name}": r2[k], f"ccc_{name}": ccc[k]}
        return {f"{self.prefix}{name}": value.float() for name, value in found.items()}


class Pieces(Regression):
    """The same of whole pieces: of the means of a song over its known frames, a song a value."""

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add songs: arguments (B, T, K) as of ``Regression``."""
        known = mask.sum(dim=1)  # (B, K)
        p, t = (x.double().masked_fill(~mask, 0.0).sum(dim=1) / known.clamp(min=1) for x in (prediction, target))
        super().update(p, t, known > 0)


def spread(n: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """The variance times n; NaN where that is nothing but rounding."""
    value = squares - total * total / n
    return torch.where(value > 1e-12 * squares, value, torch.nan)


def pearson(sums: Tensor) -> Tensor:
    """Pearson's correlation of each column from ``moments`` (6, K): (K,), NaN without variance."""
    n, p, t, pp, tt, pt = sums
    r: Tensor = (pt - p * t / n) / (spread(n, p, pp) * spread(n, t, tt)).sqrt()
    return r


class Likelihood(Metric):
    """``nll``, nats a frame, and for keys ``bce``, nats a key.

    Args:
        keys: independent keys; else one of K classes.
    """

    full_state_update = False
    sums: Tensor
    entries: Tensor

    def __init__(self, keys: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keys = keys
        gathered(self, "sums", (2,))
        gathered(self, "entries", (1,))

    def update(self, logits: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add frames: logits, targets and mask (B, T, K)."""
        self.sums += (keys_nll if self.keys else class_nll)(logits.double(), target.double(), mask)
        self.entries += mask.sum()

    def compute(self) -> Found:
        """``nll``, and ``bce`` of keys."""
        bce = {"bce": (self.sums[0] / self.entries[0]).float()} if self.keys else {}
        return {"nll": mean(self.sums).float()} | bce


BINS = 100
"""Thresholds 0, 0.01, ..., 0.99."""


def found_keys(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sounding keys that are ranked among as many as sound in their frame, and sounding keys: (2,)."""
    sounds = (target > 0.5) & mask
    count = sounds.sum(dim=-1, keepdim=True)
    ranked = prediction.masked_fill(~mask, -torch.inf).topk(max(1, int(count.max())), dim=-1).indices
    rank = torch.arange(ranked.shape[-1], device=ranked.device)
    found = sounds.gather(-1, ranked) & (rank < count)
    return torch.stack([found.sum(), count.sum()]).float()


class KeyDetection(Metric):
    """Keys found at a threshold, and by rank.

    ``precision``, ``recall`` and ``f1`` are micro: over all keys of all frames. ``frame_accuracy`` is
    TP / (TP + FP + FN) (Bay, Ehmann & Downie, ISMIR 2009, eq. 1). ``topk_accuracy`` is the share of the sounding keys
    that are among the k ranked highest, ``note_accuracy`` among as many as sound in their frame. ``threshold`` is the
    one used.

    Args:
        top_k: k.
        threshold: a key counts from this probability on, a multiple of 0.01; None takes the one that makes ``f1`` best.
    """

    full_state_update = False
    histogram: Tensor
    ranked: Tensor

    def __init__(self, top_k: int = 5, threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.top_k, self.threshold = top_k, threshold
        gathered(self, "histogram", (2, BINS), torch.int64)
        gathered(self, "ranked", (3,), torch.int64)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add probabilities (B, T, K), targets of 0 and 1, and the mask."""
        sounds = (target > 0.5) & mask
        position = (prediction * BINS + 1e-4).long().clamp(0, BINS - 1)  # a probability of 0.29 is not below 0.29
        cell = (position + BINS * sounds)[mask]
        self.histogram += torch.bincount(cell, minlength=2 * BINS).view(2, BINS)
        score = prediction.masked_fill(~mask, -torch.inf)
        order = score.argsort(dim=-1, descending=True, stable=True)
        by_rank = sounds.gather(-1, order)  # (B, T, K)
        rank = torch.arange(by_rank.shape[-1], device=by_rank.device)
        among = by_rank & (rank < sounds.sum(dim=-1, keepdim=True))
        self.ranked += torch.stack([by_rank[..., : self.top_k].sum(), among.sum(), sounds.sum()])

    def compute(self) -> Found:
        """All by name; NaN where no key sounds."""
        above = self.histogram.flip(1).cumsum(dim=1).flip(1)  # (2, BINS) at or above each threshold
        false, true = above[0].double(), above[1].double()
        missed = true[0] - true
        f1 = 2 * true / (2 * true + false + missed)  # (BINS,)
        chosen = int(f1.nan_to_num().argmax()) if self.threshold is None else round(self.threshold * BINS)
        tp, fp, fn = true[chosen], false[chosen], missed[chosen]
        in_top, among, sounds = self.ranked.double()
        found = {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": f1[chosen],
            "frame_accuracy": tp / (tp + fp + fn),
            f"top{self.top_k}_accuracy": in_top / sounds,
            "note_accuracy": among / sounds,
        }
        return {name: value.float() for name, value in found.items()} | {
            "threshold": tp.new_tensor(chosen / BINS).float()
        }
