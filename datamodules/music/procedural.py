"""Synthetic performances whose swing, accents and emotion are known, because they were made from them.

They are synthetic, and serve to see that a model learns what there is to learn: what is not noise is a function of the
score, and the noise has a known size. Their rules are published tendencies, their numbers are our own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import DataError, random_stream
from .chords import TONICS
from .song import DRUMS, Song, sorted_notes
from .tasks.base import Array
from .tunes import tunes

TIMING_NOISE = 0.0125
"""Standard deviation of a drum hit's onset, in beats."""
VELOCITY_NOISE = 5.0
"""Standard deviation of velocities, drums and piano."""
BARS = 16
_BEAT = 4
_STEPS = 16
_KIT = {"kick": 36, "snare": 38, "closed_hat": 42, "open_hat": 46, "ride": 51}
_PUSH = {"kick": -0.01, "snare": 0.02, "closed_hat": -0.005, "open_hat": 0.01, "ride": -0.015}
"""Beats by which a drum is late: a snare lies back, a ride pushes (Butterfield 2010)."""
_ACCENT = {"kick": 12.0, "snare": 15.0, "closed_hat": 20.0, "open_hat": 8.0, "ride": 20.0}
"""Accent: by how much a drum is louder on the beat than between."""
_LEVEL = {"kick": 85.0, "snare": 88.0, "closed_hat": 60.0, "open_hat": 70.0, "ride": 65.0}
STYLES: dict[str, tuple[float, str]] = {
    "rock": (0.0, "closed_hat"),
    "hiphop": (0.3, "closed_hat"),
    "jazz": (0.5, "ride"),
}
"""Swing of a style, in half sixteenths by which weak sixteenths are late, and what keeps time."""
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def grooves(songs: int, seed: int) -> list[Song]:
    """Drum performances; weak sixteenths are late by the swing of the style (Friberg and Sundström 2002).

    ``labels``: style, swing (half sixteenths).
    """
    return [_groove(number, random_stream(seed, number, 0)) for number in range(_some(songs))]


def _groove(number: int, rng: np.random.Generator) -> Song:
    style = list(STYLES)[number % len(STYLES)]
    swing, timekeeper = STYLES[style]
    pattern = {
        "kick": (rng.random(_STEPS) < 0.2) | (np.arange(_STEPS) % 8 == 0),
        "snare": (rng.random(_STEPS) < 0.08) | (np.arange(_STEPS) % 8 == 4),
        timekeeper: (rng.random(_STEPS) < 0.4) | (np.arange(_STEPS) % 2 == 0),
        "open_hat": rng.random(_STEPS) < 0.06,
    }
    played = {drum: np.tile(on, BARS) & (rng.random(BARS * _STEPS) > 0.05) for drum, on in pattern.items()}
    steps = {drum: np.flatnonzero(on) for drum, on in played.items()}
    onset, velocity, pitch = [], [], []
    for drum, step in steps.items():
        late = swing / 2 / _BEAT * (step % 2) + _PUSH[drum] + TIMING_NOISE * rng.standard_normal(len(step))
        onset.append(np.maximum(step / _BEAT + late, 0))
        accent = np.where(step % _BEAT == 0, 1.0, np.where(step % 2 == 0, 0.0, -1.0))
        velocity.append(_LEVEL[drum] + _ACCENT[drum] * accent + VELOCITY_NOISE * rng.standard_normal(len(step)))
        pitch.append(np.full(len(step), _KIT[drum]))
    joined = np.concatenate(onset)
    return _song(
        f"groove {number}",
        (joined, np.full(len(joined), 0.1), np.concatenate(pitch), _midi(velocity), np.zeros(len(joined))),
        float(rng.integers(80, 140)),
        voices=(DRUMS,),
        labels={"style": style, "swing": f"{swing:g}", "beat_type": "beat"},
    )


def phrases(songs: int, seed: int) -> list[Song]:
    """Piano pieces; velocity follows the arch of each phrase of four bars (Todd 1992), the metre and the height.

    Velocity is 62, plus 16 sin(pi x) at x of the phrase, 8 on the first beat and 4 on the others, a third of the
    semitones above middle C, 10 for the melody, and noise; articulation falls from 1 to 0.6 along the phrase.
    """
    return [_phrase_piece(number, random_stream(seed, number, 1)) for number in range(_some(songs))]


