"""Key finding: how well the pitch classes that were heard fit each of the 24 keys."""

import numpy as np

from .base import Array

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""Probe-tone ratings (Krumhansl and Kessler 1982) from the tonic upwards."""
_SHARPNESS = 10.0
"""Of the posterior: a correlation higher by 0.1 makes a key e times as likely."""


def key_correlations(heard: Array) -> Array:
    """Correlation (T, 24) of weights of pitch classes (T, 12) with the profiles of 12 major, then 12 minor keys.

    0 where nothing was heard, or everything equally (Krumhansl 1990, chapter 4).
    """
    profiles = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
    profiles -= profiles.mean(axis=1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    centred = heard - heard.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred @ profiles.T, norm, out=np.zeros((len(heard), 24)), where=norm > 1e-9))


def key_posterior(heard: Array) -> Array:
    """Probability (T, 24) of each key; even where nothing was heard."""
    weight = np.exp(_SHARPNESS * key_correlations(heard))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))
