import math

import numpy as np
import pytest
import torch

from datamodules.core import DataError
from datamodules.motion.scene import Dice, times
from datamodules.motion.skeleton import layout
from datamodules.motion.speech import RATE, drum, generate_speech, gestures, synthesise
from datamodules.sound import ONSET_BANDS, ONSET_WINDOW, TOP, WINDOW, audio_features, mel, onset_strength, onsets

torch.set_num_threads(1)
NAMES = layout("humanml3d").names


@pytest.fixture(scope="module")
def clips():
    return generate_speech(24, seed=0)


def rests(speed, fps):
    """Moments (s) of local minima of a speed (S,) between frames, to a share of a frame by a parabola."""
    inner = np.arange(1, len(speed) - 1)
    least = inner[(speed[inner] <= speed[inner - 1]) & (speed[inner] < speed[inner + 1])]
    a, b, c = speed[least - 1], speed[least], speed[least + 1]
    return (least + 0.5 + (a - c) / (2 * (a - 2 * b + c))) / fps


def nearest(moments, others):
    return np.abs(np.asarray(moments)[:, None] - np.asarray(others)).min(axis=1)


# ---------------------------------------------------------------------- motion and sound belong together
def test_strokes_end_on_the_accents():
    jitters, alone = [], []
    for index in range(20):
        dice = Dice(3, index)
        t = times(6.0)
        accents = synthesise(6.0, dice).accents
        arms = gestures(t, accents, dice, 1.0).arms.reshape(len(t), -1)
        still = rests(np.linalg.norm(np.diff(arms, axis=0), axis=1) * 20, 20.0)
        inside = accents[(accents > 0.3) & (accents < 5.6)]
        jitters.append(nearest(inside[:-1], still))
        alone.append(nearest(np.random.default_rng(index).uniform(0.3, 5.6, 20), still))
    assert np.mean(np.concatenate(jitters) < 0.06) > 0.95
    assert np.mean(np.concatenate(alone) < 0.06) < 0.6  # moments at random miss them


def test_feet_land_on_the_beats_of_the_drum(clips):
    for clip in clips[1::2]:
        beats = onsets(clip.audio.samples, clip.audio.rate).numpy()
        stands = (clip.contacts[:, [1, 3]] > 0).numpy()
        landed = [step / clip.fps for step in range(1, len(stands)) if (stands[step] & ~stands[step - 1]).any()]
        assert len(landed) >= 4
        assert nearest(landed, beats).max() < 0.07, clip.name  # a frame is 0.05 s


def test_onsets_of_a_drum_are_its_beats():
    for bpm in (60.0, 97.0, 140.0):
        found = onsets(drum(6.0, bpm, 0.33, Dice(0, 0)), RATE).numpy()
        beats = np.arange(0.33, 6.0, 60 / bpm)
        assert len(found) == len(beats)
        assert np.abs(found - beats).max() < 0.025


def test_onsets_of_speech_hold_its_accents():
    for index in range(5):
        speech = synthesise(6.0, Dice(1, index))
        found = onsets(speech.samples, RATE)
        assert nearest(speech.accents, found.numpy()).max() < 0.04
        assert len(found) > 1.5 * len(speech.accents)  # syllables without a stress begin too


def test_stressed_syllables_are_the_loud_ones():
    speech = synthesise(6.0, Dice(0, 0))
    power = speech.samples.unfold(0, 1600, 160).square().mean(1)
    at = [power[int(moment * 100) + 2] for moment in speech.accents if moment < 5.8]
    assert min(at) > 2 * power.median()


def test_clips_have_sound_as_long_as_they_are(clips):
    for clip in clips:
        assert len(clip.audio.samples) == round(clip.seconds * clip.audio.rate)
        assert clip.audio.samples.abs().max() <= 1.0
        assert 4.0 <= clip.seconds <= 6.0
    again = generate_speech(4, seed=0)
    assert all(torch.equal(one.audio.samples, two.audio.samples) for one, two in zip(again, clips, strict=False))
    assert not torch.equal(generate_speech(1, seed=1)[0].audio.samples[:60000], clips[0].audio.samples[:60000])


