"""Classification accuracies and macro precision, recall and F1 over frames."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from .equivariance import STILL, pitch_classes
from .losses import ratio
from .metrics import Found, gathered


def roots(outputs: Sequence[str]) -> list[int]:
    """A number for the root of each chord class, from names such as ``class3:Eb:maj``; none of no names."""
    found = [k if root == STILL else -root - 1 for k, root in enumerate(pitch_classes(outputs))]
    return [found.index(root) for root in found]


def hits(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Frames whose class is found, and frames with a known class: (2,). Arguments as of ``Classes.update``."""
    truth = target.masked_fill(~mask, 0.0)
    right = prediction.argmax(dim=-1) == truth.argmax(dim=-1)  # (B, T)
    return ratio(right.float(), truth.amax(dim=-1) > 0)


class Classes(Metric):
    """Accuracies and macro precision, recall and F1 of K classes over frames.

    ``accuracy`` and ``top3_accuracy`` are over all frames with a known class; ``change_accuracy`` over those whose
    class differs from that of the frame before; ``root_accuracy`` counts a class of the same root as found. The macro
    means are over the classes that occur, in truth or prediction; a ratio without cases counts as 0, as in
    scikit-learn.

    Args:
        size: classes K.
        roots: a number for the root of each class; none leaves ``root_accuracy`` out.
        prefix: before every name.
    """

    full_state_update = False
    confusion: Tensor
    hits: Tensor
    frames: Tensor

    def __init__(self, size: int, roots: Sequence[int] = (), prefix: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.prefix = size, prefix
        self.roots = torch.tensor(list(roots)) if roots else None
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
        self.confusion += multiclass_confusion_matrix(best[..., 0][known], right[known], self.size, validate_args=False)
        change = known[:, 1:] & known[:, :-1] & (right[:, 1:] != right[:, :-1])
        found = best[:, 1:, 0] == right[:, 1:]
        top = (best == right[..., None]).any(dim=-1) & known
        self.hits += torch.stack([top.sum(), (found & change).sum()])
        self.frames += torch.stack([known.sum(), change.sum()])

    def compute(self) -> Found:
        """All by name; NaN where there was no frame."""
        counts = self.confusion.double()  # truth in rows
        hit, truth, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        occurs = truth + predicted > 0
        ratios = {"precision": hit / predicted, "recall": hit / truth, "f1": 2 * hit / (truth + predicted)}
        found = {"accuracy": hit.sum() / truth.sum(), "top3_accuracy": self.hits[0] / self.frames[0]}
        if self.roots is not None:
            root = self.roots.to(counts.device)
            found["root_accuracy"] = counts[root[:, None] == root].sum() / truth.sum()
        found["change_accuracy"] = self.hits[1] / self.frames[1]
        found |= {name: ratio.nan_to_num()[occurs].mean() for name, ratio in ratios.items()}
        return {f"{self.prefix}{name}": value.float() for name, value in found.items()}
