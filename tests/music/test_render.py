"""What is drawn, heard and written is what the song holds."""

import sys
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.core import DataError
from datamodules.music.continuation import Continuation
from datamodules.music.render import (
    draw_roll,
    play,
    song_of_roll,
    synthesise,
    write_midi,
    write_wav,
)
from datamodules.music.song import DRUMS, Meter, Song, sorted_notes
from datamodules.music.tasks import make_task

RATE = 8000


def tune(pitches=(60, 64, 67, 72), beats=1.0, **changes):
    n = len(pitches)
    notes = sorted_notes(np.arange(n) * beats, np.full(n, beats), pitches, np.full(n, 90), np.zeros(n))
    return Song("tune", **notes, **changes)


def test_a_roll_is_its_notes_and_back():
    rng = np.random.default_rng(0)
    roll = rng.random((40, 12)) < 0.3
    song = song_of_roll(roll, rate=4, lowest=50, tempo=90)
    again = make_task("polyphony", {"keys": 128, "rate": 4}).roll(song)[:, 50:62]
    assert (np.pad(again, ((0, 40 - len(again)), (0, 0))) == roll).all()
    assert len(song.onset) == (np.diff(roll.astype(int), axis=0, prepend=0) == 1).sum()
    assert song.length == 10
    assert song_of_roll(np.zeros((8, 12), bool), 4).length == 2


def loudest(sound, rate=RATE):
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return spectrum.argmax() * rate / len(sound)


def test_each_note_sounds_at_its_time_at_its_frequency_and_at_its_loudness():
    song = tune((57, 69), tempos=np.array([[0.0, 60.0]]))
    sound = synthesise(song, RATE)
    assert len(sound) == pytest.approx(2.5 * RATE, abs=2)
    assert np.abs(sound).max() == pytest.approx(0.8)
    for second, frequency in ((0, 220), (1, 440)):
        assert loudest(sound[int((second + 0.2) * RATE) : int((second + 0.9) * RATE)]) == pytest.approx(
            frequency, abs=3
        )
    softer = Song("both", **sorted_notes([0, 2], [1, 1], [60, 60], [120, 40], [0, 0]))
    sound = synthesise(softer, RATE)
    first, second = (np.abs(sound[int(s * RATE) : int((s + 0.5) * RATE)]).max() for s in (0, 1))
    assert second / first == pytest.approx((40 / 120) ** 2, rel=1e-6)


def test_drums_have_no_pitch_and_silence_is_silent():
    drum = Song("drum", **sorted_notes([0], [0.1], [38], [100], [0]), voices=(DRUMS,))
    sound = synthesise(drum, RATE)[: RATE // 10]
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    assert spectrum.max() / spectrum.sum() < 0.05
    assert not synthesise(song_of_roll(np.zeros((8, 88), bool), 4, 21), RATE).any()


def test_a_tone_above_the_nyquist_frequency_does_not_come_back_below():
    sound = synthesise(tune((108,), tempos=np.array([[0.0, 60.0]])), RATE)  # 4186 Hz
    assert not sound.any()


def test_the_wav_holds_the_samples(tmp_path):
    sound = np.stack([np.linspace(-1, 1, 50), np.linspace(1, -1, 50)])
    write_wav(tmp_path / "a.wav", sound, RATE)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, RATE, 2)
        read = np.frombuffer(file.readframes(50), "<i2").reshape(50, 2).T / 32767
    assert np.abs(read - sound).max() < 1 / 32767


def test_the_midi_file_holds_the_notes(tmp_path):
    symusic = pytest.importorskip("symusic")
    song = tune((60, 64), tempos=np.array([[0.0, 90.0]]), meters=((0.0, 3, 4),), voices=("lead", DRUMS))
    write_midi(tmp_path / "a.mid", song)
    read = symusic.Score(str(tmp_path / "a.mid"))
    lead = next(track for track in read.tracks if len(track.notes))
    assert [(n.time / read.tpq, n.duration / read.tpq, n.pitch, n.velocity) for n in lead.notes] == [
        (0, 1, 60, 90),
        (1, 1, 64, 90),
    ]
    assert not lead.is_drum
    assert read.tempos[0].qpm == pytest.approx(90, abs=0.01)
    assert (read.time_signatures[0].numerator, read.time_signatures[0].denominator) == (3, 4)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such soundfont"):
        play(tune(), tmp_path / "none.sf2")
    monkeypatch.setitem(sys.modules, "symusic", None)
    with pytest.raises(ImportError, match=r"litmotif\[music\]"):
        write_midi(tmp_path / "a.mid", tune())


