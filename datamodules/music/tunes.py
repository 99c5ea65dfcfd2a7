"""Synthetic folk tunes: melody, chords and accompaniment by the rules of dance music, for tasks that have no files.

Two strains of eight bars, each played twice; strains are made of two-bar motifs that come back on other chords, and end
on cadences with a long note and often a breath. The rules are those that hold for jigs, reels and waltzes; the tunes
are nobody's.
"""

from typing import NamedTuple

import numpy as np

from ..core import DataError, random_stream
from .chords import TONICS
from .song import Chord, Meter, Song, sorted_notes

Rhythm = tuple[float, ...]
"""Lengths in beats of the notes of a bar; negative ones are rests."""


class Dance(NamedTuple):
    """A kind of tune.

    Attributes:
        meter: numerator and denominator of its bars.
        tempos: quarters a minute, least and most.
        bars: rhythms of a bar and how often each is taken.
        cadences: rhythms of the last bar of a strain, of equal chance.
        strong: beats on which notes belong to the chord.
    """

    meter: tuple[int, int]
    tempos: tuple[int, int]
    bars: dict[Rhythm, float]
    cadences: tuple[Rhythm, ...]
    strong: float


DANCES = {
    "jig": Dance(
        (6, 8),
        (150, 180),
        {(0.5,) * 6: 5, (1, 0.5, 0.5, 0.5, 0.5): 3, (0.5, 0.5, 0.5, 1, 0.5): 3, (1, 0.5, 1, 0.5): 2},
        ((0.5, 0.5, 0.5, 1, -0.5), (1, 0.5, 1.5), (1, 0.5, 1, -0.5)),
        1.5,
    ),
    "reel": Dance(
        (4, 4),
        (180, 220),
        {(0.5,) * 8: 5, (1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5): 3, (1, 0.5, 0.5, 1, 0.5, 0.5): 2, (1, 1, 0.5, 0.5, 1): 1},
        ((0.5, 0.5, 0.5, 0.5, 1, -1), (0.5, 0.5, 1, 2), (1, 0.5, 0.5, 1, -1)),
        1.0,
    ),
    "waltz": Dance(
        (3, 4),
        (110, 150),
        {(1, 1, 1): 3, (2, 1): 3, (1, 0.5, 0.5, 1): 3, (1.5, 0.5, 1): 2, (1, 1, 0.5, 0.5): 2},
        ((2, -1), (3,), (1, 1, -1)),
        1.0,
    ),
}
MODES = {"maj": (0, 2, 4, 5, 7, 9, 11), "min": (0, 2, 3, 5, 7, 8, 10)}
QUALITIES = {
    "maj": ("maj", "min", "min", "maj", "maj", "min", "dim"),
    "min": ("min", "dim", "maj", "min", "min", "maj", "maj"),
}
"""Triads on the degrees of a mode."""
PROGRESSIONS = {
    "maj": ((0, 0, 3, 4, 0, 3, 4, 0), (0, 5, 3, 4, 0, 5, 4, 0), (0, 3, 0, 4, 0, 3, 4, 0), (0, 0, 1, 4, 0, 5, 4, 0)),
    "min": ((0, 0, 6, 6, 0, 0, 6, 0), (0, 6, 5, 6, 0, 6, 4, 0), (0, 3, 0, 6, 0, 3, 6, 0), (0, 2, 6, 0, 0, 5, 6, 0)),
}
"""Degrees of the chord of each bar of a strain."""
REPEATED, LEAP = 0.08, 0.15
"""Chances that a note between strong beats is the one before, and that it leaps by a third."""
LOWEST, HIGHEST = 62, 86
"""The range of a fiddle in first position, without its lowest string."""


def tunes(songs: int, seed: int) -> list[Song]:
    """Folk tunes with the chord of each bar; voices ``melody`` and ``chords``.

    ``labels``: style (a key of ``DANCES``).

    Raises:
        DataError: fewer than 3 songs.
    """
    if songs < 3:
        raise DataError(f"songs={songs}: at least 3, one a split.")
    return [_tune(number, random_stream(seed, number, 3)) for number in range(songs)]


