"""Distribution metrics: generated motions, as a set, against real ones and against their texts, over features."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric

from litmotif.seeding import generator

PRECISIONS = (1, 2, 3)
"""The k of R-precision."""
ROWS = 1024
"""Rows of features that are compared with all others at once."""
TIE = 1e-5
"""Texts whose distances differ by less, relative, are the same text."""


class Evaluator(Protocol):
    """What gives the features that all of this is measured in, such as ``MotionEvaluator``."""

    @property
    def feature_size(self) -> int:
        """Length D of the features."""

    @property
    def contacts(self) -> int:
        """Columns of contacts that it looks at."""

    def motion_features(self, motion: Tensor, valid: Tensor) -> Tensor:
        """Physical motion (B, T, F) and frames that exist (B, T) bool -> (B, D)."""

    def common_features(self, motion: Tensor, valid: Tensor, captions: Sequence[str]) -> tuple[Tensor, Tensor] | None:
        """Motions and texts in a common space, two of (B, D); None where it knows no texts."""

    def to(self, device: torch.device) -> Any:
        """The same on a device."""


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> Tensor:
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^1/2) of two Gaussians (Heusel et al., arXiv:1706.08500, eq. 6).

    (S1 S2)^1/2 has the trace of (S1^1/2 S2 S1^1/2)^1/2, whose eigenvalues are real and not negative.

    Args:
        mean1: (D,).
        covariance1: (D, D).
        mean2: (D,).
        covariance2: (D, D).

    Returns:
        A scalar >= 0, float64.
    """
    first, second = covariance1.double(), covariance2.double()
    values, vectors = torch.linalg.eigh(first)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    distance = (mean1.double() - mean2.double()).square().sum() + first.trace() + second.trace() - 2 * cross
    return torch.relu(distance)


class FrechetDistance(Metric):
    """FID of motions, which gesture papers call FGD: sums of n, x and x x^T, so that processes add up exactly.

    Args:
        size: of the features, D.
    """

    full_state_update = False
    higher_is_better = False

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for side in ("real", "made"):
            for name, shape in (("count", ()), ("sum", (size,)), ("products", (size, size))):
                self.add_state(f"{side}_{name}", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Add motions.

        Args:
            features: (B, D).
            real: whether they are of the data.
        """
        features, side = features.double(), "real" if real else "made"
        for name, value in (
            ("count", len(features)),
            ("sum", features.sum(dim=0)),
            ("products", features.T @ features),
        ):
            setattr(self, f"{side}_{name}", getattr(self, f"{side}_{name}") + value)

    def compute(self) -> dict[str, float]:
        """``fid``; nothing before there are two motions on each side."""
        if min(float(getattr(self, f"{side}_count")) for side in ("real", "made")) < 2:
            return {}
        return {"fid": float(frechet_distance(*self._moments("real"), *self._moments("made")))}

    def _moments(self, side: str) -> tuple[Tensor, Tensor]:
        count, total, products = (getattr(self, f"{side}_{name}") for name in ("count", "sum", "products"))
        mean = total / count
        return mean, (products - count * torch.outer(mean, mean)) / (count - 1)


class Diversity(Metric):
    """Mean distance between the features of two motions, over all pairs: what 300 random pairs estimate.

    It keeps the features (N, D).
    """

    full_state_update = False
    features: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("features", [], dist_reduce_fx="cat")

    def update(self, features: Tensor) -> None:
        """Add motions (B, D)."""
        self.features.append(features.double())

    def compute(self) -> dict[str, float]:
        """``diversity``; nothing for fewer than two motions."""
        features = _joined(self.features)
        count = len(features)
        if count < 2:
            return {}
        rows = torch.arange(count, device=features.device).tensor_split(-(-count // ROWS))
        total = sum(_distances(features[part], features).sum().item() for part in rows)
        return {"diversity": total / (count * (count - 1))}


class MultiModality(Metric):
    """Mean distance between the features of two motions made for the same text, over all pairs."""

    full_state_update = False
    total: Tensor
    pairs: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("total", "pairs"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor) -> None:
        """Add texts.

        Args:
            features: of G motions for each of B texts (G, B, D).
        """
        groups = features.double().transpose(0, 1)  # (B, G, D)
        self.total += _distances(groups, groups).sum()
        self.pairs += groups.shape[0] * groups.shape[1] * (groups.shape[1] - 1)

    def compute(self) -> dict[str, float]:
        """``multimodality``; nothing before a text had two motions."""
        return {"multimodality": float(self.total / self.pairs)} if self.pairs else {}


class TextRetrieval(Metric):
    """R-precision and matching score in the common space of motions and texts (Guo et al., CVPR 2022, section 6).

    ``r_precision_k``: share of the motions whose own text is among the k nearest of 32 texts. The groups of 32 are
    drawn by ``seed`` from the motions in the order of their items, whatever process saw them; motions left over sit
    out, unless they are all there are. A text that is as near as the own one, as where it says the same, is none
    nearer. ``matching_score``: mean distance of a motion from its text, over all.

    Args:
        group: texts to choose from.
        seed: of the groups.
        shuffled: judge each motion by the text of another one: chance.
        contrast: a loss of motions and their texts, two of (N, D); its mean over the groups is told under that name.
    """

    full_state_update = False
    motions: list[Tensor]
    texts: list[Tensor]
    items: list[Tensor]

    def __init__(
        self,
        group: int = 32,
        seed: int = 0,
        shuffled: bool = False,
        contrast: Callable[[Tensor, Tensor], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.group, self.seed, self.shuffled, self.contrast = group, seed, shuffled, contrast
        for name in ("motions", "texts", "items"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, motions: Tensor, texts: Tensor, items: Tensor) -> None:
        """Add motions.

        Args:
            motions: features (B, D).
            texts: of the same rows (B, D).
            items: number of each clip in its data (B,).
        """
        self.motions.append(motions.double())
        self.texts.append(texts.double())
        self.items.append(items)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All motions and their texts, two of (N, D), in the order of the groups."""
        items = _joined(self.items)
        order = torch.randperm(len(items), generator=generator(self.seed)).to(items.device)
        order = items.argsort(stable=True)[order]
        texts = _joined(self.texts)[order]
        return _joined(self.motions)[order], texts.roll(1, 0) if self.shuffled else texts

    def compute(self) -> dict[str, float]:
        """``r_precision_1``, ``_2``, ``_3`` and ``matching_score``; nothing without motions."""
        count = len(_joined(self.items))
        if not count:
            return {}
        motions, texts = self.pairs()
        size = min(self.group, count)
        grouped = [x[: count // size * size].reshape(-1, size, x.shape[1]) for x in (motions, texts)]  # (G, 32, D)
        distances = _distances(*grouped)  # (G, 32, 32), motions by texts
        own = distances.diagonal(dim1=1, dim2=2)[..., None]
        rank = (distances < own * (1 - TIE)).sum(dim=-1)  # (G, 32)
        found = {f"r_precision_{k}": float((rank < k).double().mean()) for k in PRECISIONS}
        if self.contrast is not None:
            losses = [self.contrast(*group) for group in zip(*grouped, strict=True)]
            found["contrast"] = float(torch.stack(losses).mean())
        return found | {"matching_score": float(torch.linalg.vector_norm(motions - texts, dim=-1).mean())}


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, D) and (..., M, D) to (..., N, M), exactly 0 between equal rows."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    """One tensor of a state that torchmetrics keeps as a list, and joins where processes meet."""
    if isinstance(parts, Tensor):
        return parts
    return torch.cat(parts) if parts else torch.empty(0)
