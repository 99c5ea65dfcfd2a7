"""How often the right class is found."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from .metrics import Found, gathered

ROOT = re.compile("[A-G][b#]?")


def roots(outputs: Sequence[str]) -> list[int]:
    """A number for the root of each chord class, from names such as ``class3:Eb:maj`` and ``C:7``."""
    found = [next(filter(ROOT.fullmatch, name.split(":")[:-1]), name) for name in outputs]
    return [found.index(root) for root in found]


class Classes(Metric):
    """Accuracies and macro precision, recall and F1 of K classes over frames.

    ``accuracy`` and ``top3_accuracy`` are over all frames with a known class; ``change_accuracy`` over those whose
    class differs from that of the frame before; ``root_accuracy`` counts a class of the same root as found. The macro
    means are over the classes that occur, in truth or prediction; a ratio without cases counts as 0, as in
    scikit-learn.

    Args:
        size: classes K.
        roots: a number for the root of each class; None leaves ``root_accuracy`` out.
        prefix: before every name.
    """

    full_state_update = False
    confusion: Tensor
    hits: Tensor
    frames: Tensor

    def __init__(self, size: int, roots: Sequence[int] | None = None, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.prefix = size, prefix
        self.roots = None if roots is None else torch.tensor(list(roots))
        gathered(self, "confusion", (size, size), torch.int64)
        gathered(self, "hits", (2,), torch.int64)
        gathered(self, "frames", (2,), torch.int64)

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor) -> None:
        """Add frames.

        Args:
            prediction: a score a class (B, T, K).
            target: one-hot (B, T, K).
            mask: (B, T, K) bool.
        """
        truth = target.masked_fill(~mask, 0.0)
        known, right = truth.amax(dim=-1) > 0, truth.argmax(dim=-1)  # (B, T)
        best = prediction.argsort(dim=-1, descending=True, stable=True)[..., :3]  # (B, T, 3)
        cell = right[known] * self.size + best[..., 0][known]
        self.confusion += torch.bincount(cell, minlength=self.size**2).view(self.size, self.size)
        change = known[:, 1:] & known[:, :-1] & (right[:, 1:] != right[:, :-1])
        found = best[:, 1:, 0] == right[:, 1:]
        top = (best == right[..., None]).any(dim=-1) & known
        self.hits += torch.stack([top.sum(), (found & change).sum()])
        self.frames += torch.stack([known.sum(), change.sum()])

    def compute(self) -> Found:
        """All by name; NaN where there was no frame."""
        counts = self.confusion.double()  # truth in rows
        hit, truth, told = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        occurs = truth + told > 0
        ratios = {"precision": hit / told, "recall": hit / truth, "f1": 2 * hit / (truth + told)}
        found = {"accuracy": hit.sum() / truth.sum(), "top3_accuracy": self.hits[0] / self.frames[0]}
        if self.roots is not None:
            root = self.roots.to(counts.device)
            found["root_accuracy"] = counts[root[:, None] == root].sum() / truth.sum()
        found["change_accuracy"] = self.hits[1] / self.frames[1]
        found |= {name: ratio.nan_to_num()[occurs].mean() for name, ratio in ratios.items()}
        return {f"{self.prefix}{name}": value.float() for name, value in found.items()}
