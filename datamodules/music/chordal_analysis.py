"""Chordal analysis (Pardo & Birmingham 2002): the best chord template of each beat, where none are written."""

from itertools import pairwise

import numpy as np

from .chords import NO_CHORD, Harmony
from .song import Chord, Floats, Song
from .tasks.voices import drums

_QUALITIES = ("maj", "7", "min", "hdim7", "dim7", "dim", "min7", "maj7")
"""In the paper's order of preference; it has no ``min7`` and ``maj7``."""
_HARMONIES = [Harmony(root, quality) for quality in _QUALITIES for root in range(12)]
_TEMPLATES: Floats = np.array([[tone in harmony.pitch_classes for tone in range(12)] for harmony in _HARMONIES], float)


def label_chords(song: Song, step: float = 1.0) -> tuple[Chord, ...]:
    """Label every ``step`` beats; equal neighbours are one chord, silence is none.

    A template scores the weight of its tones minus the weight of the others minus the number of its tones that are
    missing (section "Labeling the segments"; a tone weighs the share of the step in which it sounds, summed over
    voices). Ties fall to the root that is in the bass, then to the root that weighs more, then to the earlier quality.
    """
    edges = np.arange(0, np.ceil(song.length / step - 1e-9) + 1) * step
    chords: list[Chord] = []
    for edge, (weights, bass) in zip(edges, _weights(song, edges), strict=False):
        label = _best(weights, bass).label if weights.sum() > 0 else NO_CHORD
        if not chords or chords[-1].label != label:
            chords.append(Chord(float(edge), label))
    return tuple(chords)


def _best(weights: Floats, bass: int) -> Harmony:
    inside = _TEMPLATES @ weights
    missing = (_TEMPLATES * (weights == 0)).sum(axis=1)
    roots = np.array([harmony.root for harmony in _HARMONIES])
    score = 2 * inside - weights.sum() - missing + 1e-3 * (roots == bass) + 1e-6 * weights[roots]
    return _HARMONIES[int(np.argmax(np.round(score, 9)))]


def _weights(song: Song, edges: Floats) -> list[tuple[Floats, int]]:
    """Of each step, the weight of the pitch classes (12,) and the pitch class that is lowest for longest."""
    pitched = ~drums(song)
    onset, end, pitch = song.onset[pitched], (song.onset + song.duration)[pitched], song.pitch[pitched]
    found = []
    for start, stop in pairwise(edges):
        share = (np.minimum(end, stop) - np.maximum(onset, start)) / (stop - start)
        here = np.flatnonzero(share > 1e-9)
        weights: Floats = np.bincount(pitch[here] % 12, weights=share[here], minlength=12).astype(np.float64)
        lowest = min(zip(pitch[here].tolist(), (-share[here]).tolist(), strict=True), default=(0, 0.0))
        found.append((weights, int(lowest[0]) % 12))
    return found
