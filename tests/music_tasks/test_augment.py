"""Frames that are moved are the frames of the moved song."""

import numpy as np
import pytest
import torch

from datamodules.music.augment import Movement, draw_semitones, room, scale_tempo, transpose
from datamodules.music.song import Song
from datamodules.music.tasks import make_task

from .songs import song

WHOLE = song(6)
OPTIONS = [
    ("polyphony", {"onsets": True, "phase": 4}),
    ("melody", {"size": "full"}),
    ("melody", {}),
    ("harmony", {"previous_chord": True, "vocabulary": "extended", "lookahead": 4, "size": "full"}),
    ("harmony", {}),
    ("harmony", {"key": "given"}),
    ("dynamics", {"size": "full", "previous_velocities": True}),
    ("dynamics", {"drums": True}),
    ("groove", {"beats_only": False}),
    ("emotion", {}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
@pytest.mark.parametrize(("semitones", "factor"), [(-7, 1.0), (3, 1.0), (0, 1.25), (5, 0.8)])
def test_transposition_and_tempo_commute_with_the_task(name, options, semitones, factor):
    task = make_task(name, options)
    frames, moved = task.frames(WHOLE), task.frames(scale_tempo(transpose(WHOLE, semitones), factor))
    for layout, part, expected in (
        (task.inputs, frames.inputs, moved.inputs),
        (task.targets, frames.targets, moved.targets),
    ):
        found = Movement(layout, 7)(torch.tensor(part)[None], torch.tensor([semitones]), torch.tensor([factor]))[0]
        differs = np.abs(found.numpy() - expected).max(axis=0) > 1e-5
        names = {layout.names[k] for k in np.flatnonzero(differs)}
        assert names <= {"density"}  # of moods: a measure of seconds, in log2
    if semitones and name not in ("groove",) and not options.get("drums"):
        assert (frames.inputs != moved.inputs).any()


def test_a_song_is_moved_with_its_chords_and_key_and_back_again():
    moved = transpose(WHOLE, 3)
    assert moved.key == "C:min"
    drums = WHOLE.voice == 2
    assert sorted(moved.pitch[moved.voice == 2]) == sorted(WHOLE.pitch[drums])
    assert sorted(moved.pitch[moved.voice < 2]) == sorted(WHOLE.pitch[~drums] + 3)
    back = transpose(moved, -3)
    assert (back.pitch == WHOLE.pitch).all()
    assert back.chords == WHOLE.chords


def test_no_key_leaves_the_piano():
    assert room(WHOLE) == (21 - WHOLE.pitch[WHOLE.voice < 2].min(), 108 - WHOLE.pitch[WHOLE.voice < 2].max())
    roll = np.zeros((4, 88), bool)
    roll[0, 2] = roll[3, 86] = True
    whole = Song("roll", roll=roll, roll_rate=1.0)
    assert room(whole) == (-2, 1)
    assert (transpose(whole, 1).roll[:, 1:] == roll[:, :-1]).all()
    chance = torch.linspace(0, 0.9999, 500)
    rooms = torch.tensor([[-2, 1]]).expand(500, 2)
    assert draw_semitones(chance, rooms, 6).unique().tolist() == [-2, -1, 0, 1]
    assert draw_semitones(chance, rooms * 9, 1).unique(return_counts=True)[1].float().std() < 1.01