# ---------------------------------------------------------------------- features
def test_a_sine_stands_in_the_band_of_its_pitch():
    t = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    peaks = [int(mel((2 * math.pi * hertz * t).sin(), RATE, torch.tensor([1.0]), 32).argmax()) for hertz in
             (150, 400, 900, 2000, 5000)]  # fmt: skip
    assert peaks == sorted(set(peaks))
    one, two = (mel(gain * (2 * math.pi * 900 * t).sin(), RATE, torch.tensor([1.0]), 32) for gain in (0.1, 0.2))
    torch.testing.assert_close(two, 4 * one)


def test_features_do_not_depend_on_the_sampling_rate():
    def sound(rate):
        t = torch.arange(3 * rate, dtype=torch.float64) / rate
        return (0.3 * (2 * math.pi * 440 * t).sin() + 0.2 * (2 * math.pi * 3000 * t).sin()) * (1 + (12 * t).sin()) / 2

    one, two = (audio_features(sound(rate), rate, 20.0, 50) for rate in (16000, 44100))
    torch.testing.assert_close(one[2:], two[2:], atol=0.06, rtol=0)


@pytest.mark.parametrize("fps", [20.0, 24.0, 30.0])
def test_a_click_is_heard_in_its_frame(fps):
    for moment in (0.5, 0.81, 1.3):
        samples = torch.zeros(2 * RATE)
        samples[round(moment * RATE)] = 1.0
        features = audio_features(samples, RATE, fps, round(1.9 * fps))
        assert features.shape == (round(1.9 * fps), 33)
        assert features.dtype == torch.float32
        loudest = int(features[:, :32].sum(1).argmax())
        assert abs(loudest / fps - moment) <= 0.5 / fps + 1e-6
        onset = features[:, 32].nonzero().flatten() / fps
        assert (onset - moment).abs().min() <= 1 / fps


def test_features_of_the_same_sound_later_are_the_same_later():
    samples = synthesise(3.0, Dice(0, 0)).samples
    late = torch.cat((torch.zeros(RATE // 2), samples))
    one, two = audio_features(samples, RATE, 20.0, 60), audio_features(late, RATE, 20.0, 70)
    torch.testing.assert_close(one[2:], two[12:])


def test_what_cannot_be_heard_is_said():
    with pytest.raises(DataError, match=r"1\.00 s is shorter than 60 frames"):
        audio_features(torch.zeros(RATE), RATE, 20.0, 60)
    with pytest.raises(DataError, match=r"8000 Hz.*Resample"):
        audio_features(torch.zeros(RATE), 8000.0, 20.0, 10)
    with pytest.raises(DataError, match="one channel"):
        audio_features(torch.zeros(2, RATE), RATE, 20.0, 10)
    with pytest.raises(DataError, match=r"0\.062 s.*Leave"):
        onsets(torch.zeros(1000), RATE)
    assert len(onsets(torch.zeros(RATE), RATE)) == 0


def test_mel_and_onsets_equal_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    samples = synthesise(3.0, Dice(0, 0)).samples.double()
    size, hop = round(WINDOW * RATE), RATE // 20
    window = torch.hann_window(size, dtype=torch.float64)
    theirs = librosa.feature.melspectrogram(
        y=samples.numpy(), sr=RATE, n_fft=size, hop_length=hop, n_mels=32, fmax=TOP, pad_mode="reflect"
    )
    ours = mel(samples, RATE, torch.arange(60, dtype=torch.float64) / 20, 32) * window.sum() ** 2
    np.testing.assert_allclose(ours.T, theirs[:, :60], rtol=1e-4, atol=1e-9)
    level = (
        mel(samples, RATE, torch.arange(300, dtype=torch.float64) / 100, ONSET_BANDS, ONSET_WINDOW)
        .clamp_min(1e-9)
        .log10()
    )
    flux = librosa.onset.onset_strength(S=level.T.numpy(), sr=RATE, hop_length=RATE // 100, center=False)
    np.testing.assert_allclose(onset_strength(samples, RATE), flux, rtol=1e-5, atol=1e-7)