def test_every_note_is_drawn_where_it_stands():
    song, other = tune((60, 64, 67)), tune((80, 40))
    figure = draw_roll([song, other], given=1.0, until=3.0)
    first, second = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == (0, 3)
    boxes = [path.get_extents() for path in first.collections[0].get_paths()]
    assert [(box.x0, box.x1, (box.y0 + box.y1) / 2) for box in boxes] == [(0, 1, 60), (1, 2, 64), (2, 3, 67)]


def test_a_line_a_bar_also_after_a_pickup():
    song = replace(tune((60,) * 12), meters=(Meter(0.0, 1, 4), Meter(1.0, 3, 4)))
    (panel,) = draw_roll([song], until=12.0).axes
    assert panel.get_xticks().tolist() == [0, 1, 4, 7, 10]
    (panel,) = draw_roll([song], until=120.0).axes
    assert len(panel.get_xticks()) <= 21


# ---------------------------------------------------------------------- going on with a song
@pytest.mark.parametrize(("name", "low"), [("melody", 1), ("polyphony", 21)])
def test_a_song_that_is_given_back_to_the_model_has_the_features_that_it_was_trained_on(name, low):
    """Where the made part is the song's own, every frame's features are those of the song itself."""
    task = make_task(name, {})
    song = tune((60, 62, 64, 65, 67, 69, 71, 72), tempos=np.array([[0.0, 100.0]]), emotion=np.array([[0.0, 0.5, -0.5]]))
    going_on = Continuation(task, song, beats=2, length=8)
    assert (going_on.lowest, going_on.given, going_on.frames) == (low, 8, 24)
    own = Continuation(task, song, beats=8, length=8).prompt
    assert torch.equal(own[:8], going_on.prompt)
    wanted = task.frames(song).inputs
    for t in range(1, len(wanted) + 1):
        features = going_on.encode(own[None, :t].expand(2, -1, -1)).numpy()
        assert features.shape == (2, len(task.inputs))
        assert np.allclose(features, wanted[t - 1]), t
    made = going_on.song_of(own.numpy(), name="again")
    for field in ("onset", "duration", "pitch"):
        assert np.allclose(getattr(made, field), getattr(song, field))
    assert made.velocity[:2].tolist() == [90, 90]
    assert (made.name, made.length, made.tempos.tolist()) == ("again", 8, [[0.0, 100.0]])


def test_a_song_that_is_a_roll_goes_on_in_its_own_frames():
    roll = np.random.default_rng(0).random((16, 88)) < 0.1
    song = Song("roll", roll=roll, roll_rate=1.0, voices=())
    task = make_task("polyphony", {})
    going_on = Continuation(task, song, beats=4, length=12)
    assert (going_on.given, going_on.frames) == (4, 8)
    assert (going_on.prompt.numpy() == roll[:4]).all()
    for t in range(1, 16):
        assert (going_on.encode(torch.from_numpy(roll[None, :t])).numpy() == roll[t - 1]).all()
    assert len(going_on.song_of(roll).onset) > 0


def test_what_cannot_go_on_is_refused():
    rest = tune((60, 62), beats=1.0)
    late = Song("late", **sorted_notes([8.0], [1.0], [60], [90], [0]))
    with pytest.raises(DataError, match="nothing sounds"):
        Continuation(make_task("polyphony", {}), late, 2, 8)
    with pytest.raises(DataError, match="no keys"):
        Continuation(make_task("harmony", {}), rest, 2, 8)
    drums = Song("drums", **sorted_notes([0, 1], [1, 1], [36, 38], [90, 90], [0, 0]), voices=(DRUMS,))
    with pytest.raises(DataError, match="melody"):
        Continuation(make_task("melody", {}), drums, 2, 8)
