"""Rendering: a song as piano roll, MIDI file and sound."""

import wave
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from litmotif.errors import MissingExtraError

from .key_signatures import fifths_of_key
from .song import DRUMS, KEYS, LOWEST_KEY, Floats, Ints, Song, sorted_notes
from .tasks.melody import HOLD, REST

PARTIALS = (1.0, 0.5, 0.3, 0.15, 0.08)
"""Amplitudes of the harmonics of a synthesised note."""
COLOURS = ("#3b6ea8", "#d1603d", "#4c9a5b", "#8e5ba6", "#c7a02c", "#6b7280")
BLACK_KEYS = (1, 3, 6, 8, 10)
DEFAULT_VELOCITY = 80
"""For notes of a source without velocities."""
TICKS = 480
"""A quarter note in a MIDI file that is written here."""


def song_of_roll(roll: NDArray[np.bool_], rate: float, lowest: int = 0, name: str = "", tempo: float = 120.0) -> Song:
    """The notes of a frame roll: neighbouring frames of one key are one note.

    Args:
        roll: keys that sound (T, K).
        rate: frames a beat.
        lowest: MIDI pitch of the first column.
        name: of the song.
        tempo: quarters a minute.

    Returns:
        A song of T / ``rate`` beats; without notes it keeps its length and an empty piano roll.
    """
    padded = np.pad(roll.astype(np.int8), ((1, 1), (0, 0)))
    change = np.diff(padded, axis=0).T  # (K, T + 1)
    key, first = np.nonzero(change == 1)
    _, last = np.nonzero(change == -1)
    return _song(first, last, key + lowest, len(roll), rate, name, tempo)


def song_of_events(events: NDArray[np.bool_], rate: float, name: str = "", tempo: float = 120.0) -> Song:
    """The notes of what happens frame by frame, as ``tasks.melody`` has it; what is held before any note is a rest.

    Args:
        events: (T, 128), one of them a frame; a frame without any is a rest.
        rate: frames a beat.
        name: of the song.
        tempo: quarters a minute.

    Returns:
        A song of T / ``rate`` beats; without notes it keeps its length and an empty piano roll.
    """
    happens = np.where(events.any(axis=1), events.argmax(axis=1), REST)
    first = np.flatnonzero((happens != REST) & (happens != HOLD))
    stops = np.append(np.flatnonzero(happens != HOLD), len(happens))
    last = stops[np.searchsorted(stops, first, side="right")]
    return _song(first, last, happens[first], len(events), rate, name, tempo)


def _song(first: Ints, last: Ints, pitch: Ints, frames: int, rate: float, name: str, tempo: float) -> Song:
    loud, voice = np.full(len(pitch), DEFAULT_VELOCITY), np.zeros(len(pitch))
    notes = sorted_notes(first / rate, (last - first) / rate, pitch, loud, voice)
    silence: dict[str, Any] = {} if len(pitch) else {"roll": np.zeros((frames, KEYS), dtype=bool), "roll_rate": rate}
    return Song(name, tempos=np.array([[0.0, tempo]]), length=frames / rate, **notes, **silence)


def with_notes(song: Song) -> Song:
    """The song itself, or the notes of its roll where that is all it has."""
    if len(song.onset) or song.roll is None or song.roll_rate is None or not song.roll.any():
        return song
    return song_of_roll(song.roll, song.roll_rate, LOWEST_KEY, song.name, float(song.tempos[0, 1]))


def draw_roll(songs: Sequence[Song], given: float = 0.0, until: float | None = None) -> Figure:
    """Piano rolls below one another: time in beats, a line a bar, pitch, one colour a voice, fainter where softer.

    Args:
        songs: at least one.
        given: beats at the start that were not made up but given; a line marks their end.
        until: last beat shown; None for the whole of each.
    """
    figure = Figure(figsize=(11, 0.6 + 2.6 * len(songs)), layout="constrained")
    panels = figure.subplots(len(songs), 1, squeeze=False)[:, 0]
    songs = [with_notes(song) for song in songs]
    pitches = np.concatenate([song.pitch for song in songs])
    low, high = (int(pitches.min()), int(pitches.max())) if len(pitches) else (48, 72)
    for panel, song in zip(panels, songs, strict=True):
        end = until or song.length
        bars = list(takewhile(lambda beat, end=end: beat < end, song.bars()))  # type: ignore[misc]
        boxes = [
            Rectangle((onset, pitch - 0.45), max(duration, 0.05), 0.9)
            for onset, duration, pitch in zip(song.onset, song.duration, song.pitch, strict=True)
        ]
        loud = np.where(song.velocity > 0, song.velocity, DEFAULT_VELOCITY) / 127
        colours = [(COLOURS[v % len(COLOURS)], 0.3 + 0.7 * s) for v, s in zip(song.voice, loud, strict=True)]
        panel.add_collection(PatchCollection(boxes, facecolor=colours, edgecolor="white", linewidth=0.4))
        panel.set(xlim=(0, end), ylim=(low - 2.5, high + 4.5), ylabel="pitch")
        panel.set_title(song.name, fontsize=10, fontweight="bold", loc="left")
        panel.set_xticks(bars[:: max(1, round(len(bars) / 16))])
        panel.yaxis.set_major_locator(MultipleLocator(12))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda pitch, _: f"C{round(pitch) // 12 - 1}"))
        for key in range(low - 2, high + 3):
            if key % 12 in BLACK_KEYS:
                panel.axhspan(key - 0.5, key + 0.5, color="0.95", linewidth=0, zorder=0)
        panel.grid(axis="x", alpha=0.3, linewidth=0.6)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        if given:
            panel.axvline(given, color="0.3", linestyle="--", linewidth=1)
            panel.text(given, high + 4.2, " given until here", fontsize=8, va="top", color="0.3")
    panels[-1].set_xlabel("beats (quarter notes)")
    return figure


