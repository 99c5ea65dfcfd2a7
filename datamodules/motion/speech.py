"""Sounds and motions that belong together: speech-like audio with gestures on its stresses, drums with steps.

Speech is a chain of syllables, each a voiced vowel (harmonics of a gliding pitch under three formants) after a burst of
noise; every second to fourth is stressed: louder, longer, higher. A stroke of the hands comes to rest on each stress.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .clip import Audio, Clip
from .humanoid import Array, Pose
from .moves import through
from .procedural import stand, step_in_time
from .scene import FPS, LONGEST, Dice, Scene, clips_of, times

RATE = 16_000  # Hz
JITTER = 0.02  # s, standard deviation of a stroke about its stress
# formants (Hz) of the vowels of heed, hayed, head, had, hod, hoed, who'd (Peterson & Barney 1952, rounded)
_VOWELS = ((270, 2290, 3010), (400, 2100, 2700), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440))
_BACK_VOWELS = ((450, 900, 2400), (300, 870, 2240))
_WIDTHS = np.array([80.0, 110.0, 160.0])  # Hz


class Speech(NamedTuple):
    """A sound and where its stresses are."""

    samples: Tensor
    """(N,) float32 at 16 kHz."""
    accents: Array
    """Moments (K,) s at which stressed syllables begin."""


def synthesise(seconds: float, dice: Dice) -> Speech:
    """Speech-like sound of a voice that the dice draw.

    Args:
        seconds: length.
        dice: draws pitch, tempo, vowels, stresses and pauses.
    """
    sound = np.zeros(round(seconds * RATE))
    pitch, tempo, tract = dice.between(95, 220), dice.between(0.9, 1.15), dice.between(0.95, 1.15)
    now, accents, until_stress, phrase = dice.between(0.1, 0.3), [], 0, 0
    while now + 0.3 < seconds:
        stressed = until_stress == 0
        length = (dice.between(0.2, 0.28) if stressed else dice.between(0.11, 0.16)) / tempo
        high = pitch * (1.25 if stressed else 1.0) * (1 - 0.02 * phrase)
        syllable = _syllable(length, high, tract * np.array(dice.one_of(_VOWELS + _BACK_VOWELS)), dice)
        first = round(now * RATE)
        part = sound[first : first + len(syllable)]
        part += (1.0 if stressed else 0.3) * syllable[: len(part)]
        if stressed:
            accents.append(now)
            until_stress = int(dice.random.integers(2, 4))
        until_stress, phrase = until_stress - 1, phrase + 1
        now += length + dice.between(0.02, 0.05)
        if phrase >= 8 and dice.between(0, 1) < 0.35:
            now, phrase, until_stress = now + dice.between(0.25, 0.5), 0, 0
    sound += 1e-4 * dice.random.standard_normal(len(sound))
    return Speech(torch.from_numpy(0.7 * sound / max(1e-9, np.abs(sound).max())).float(), np.array(accents))


def _syllable(length: float, pitch: float, formants: Array, dice: Dice) -> Array:
    """A burst of noise and a vowel (N,), about 1 at its loudest."""
    t = np.arange(round(length * RATE)) / RATE
    glide = pitch * (1.04 - 0.12 * t / length)
    turn = 2 * np.pi * np.cumsum(glide) / RATE
    orders = np.arange(1, int(4000 / pitch) + 1)
    distance = (orders[:, None] * pitch - formants) / _WIDTHS
    strength = (np.array([1.0, 0.5, 0.25]) / (1 + distance**2)).sum(1) + 0.01
    voice = strength @ np.sin(orders[:, None] * turn)
    rise, fall = np.clip(t / 0.02, 0, 1), np.clip((length - t) / 0.05, 0, 1)
    burst = 0.25 * dice.random.standard_normal(len(t)) * np.exp(-t / 0.012)
    result: Array = voice / np.abs(voice).max() * rise * fall**2 + burst
    return result


def gestures(t: Array, accents: Array, dice: Dice, size: float) -> Pose:
    """Somebody who stands and talks with both hands: a stroke ends on each accent, give or take ``JITTER``.

    Args:
        t: (T,) s.
        accents: (K,) s.
        dice: draws the targets of the strokes.
        size: of the gestures, about 1.
    """
    pose = stand(t, dice)
    ready = np.array([0.35, 0.2, -0.2, 1.5])
    moments = accents + np.clip(JITTER * dice.random.standard_normal(len(accents)), -2 * JITTER, 2 * JITTER)
    count = len(moments)
    # out and in by turns, so that there is a way to go between any two strokes
    turn = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)[:, None]
    for side in (0, 1):
        reach = dice.random.uniform(0.6, 1.2, (count, 4)) * np.array([0.35, 0.12, -0.3, -0.45])
        keys = ready + size * turn * reach
        pose.arms[:, side] = through(t, np.r_[-0.5, moments], np.concatenate((ready[None], keys)))
    pose.head[:, 0] += 0.06 * size * through(t, np.r_[-0.5, moments], np.r_[0.0, turn[:, 0]])
    return pose


def drum(seconds: float, bpm: float, first: float, dice: Dice) -> Tensor:
    """A drum on each beat (N,) float32 at 16 kHz: a falling tone with a click, every fourth louder.

    Args:
        seconds: length.
        bpm: beats a minute.
        first: moment of the first beat, s.
        dice: draws the drum.
    """
    t = np.arange(round(seconds * RATE)) / RATE
    beat = (t - first) * bpm / 60
    since = np.where(beat >= 0, beat % 1.0, 0.0) * 60 / bpm
    heavy = np.where(np.floor(beat) % 4 == 0, 1.0, 0.7) * (beat >= 0)
    tone = np.sin(2 * np.pi * (dice.between(80, 140) * since - 4.0 * np.expm1(-since / 0.03))) * np.exp(-since / 0.09)
    click = dice.random.standard_normal(len(t)) * np.exp(-since / 0.006)
    sound = heavy * (tone + 0.5 * click)
    sound = 0.7 * sound / max(1e-9, np.abs(sound).max()) + 1e-4 * dice.random.standard_normal(len(t))
    return torch.from_numpy(sound).float()


def generate_speech(num: int, seed: int) -> list[Clip]:
    """Clips with sound, by turns somebody who talks with the hands and somebody who steps to a drum.

    Args:
        num: how many.
        seed: each clip is a function of it and of its index.

    Returns:
        Clips of 4 to 6 s at 20 fps with audio at 16 kHz as long as the motion.
    """
    names: list[str] = []
    scenes: list[Scene] = []
    sounds: list[Audio] = []
    dice = [Dice(seed, index) for index in range(num)]
    for index, die in enumerate(dice):
        t = times(die.between(4.0, LONGEST))
        scene, sound = (_talk if index % 2 == 0 else _beat)(t, die)
        names.append(("talk", "beat")[index % 2])
        scenes.append(scene)
        sounds.append(Audio(sound, RATE))
    return clips_of(names, scenes, dice, sounds)


def _talk(t: Array, dice: Dice) -> tuple[Scene, Tensor]:
    size, word = dice.one_of(((0.6, "calmly"), (1.4, "vividly")))
    speech = synthesise(len(t) / FPS, dice)
    pose = gestures(t, speech.accents, dice, size)
    return Scene(pose, (f"talks and gestures {word}", f"gestures {word} while speaking")), speech.samples


def _beat(t: Array, dice: Dice) -> tuple[Scene, Tensor]:
    tempo, word = dice.one_of(((80.0, "slow"), (100.0, "steady"), (125.0, "fast")))
    bpm = tempo * dice.between(0.95, 1.05)
    first = dice.between(0.0, 60 / bpm)
    pose = step_in_time(t, bpm, dice, first)
    scene = Scene(pose, (f"steps in time with a {word} beat", f"marches to a {word} drum"))
    return scene, drum(len(t) / FPS, bpm, first, dice)
