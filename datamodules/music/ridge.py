"""Ridge regression (Hoerl & Kennard 1970) of pieces: what their mean features alone tell of their mean targets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .song import Floats
from .tasks import Frames

PENALTIES = np.logspace(-3, 5, 33)
"""Candidates of the penalty, in units of the variance of a feature a piece."""
LEAST = 1e-6
"""Standard deviation below which a feature counts as constant."""


def ridge(features: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Weights and intercept; the penalty of each target leaves the least error on pieces left out one by one.

    The error of a piece left out is its residual over 1 minus its leverage (Allen 1974).

    Args:
        features: of pieces (N, F), standardised.
        targets: of pieces (N, K).

    Returns:
        (F, K) and (K,).
    """
    mean = features.mean(axis=0)
    left, size, right = np.linalg.svd(features - mean, full_matrices=False)  # (N, R), (R,), (R, F)
    level = targets.mean(axis=0)
    along = left.T @ (targets - level)  # (R, K)
    weights = np.empty((features.shape[1], targets.shape[1]))
    errors = []
    for penalty in PENALTIES:
        shrink = size**2 / (size**2 + penalty)  # (R,)
        leverage = (left**2 * shrink).sum(axis=1) + 1 / len(features)  # (N,)
        residual = targets - level - left @ (shrink[:, None] * along)  # (N, K)
        errors.append(((residual / np.maximum(1 - leverage, 1e-3)[:, None]) ** 2).mean(axis=0))
    for column, best in enumerate(np.argmin(errors, axis=0)):
        solved = size / (size**2 + PENALTIES[best])
        weights[:, column] = right.T @ (solved * along[:, column])
    return weights, level - mean @ weights


def fit_pieces(songs: Sequence[Frames], columns: Sequence[int], chosen: NDArray[np.bool_]) -> Floats:
    """Ridge regression of mean targets of songs on their mean inputs, in raw units.

    Args:
        songs: frames of each; those without a known target are left out.
        columns: of the targets (K,).
        chosen: features (F,) that it may use; the weights of the others are 0.

    Returns:
        Weights (F + 1, K), the intercept last; zeros where fewer than three songs are known.
    """
    known = [song for song in songs if song.mask[:, columns].all(axis=1).any()]
    size = songs[0].inputs.shape[1] if songs else 0
    if len(known) < 3:
        return np.zeros((size + 1, len(columns)))
    rows = [song.mask[:, columns].all(axis=1) for song in known]
    features = np.stack([song.inputs.mean(axis=0) for song in known]).astype(np.float64)  # (N, F)
    targets = np.stack([song.targets[row][:, columns].mean(axis=0) for song, row in zip(known, rows, strict=True)])
    spread = np.sqrt(
        np.mean([song.inputs.astype(np.float64).var(axis=0) for song in known], axis=0) + features.var(axis=0)
    )
    spread[(spread < LEAST) | ~chosen] = np.inf  # a feature that does not vary tells nothing
    weights, intercept = ridge((features - features.mean(axis=0)) / spread, targets.astype(np.float64))
    raw = weights / spread[:, None]  # (F, K)
    return np.vstack([raw, intercept - features.mean(axis=0) @ raw])