def synthesise(song: Song, rate: int = 44_100) -> Floats:
    """Sound of a song, by sine waves with a struck envelope; drums are short bursts of noise.

    Args:
        song: with or without notes.
        rate: samples a second.

    Returns:
        Samples (N,) in [-1, 1], half a second longer than the song.
    """
    tail = 0.5
    start, end = song.seconds(song.onset), song.seconds(song.onset + song.duration)
    sound = np.zeros(int((float(song.seconds(song.length)) + tail) * rate) + 1)
    noise = np.random.default_rng(0).standard_normal(int(0.15 * rate))
    for row in range(len(start)):
        velocity = int(song.velocity[row]) or DEFAULT_VELOCITY
        drum = song.voices[int(song.voice[row])] == DRUMS
        wave_ = (
            _burst(noise, int(song.pitch[row]), rate) if drum else _tone(song.pitch[row], end[row] - start[row], rate)
        )
        first = int(start[row] * rate)
        wave_ = wave_[: len(sound) - first]
        sound[first : first + len(wave_)] += (velocity / 127) ** 2 * wave_
    loudest = float(np.abs(sound).max(initial=0.0))
    return sound * (0.8 / loudest) if loudest > 0 else sound


def _tone(pitch: float, seconds: float, rate: int, release: float = 0.15) -> Floats:
    """A struck string, roughly: harmonics below the Nyquist frequency that die away, the higher the faster."""
    t = np.arange(int((max(seconds, 0.05) + release) * rate)) / rate
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros_like(t)
    for k, amplitude in enumerate(PARTIALS, 1):
        if k * frequency < rate / 2:
            tone += amplitude * np.exp(-1.5 * k * t) * np.sin(2 * np.pi * k * frequency * t)
    attack, fade = np.minimum(1, t / 0.005), np.clip((t[-1] - t) / release, 0, 1)
    return np.asarray(tone * attack * fade)


def _burst(noise: Floats, pitch: int, rate: int) -> Floats:
    """A hit: low drums thump, the others hiss."""
    t = np.arange(len(noise)) / rate
    if pitch <= 36:
        return np.asarray(2.5 * np.exp(-25 * t) * np.sin(2 * np.pi * (45 * t + 4 * (1 - np.exp(-30 * t)))))
    decay = 20 if pitch <= 41 else 60 if pitch in (42, 44) else 12
    return np.asarray(0.6 * np.exp(-decay * t) * noise)


def write_wav(path: Path, sound: NDArray[np.floating], rate: int = 44_100) -> None:
    """Write samples (N,) or (channels, N) in [-1, 1] as 16 bit."""
    samples = np.atleast_2d(sound)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1).T * 32767).round().astype("<i2").tobytes())


def to_score(song: Song) -> Any:
    """The song for symusic: a track a voice, tempos, time signatures, and the key where it is known.

    Raises:
        ImportError: symusic is not installed; names the extra.
    """
    try:
        import symusic
    except ImportError as error:
        raise MissingExtraError("MIDI files need symusic: pip install 'litmotif[music]'.") from error
    score: Any = symusic.Score(TICKS)
    for beat, pace in song.tempos:
        score.tempos.append(symusic.Tempo(round(beat * TICKS), float(pace)))
    for beat, numerator, denominator in song.meters:
        score.time_signatures.append(symusic.TimeSignature(round(beat * TICKS), numerator, denominator))
    if song.key is not None:
        score.key_signatures.append(symusic.KeySignature(0, fifths_of_key(song.key), int(song.key.endswith(":min"))))
    velocity = np.where(song.velocity > 0, song.velocity, DEFAULT_VELOCITY)
    first = np.round(song.onset * TICKS).astype(int)
    last = np.maximum(np.round((song.onset + song.duration) * TICKS).astype(int), first + 1)
    for number, voice in enumerate(song.voices):
        rows = np.flatnonzero(song.voice == number)
        track: Any = symusic.Track(voice, 0, voice == DRUMS)
        for row in rows:
            track.notes.append(
                symusic.Note(int(first[row]), int(last[row] - first[row]), int(song.pitch[row]), int(velocity[row]))
            )
        score.tracks.append(track)
    return score


def write_midi(path: Path, song: Song) -> None:
    """Write a MIDI file; notes without velocity get 80.

    Raises:
        ImportError: symusic is not installed; names the extra.
    """
    to_score(song).dump_midi(str(path))


def play(song: Song, soundfont: Path, rate: int = 44_100) -> NDArray[np.float32]:
    """Sound of a song by symusic's synthesiser: (2, N) in [-1, 1].

    Args:
        song: what is played.
        soundfont: a ``.sf2`` or ``.sf3`` file.
        rate: samples a second.

    Raises:
        FileNotFoundError: there is no such soundfont.
        ImportError: symusic is not installed; names the extra.
    """
    if not soundfont.is_file():
        raise FileNotFoundError(f"{soundfont}: no such soundfont. Leave it out for a sound of sine waves.")
    score = to_score(song)
    import symusic

    sound = np.asarray(symusic.Synthesizer(str(soundfont), rate).render(score, stereo=True), dtype=np.float32)
    return sound / max(1.0, float(np.abs(sound).max(initial=0.0)))