def _tune(number: int, rng: np.random.Generator) -> Song:
    style = list(DANCES)[number % len(DANCES)]
    dance, mode = DANCES[style], "maj" if rng.random() < 0.7 else "min"
    tonic = int(rng.choice([2, 4, 5, 7, 9, 11, 0]))
    strains = [_strain(dance, mode, tonic, centre, rng) for centre in (0, 3)]
    bar = Meter(0.0, *dance.meter).bar
    notes: Notes = []
    degrees: list[int] = []
    for part in (strains[0], strains[0], strains[1], strains[1]):
        start = len(degrees) * bar
        notes += [(onset + start, length, pitch) for onset, length, pitch in part[0]]
        degrees += part[1]
    chords = [(bar * k, tonic + MODES[mode][degree], QUALITIES[mode][degree]) for k, degree in enumerate(degrees)]
    onset, length, pitch = (np.array(column) for column in zip(*notes, strict=True))
    low = [[48 + (root + step) % 12 for step in _TONES[quality]] for _, root, quality in chords]
    starts = np.repeat([at for at, _, _ in chords], 3)
    loud = 76 + 12 * (onset % bar == 0) + rng.integers(-4, 5, len(onset))
    return Song(
        f"tune {number}",
        source="procedural",
        **sorted_notes(
            np.append(onset, starts),
            np.append(length, np.full(len(starts), bar)),
            np.append(pitch, np.ravel(low)),
            np.append(loud, np.full(len(starts), 60)),
            np.repeat([0, 1], [len(onset), len(starts)]),
        ),
        voices=("melody", "chords"),
        tempos=np.array([[0.0, float(rng.integers(*dance.tempos))]]),
        meters=(Meter(0.0, *dance.meter),),
        length=bar * len(degrees),
        chords=tuple(Chord(at, f"{TONICS[root % 12]}:{quality}") for at, root, quality in chords),
        key=f"{TONICS[tonic]}:{mode}",
        labels={"style": style},
    )


_TONES = {"maj": (0, 4, 7), "min": (0, 3, 7), "dim": (0, 3, 6)}
Notes = list[tuple[float, float, int]]
"""(onset, length, pitch), beats from the beginning of the strain."""


def _strain(dance: Dance, mode: str, tonic: int, centre: int, rng: np.random.Generator) -> tuple[Notes, list[int]]:
    """Eight bars around a degree of the scale, and the degree of the chord of each bar."""
    degrees = PROGRESSIONS[mode][rng.integers(len(PROGRESSIONS[mode]))]
    shares = np.array(list(dance.bars.values()))
    rhythms = [list(dance.bars)[k] for k in rng.choice(len(shares), 4, p=shares / shares.sum())]
    ending = dance.cadences[rng.integers(len(dance.cadences))]
    middle = dance.cadences[rng.integers(len(dance.cadences))] if rng.random() < 0.5 else rhythms[3]
    plan = [rhythms[0], rhythms[1], rhythms[2], middle, rhythms[0], rhythms[1], rhythms[2], ending]
    bar, home = Meter(0.0, *dance.meter).bar, _nearest(67, tonic)
    degree, notes = centre, []
    steps: dict[int, list[int]] = {}
    for number, (rhythm, chord) in enumerate(zip(plan, degrees, strict=True)):
        onset, line = number * bar, []
        motif = steps.get(number % 4) if number in (4, 5) else None
        for k, length in enumerate(rhythm):
            strong = (onset - number * bar) % dance.strong == 0
            if number == 7 and (k == len(rhythm) - 1 or rhythm[k + 1] < 0) and length > 0:
                degree = 7 * round(degree / 7)  # home
            elif motif is not None and k:
                degree += motif[k - 1]
            elif strong:
                degree = _chord_tone(degree, chord, rng)
            else:
                degree += 0 if rng.random() < REPEATED else int(rng.choice([-1, 1])) * (2 if rng.random() < LEAP else 1)
            while _pitch(home, degree, mode) > HIGHEST:
                degree -= 7 if strong else 2
            while _pitch(home, degree, mode) < LOWEST:
                degree += 7 if strong else 2
            line.append(degree)
            if length > 0:
                notes.append((onset, length, _pitch(home, degree, mode)))
            onset += abs(length)
        steps[number] = np.diff(line).tolist()
    return notes, list(degrees)


def _chord_tone(degree: int, chord: int, rng: np.random.Generator) -> int:
    """One of the two nearest other tones of the triad on a degree, mostly the nearest."""
    tones = [7 * octave + chord + third for octave in range(-3, 4) for third in (0, 2, 4)]
    near = sorted(tones, key=lambda tone: (abs(tone - degree), tone))
    return near[0] if rng.random() < 0.6 else near[1]


def _nearest(pitch: int, pitch_class: int) -> int:
    """The key of a pitch class that is nearest."""
    return pitch + (pitch_class - pitch + 6) % 12 - 6


def _pitch(home: int, degree: int, mode: str) -> int:
    return home + MODES[mode][degree % 7] + 12 * (degree // 7)
