"""Made songs: what they were made from can be learnt from their frames, down to a noise of known size."""

import numpy as np
import pytest

from datamodules.core import DataError
from datamodules.music.procedural import STYLES, TIMING_NOISE, VELOCITY_NOISE, grooves, moods, phrases
from datamodules.music.tasks import make_task


def ridge(train, test, strength=1.0):
    """Predictions on ``test`` of a linear fit to ``train``, each (inputs, targets) with rows as they come."""
    (x, y), (x_test, _) = train, test
    mean, std = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, x_test = (x - mean) / std, (x_test - mean) / std
    weight = np.linalg.solve(x.T @ x + strength * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
    return x_test @ weight + y.mean(axis=0)


def rows(task, songs, output, take=slice(None)):
    """Inputs (N, F) and one target (N, 1), where it is known."""
    k = task.targets.names.index(output)
    parts = [task.frames(song) for song in songs]
    inputs = [part.inputs[take][part.mask[take, k]] for part in parts]
    targets = [part.targets[take][part.mask[take, k], k : k + 1] for part in parts]
    return np.concatenate(inputs).astype(np.float64), np.concatenate(targets).astype(np.float64)


def test_grooves_are_late_by_their_swing_and_their_drums():
    songs, task = grooves(30, 0), make_task("groove", {})
    assert {song.labels["style"] for song in songs} == set(STYLES)
    for song in songs:
        frames = task.frames(song)
        swing = frames.targets[:, task.targets.names.index("swing")][frames.mask[:, task.targets.names.index("swing")]]
        assert swing.mean() == pytest.approx(float(song.labels["swing"]), abs=0.12)
    x, y = rows(task, songs, "offset:snare")
    style = np.stack([x[:, task.inputs.names.index(f"style:{name}")] for name in STYLES], axis=1)
    weak = (
        x[:, [task.inputs.names.index(f"bar_step:{k}") for k in range(1, 16, 2)]].sum(axis=1, keepdims=True)
    ) * style
    told = np.hstack([style, weak])
    left = y - ridge((told, y), (told, y), 1e-6)
    assert left.std() == pytest.approx(TIMING_NOISE * 8, rel=0.1)  # beats in half sixteenths


@pytest.mark.parametrize("drum", ["kick", "snare"])
def test_accents_of_grooves_are_those_of_the_beat(drum):
    songs, task = grooves(20, 0), make_task("groove", {})
    x, y = rows(task, songs, f"velocity:{drum}")
    assert (y - ridge((x, y), (x, y))).std() * 63.5 == pytest.approx(VELOCITY_NOISE, rel=0.1)
    assert y.std() * 63.5 > 1.5 * VELOCITY_NOISE


def test_phrases_tell_their_velocities_down_to_the_noise():
    songs, task = phrases(20, 0), make_task("dynamics", {"size": "full"})
    x, y = rows(task, songs[:15], "velocity")
    x_test, y_test = rows(task, songs[15:], "velocity")
    error = (y_test - ridge((x, y), (x_test, y_test))).std() * 127
    assert error < 0.8 * y_test.std() * 127
    beat = np.concatenate([song.onset for song in songs])
    voice = np.concatenate([song.voice for song in songs])
    pitch = np.concatenate([song.pitch for song in songs])
    loud = np.concatenate([song.velocity for song in songs])
    metre = np.where(beat % 4 == 0, 8, np.where(beat % 1 == 0, 4, 0))
    rule = 62 + 16 * np.sin(np.pi * (beat % 16) / 16) + metre + (pitch - 60) / 3 + 10 * (voice == 0)
    assert (loud - rule).std() == pytest.approx(VELOCITY_NOISE, rel=0.05)


@pytest.mark.parametrize(("output", "explained"), [("valence", 0.4), ("arousal", 0.9)])
def test_moods_can_be_heard(output, explained):
    songs, task = moods(200, 0), make_task("emotion", {})
    train, test = (rows(task, part, output, slice(-1, None)) for part in (songs[:150], songs[150:]))
    left = np.square(test[1] - ridge(train, test, 100.0)).mean()
    assert 1 - left / test[1].var() > explained


@pytest.mark.parametrize("make", [grooves, phrases, moods])
def test_a_seed_makes_the_same_songs_whatever_their_number(make):
    few, many, others = make(3, 0), make(6, 0), make(3, 1)
    for one, same, other in zip(few, many, others, strict=False):
        assert one.name == same.name
        assert (one.onset == same.onset).all()
        assert (one.velocity == same.velocity).all()
        assert len(one.onset) != len(other.onset) or (one.velocity != other.velocity).any()
    with pytest.raises(DataError, match="songs=2"):
        make(2, 0)