def _phrase_piece(number: int, rng: np.random.Generator) -> Song:
    tonic, scale = int(rng.integers(12)), _MAJOR if rng.random() < 0.5 else _MINOR
    beats = np.arange(0, BARS * _BEAT, 0.5)[rng.random(BARS * _BEAT * 2) < 0.8]
    degree = 7 + np.cumsum(rng.integers(-2, 3, len(beats)))
    top = 60 + tonic + _degree(np.clip(degree, 2, 14), scale)
    root = rng.integers(0, 6, BARS * _BEAT // 2)
    onset, gap, pitch, voice = _piano(beats, top, 48 + tonic - 12, root, scale)
    phrase = onset % 16 / 16
    metre = np.where(onset % _BEAT == 0, 8, np.where(onset % 1 == 0, 4, 0))
    velocity = 62 + 16 * np.sin(np.pi * phrase) + metre + (pitch - 60) / 3 + 10 * (voice == 0)
    loud = _midi([velocity + VELOCITY_NOISE * rng.standard_normal(len(onset))])
    notes = (onset, gap * (1 - 0.4 * phrase), pitch, loud, voice)
    return _song(f"phrases {number}", notes, float(rng.integers(70, 130)), key=_key(tonic, scale))


def moods(songs: int, seed: int) -> list[Song]:
    """Pieces made for a valence and an arousal, constant over each.

    Arousal raises tempo, loudness, density and staccato; valence major mode and height of the keys (Livingstone et al.
    2010, table 1; Gabrielsson and Lindström 2010). ``labels``: quadrant.
    """
    return [_mood(number, random_stream(seed, number, 2)) for number in range(_some(songs))]


def _mood(number: int, rng: np.random.Generator) -> Song:
    valence, arousal = rng.uniform(-1, 1, 2)
    tonic = int(rng.integers(12))
    scale = _MAJOR if valence + 0.3 * rng.standard_normal() > 0 else _MINOR
    dense = np.clip(0.5 + 0.35 * arousal, 0.1, 0.95)
    beats = np.arange(0, BARS * _BEAT, 0.5)[rng.random(BARS * _BEAT * 2) < dense]
    beats = beats if len(beats) else np.array([0.0])
    height = 60 + 5 * valence + tonic - 6
    degree = np.clip(np.cumsum(rng.integers(-2, 3, len(beats))), -6, 6)
    tune = np.rint(height) + _degree(degree + 7, scale) - 12
    root = rng.choice([0, 3, 4], BARS)
    root[0] = 0
    onset, gap, pitch, voice = _piano(beats, tune, np.rint(height) - 12, root, scale)
    velocity = 72 + 28 * arousal + VELOCITY_NOISE * rng.standard_normal(len(onset))
    held = np.clip(0.7 - 0.25 * arousal, 0.2, 1)
    quadrant = "Q1" if valence >= 0 <= arousal else "Q2" if arousal >= 0 else "Q3" if valence < 0 else "Q4"
    return _song(
        f"mood {number}",
        (onset, gap * held, pitch, _midi([velocity]), voice),
        100 * 2 ** (0.6 * arousal + 0.1 * rng.standard_normal()),
        key=_key(int(np.rint(height)) % 12, scale),
        emotion=np.array([[0.0, valence, arousal]]),
        labels={"quadrant": quadrant},
    )


MAKERS = {
    "melody": tunes,
    "polyphony": tunes,
    "harmony": tunes,
    "groove": grooves,
    "dynamics": phrases,
    "emotion": moods,
}
"""Makers of the songs of each task."""


def _song(name: str, notes: tuple[Array, ...], tempo: float, **fields: Any) -> Song:
    """A song of ``BARS`` bars; notes as ``sorted_notes`` takes them."""
    facts: dict[str, Any] = {"voices": ("melody", "chords"), "length": float(BARS * _BEAT)} | fields
    return Song(name, source="procedural", tempos=np.array([[0.0, tempo]]), **sorted_notes(*notes), **facts)


def _piano(beats: Array, top: Array, low: Array | int, root: Array, scale: Sequence[int]) -> tuple[Array, ...]:
    """Onsets, times to the next, keys and voices of a melody and of triads on scale degrees (C,), evenly apart."""
    step = BARS * _BEAT / len(root)
    onset = np.concatenate([beats, *[np.arange(0, BARS * _BEAT, step)] * 3])
    gap = np.concatenate([np.diff(beats, append=BARS * _BEAT), np.full(3 * len(root), step)])
    pitch = np.concatenate([top, *(low + _degree(root + third, scale) for third in (0, 2, 4))])
    return onset, gap, pitch, np.repeat([0, 1], [len(beats), 3 * len(root)])


def _key(tonic: int, scale: Sequence[int]) -> str:
    return f"{TONICS[tonic]}:{'maj' if scale is _MAJOR else 'min'}"


def _degree(degree: Array, scale: Sequence[int]) -> Array:
    """Semitones above the tonic of scale degrees (N,), 0 the tonic, 7 the octave."""
    return np.asarray(np.array(scale)[degree % 7] + 12 * (degree // 7))


def _midi(velocity: Sequence[Array]) -> Array:
    return np.asarray(np.clip(np.rint(np.concatenate(list(velocity))), 1, 127), dtype=np.int64)


def _some(songs: int) -> int:
    if songs < 3:
        raise DataError(f"songs={songs}: at least 3, one a split.")
    return songs
