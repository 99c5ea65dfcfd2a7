"""A row knows nothing that comes after its frame and its latency, and no target but earlier ones."""

from dataclasses import replace

import numpy as np
import pytest

from datamodules.music.song import sorted_notes
from datamodules.music.tasks import make_task

from .songs import heard_until, song

OPTIONS = [
    ("polyphony", {}, 0.125),
    ("melody", {"lookahead": 0}, 0.125),
    ("melody", {"size": "full", "lookahead": 3}, 0.125),
    ("harmony", {"lookahead": 0, "previous_chord": True}, 0),
    ("harmony", {"lookahead": 3, "size": "full"}, 0),
    ("harmony", {"lookahead": 3, "size": "newest"}, 0),
    ("harmony", {"lookahead": 2, "rate": 2, "notes": "all"}, 0),
    ("groove", {"lookahead": 0, "beats_only": False}, 0.125),
    ("groove", {"lookahead": 5, "beats_only": False, "size": "full"}, 0.125),
    ("groove", {"lookahead": 5, "beats_only": False, "size": "newest"}, 0.125),
    ("emotion", {}, 0),
    ("emotion", {"rate": 2}, 0),
]


@pytest.mark.parametrize(("name", "options", "rounding"), OPTIONS)
@pytest.mark.parametrize("beat", [6, 11])
def test_no_row_knows_the_score_beyond_its_latency(name, options, rounding, beat):
    """Frames of rounded onsets reach ``rounding`` beats beyond their own."""
    task = make_task(name, options)
    whole = song(4)
    other = replace(heard_until(whole, beat), chords=whole.chords)
    before, after = task.frames(whole).inputs, task.frames(other).inputs
    unaware = int(np.floor((beat - rounding) * task.rate) - task.latency)  # rows that end before the change
    assert unaware > 0
    np.testing.assert_allclose(before[:unaware], after[:unaware], rtol=1e-5, atol=1e-6)
    assert np.abs(before[unaware:] - after[unaware : len(before)]).max() > 0.01


@pytest.mark.parametrize(
    "options", [{}, {"lookahead": 2, "size": "full", "previous_velocities": True}, {"drums": True}]
)
def test_no_note_knows_the_notes_beyond_the_lookahead(options):
    task = make_task("dynamics", options)
    whole, beat = song(4, notes=140), 9.0
    other = heard_until(whole, beat)
    other = replace(other, velocity=np.where(other.onset < beat, np.resize(whole.velocity, len(other.onset)), 60))
    kept = (whole.onset < beat - task.latency - 0.125) & ((whole.voice == 2) == task.drums) & (whole.pitch != 99)
    rows = int(kept.sum())
    np.testing.assert_allclose(task.frames(whole).inputs[:rows], task.frames(other).inputs[:rows], rtol=1e-5, atol=1e-6)
    later = task.frames(other).inputs[rows : len(task.frames(whole).inputs)]
    assert np.abs(task.frames(whole).inputs[rows:][: len(later)] - later).max() > 0.01


def test_velocities_tell_later_notes_only_and_only_if_asked():
    whole = song(4, notes=140)
    place = 30
    note = np.arange(140) == np.flatnonzero(whole.voice < 2)[place]
    louder = replace(whole, velocity=np.where(note, 127 - whole.velocity, whole.velocity))
    told, untold = make_task("dynamics", {"previous_velocities": True}), make_task("dynamics", {})
    first, second = told.frames(whole).inputs, told.frames(louder).inputs
    assert (first[: place + 1] == second[: place + 1]).all()
    assert (first[place + 1 :] != second[place + 1 :]).any()
    assert (untold.frames(whole).inputs == untold.frames(louder).inputs).all()


def test_timing_within_its_step_and_velocity_never_tell_of_grooves():
    whole = song(4)
    task = make_task("groove", {"beats_only": False, "lookahead": 4, "size": "full"})
    grid, loud = np.floor(whole.onset * 4 + 0.5) / 4, np.where(whole.velocity > 0, 70, 0)
    flat = replace(whole, **sorted_notes(grid, whole.duration, whole.pitch, loud, whole.voice))
    assert (task.frames(whole).inputs == task.frames(flat).inputs).all()
    assert (task.frames(whole).targets != task.frames(flat).targets).any()


def test_chords_tell_later_beats_only_and_only_if_asked():
    whole = song(4)
    chords = [*whole.chords]
    chords[4] = chords[4]._replace(label="B:min")
    moved = replace(whole, chords=tuple(chords))
    told, untold = make_task("harmony", {"previous_chord": True}), make_task("harmony", {})
    change = np.flatnonzero((told.frames(whole).targets != told.frames(moved).targets).any(axis=1))[0]
    first, second = told.frames(whole).inputs, told.frames(moved).inputs
    assert (first[: change + 1] == second[: change + 1]).all()
    assert (first[change + 1] != second[change + 1]).any()
    assert (untold.frames(whole).inputs == untold.frames(moved).inputs).all()


def test_wanted_emotion_steers_melodies_and_never_tells_of_moods():
    whole = song(4)
    other = replace(whole, emotion=-whole.emotion * [-1, 1, 1])
    assert (make_task("melody", {}).frames(whole).inputs != make_task("melody", {}).frames(other).inputs).any()
    assert (make_task("emotion", {}).frames(whole).inputs == make_task("emotion", {}).frames(other).inputs).all()
