"""Music emotion recognition: valence and arousal of what has been heard so far."""

import numpy as np

from ..song import AUDIO_RATE, Song
from .base import Array, Block, Frames, Layout, Task, at_least
from .context import emotion_at
from .emotion_features import BLOCKS, score_features
from .raster import rows_of

OUTPUTS = 64
"""The embedding of the recogniser: valence and arousal first."""
QUADRANTS = ("Q1", "Q2", "Q3", "Q4")
"""High valence and arousal, low and high, low and low, high and low (Russell 1980)."""


class Emotion(Task):
    """Notes or sound so far -> valence and arousal.

    The columns after the first two serve an auxiliary loss: the quadrant, the mode (1 major, -1 minor) and the
    density of notes (log2 of the song's notes a second over 4, over 4); the rest are reserved.

    Args:
        rate: frames a beat; of sound there are always two a second.
        audio: take 128 log-mel energies of the recording for features of the notes.
    """

    name = "emotion"

    def __init__(self, rate: float = 1, audio: bool = False) -> None:
        at_least("rate", rate, 0.25)
        self.rate, self.audio = rate, audio
        self.inputs = Layout([Block("log_mel", 128)] if audio else BLOCKS, 128)
        auxiliary = [Block("quadrant", QUADRANTS), Block("mode"), Block("density")]
        self.targets = Layout([Block("valence"), Block("arousal"), *auxiliary], OUTPUTS)

    def missing(self, song: Song) -> str | None:
        """A song needs ratings or a quadrant, and sound or notes."""
        if song.emotion is None and song.labels.get("quadrant") not in QUADRANTS:
            return "valence and arousal, or a quadrant"
        if self.audio:
            heard = song.audio is not None and (song.audio_rate or 0) >= AUDIO_RATE
            return None if heard else f"a recording of at least {AUDIO_RATE:g} frames a second (task_options.audio)"
        return None if len(song.onset) else "notes"

    def frames(self, song: Song) -> Frames:
        """One row a frame; a row knows what ended before its own end."""
        if self.audio:
            inputs = _log_mels(song)
            beats = song.beats(np.arange(len(inputs)) / AUDIO_RATE)
        else:
            beats = np.arange(rows_of(song, self.rate)) / self.rate
            inputs = self.inputs.fill(score_features(song, self.rate), len(beats))
        targets, known = self._targets(song, beats)
        return Frames(inputs.astype(np.float32), targets, known)

    def _targets(self, song: Song, beats: Array) -> tuple[Array, Array]:
        rows = len(beats)
        rated = np.zeros(rows, bool) if song.emotion is None else beats + 1e-6 >= song.emotion[0, 0]
        emotion = emotion_at(song, beats)
        quadrant = np.full(rows, QUADRANTS.index(given) if (given := song.labels.get("quadrant")) in QUADRANTS else -1)
        quadrant = np.where(rated & (quadrant < 0), _quadrant(emotion), quadrant)
        mode = 0 if song.key is None else -1 if ":min" in song.key else 1
        seconds = float(song.seconds(song.length))
        density = np.log2(max(len(song.onset), 1) / max(seconds, 1e-3) / 4) / 4
        values = {
            "valence": emotion[:, 0],
            "arousal": emotion[:, 1],
            "quadrant": quadrant[:, None] == np.arange(4),
            "mode": np.full(rows, mode),
            "density": np.full(rows, np.clip(density, -1, 1)),
        }
        known = {
            "valence": rated,
            "arousal": rated,
            "quadrant": np.repeat(quadrant[:, None] >= 0, 4, axis=1),
            "mode": np.full(rows, mode != 0),
            "density": np.full(rows, len(song.onset) > 0),
        }
        return self.labels(values, known, rows)


def _quadrant(emotion: Array) -> Array:
    """Number (T,) of the quadrant of (valence, arousal) (T, 2)."""
    valence, arousal = emotion.T >= 0
    return np.where(arousal, np.where(valence, 0, 1), np.where(valence, 3, 2))


def _log_mels(song: Song) -> Array:
    """Mean log-mel energies (T, 128) of each half second, from those of the song."""
    assert song.audio is not None and song.audio_rate is not None  # noqa: S101, PT018 (``missing`` has looked)
    frame = np.floor(np.arange(len(song.audio)) / song.audio_rate * AUDIO_RATE + 1e-6).astype(np.int64)
    counts = np.bincount(frame)
    sums = np.zeros((len(counts), song.audio.shape[1]))
    np.add.at(sums, frame, song.audio)
    return sums / counts[:, None]
