"""Small random songs with everything that a task may look at."""

from dataclasses import replace

import numpy as np

from datamodules.music.song import Chord, Meter, Song, sorted_notes

VOICES = ("piano", "melody", "drums")
LABELS = ("C:maj", "A:min7", "F#:maj", "N", "G:7", "Eb:sus4", "B:dim", "D:maj7")
KIT = (35, 38, 42, 46, 43, 47, 50, 57, 51, 26, 40, 99)


def song(seed=0, notes=90, beats=16.0, drums=True, metre=4):
    """Notes off the grid, some together, some without velocity; two tempos, a change of metre, chords, ratings."""
    rng = np.random.default_rng(seed)
    voice = rng.choice(3 if drums else 2, notes)
    onset = np.round(rng.uniform(0, beats - 1, notes) * 4) / 4 + rng.normal(0, 0.02, notes)
    onset = np.maximum(onset, 0)
    pitch = np.where(voice == 2, rng.choice(KIT, notes), rng.integers(40, 85, notes))
    velocity = rng.integers(1, 128, notes) * (rng.random(notes) < 0.9)
    at = np.sort(rng.choice(int(beats), min(8, int(beats)), replace=False)).astype(float)
    return Song(
        name=f"song {seed}",
        **sorted_notes(onset, rng.uniform(0.05, 1.5, notes), pitch, velocity, voice),
        voices=VOICES,
        tempos=np.array([[0.0, 90.0], [beats / 2, 140.0]]),
        meters=(Meter(0.0, metre, 4), Meter(2.0 * metre, 4, 4)),
        length=beats,
        chords=tuple(Chord(beat, str(rng.choice(LABELS))) for beat in at),
        key="A:min",
        emotion=np.array([[2.0, 0.5, -0.5], [9.0, -0.25, 0.75]]),
        labels={"style": "jazz", "beat_type": "beat"},
    )


def heard_until(whole, beat):
    """The song as it is known at ``beat``: later notes are others, and sounding ones end there or later than before."""
    early = whole.onset < beat - 1e-9
    later = song(99, 40, whole.length - beat - 1 if whole.length - beat > 2 else 2.0)
    onset = np.append(whole.onset[early], later.onset + beat)
    duration = np.append(whole.duration[early], later.duration)
    lasting = whole.onset[early] + whole.duration[early] > beat
    duration[: early.sum()][lasting] = beat - whole.onset[early][lasting] + 0.7
    rest = [np.append(getattr(whole, name)[early], getattr(later, name)) for name in ("pitch", "velocity", "voice")]
    return replace(whole, **sorted_notes(onset, duration, *rest))
