"""Conditioning: chords, and the emotion that is wanted or was rated, at each frame."""

import numpy as np

from ..chords import NONE, Vocabulary, parse_chord
from ..song import Song
from .base import Array


def emotion_at(song: Song, beats: Array) -> Array:
    """Valence and arousal (N, 2); 0 where none are known."""
    if song.emotion is None:
        return np.zeros((len(beats), 2))
    which = np.searchsorted(song.emotion[:, 0], beats + 1e-6, side="right") - 1
    return np.asarray(np.where(which[:, None] >= 0, song.emotion[which, 1:], 0.0))


def chord_rows(song: Song, beats: Array, vocabulary: Vocabulary = "triads") -> tuple[Array, Array]:
    """The chords that sound.

    Returns:
        Pitch classes (N, 12) float64, and classes (N,) int64 of the vocabulary, -1 where no chord is known.

    Raises:
        DataError: a symbol cannot be read; names the song.
    """
    labels = sorted({chord.label for chord in song.chords})
    read = [parse_chord(label, song.source or song.name) for label in labels]
    tones = np.array([[k in chord.pitch_classes for k in range(12)] for chord in (*read, NONE)], np.float64)
    classes = np.array([*(chord.class_index(vocabulary) for chord in read), -1])
    number = {label: k for k, label in enumerate(labels)}
    sequence = np.array([*(number[chord.label] for chord in song.chords), -1])
    onsets = np.array([chord.onset for chord in song.chords])
    which = sequence[np.searchsorted(onsets, beats + 1e-6, side="right") - 1]
    return tones[which], classes[which]
