import itertools
import json

import numpy as np
import pytest

from datamodules.core import DataError
from datamodules.music.song import NOTE_FIELDS, Chord, Meter, Song, pack, sorted_notes, unpack

RNG = np.random.default_rng(0)


def song(notes=20, **changes):
    drawn = sorted_notes(
        RNG.integers(0, 40, notes) / 4,
        RNG.random(notes),
        RNG.integers(0, 128, notes),
        RNG.integers(0, 128, notes),
        RNG.integers(0, 2, notes),
    )
    return Song(**{"name": "a", "source": "a.mid", "voices": ("one", "drums"), **drawn, **changes})


def same(a, b):
    for name in a.__dataclass_fields__:
        left, right = getattr(a, name), getattr(b, name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, name
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, name
    return True


def test_the_clock_is_the_integral_of_the_pace_and_has_an_inverse():
    tempos = np.array([[0.0, 60.0], [4.0, 120.0], [6.0, 30.0]])
    played = song(tempos=tempos)
    assert played.seconds([0, 4, 6, 7]).tolist() == [0, 4, 5, 7]
    beats = np.linspace(-3, 12, 101)
    grid = np.linspace(-3, 12, 150001)
    pace = 60 / tempos[np.maximum(np.searchsorted(tempos[:, 0], grid[:-1], side="right") - 1, 0), 1]
    integral = np.concatenate([[0], np.cumsum(pace * np.diff(grid))])
    integral -= np.interp(0, grid, integral)
    np.testing.assert_allclose(played.seconds(beats), np.interp(beats, grid, integral), atol=1e-3)
    np.testing.assert_allclose(played.beats(played.seconds(beats)), beats, atol=1e-12)


def test_bars_follow_the_meters_and_a_pickup_is_none():
    def starts(meters, count=5):
        found = song(meters=tuple(Meter(*meter) for meter in meters))
        return list(itertools.islice(found.bars(), count)), [found.after(k) for k in range(3)]

    assert starts([(0, 3, 4)]) == ([0, 3, 6, 9, 12], [0, 3, 6])
    assert starts([(0, 1, 4), (1, 2, 2)]) == ([0, 1, 5, 9, 13], [1, 5, 9])
    assert starts([(0, 4, 4), (8, 6, 8)]) == ([0, 4, 8, 11, 14], [0, 4, 8])
    assert starts([(0, 4, 4), (6, 4, 4)]) == ([0, 4, 6, 10, 14], [0, 4, 6])  # a bar that is cut off


def test_sorting_keeps_each_note_together():
    columns = [RNG.permutation(50) for _ in NOTE_FIELDS]
    notes = sorted_notes(*columns)
    assert set(zip(*(values.tolist() for values in notes.values()), strict=True)) == set(zip(*columns, strict=True))
    assert (np.diff(notes["onset"]) > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onset": np.arange(19.0)}, r"a\.mid: .*'onset': 19.*same number"),
        ({"onset": np.arange(20.0)[::-1]}, "not in order"),
        ({"onset": np.r_[-1.0, np.arange(1, 20.0)]}, "first onset -1"),
        ({"onset": np.r_[np.arange(19.0), np.nan]}, "NaN"),
        ({"pitch": np.full(20, 128)}, r"pitch in \[128, 128\]"),
        ({"velocity": np.full(20, -1)}, "velocity"),
        ({"voice": np.full(20, 2)}, "voice"),
        ({"duration": np.full(20, -0.5)}, "duration"),
        ({"tempos": np.array([[0.0, 0.0]])}, "tempo 0"),
        ({"tempos": np.array([[1.0, 120.0]])}, "from beat 0"),
        ({"meters": ()}, "meters"),
        ({"meters": (Meter(0, 0, 4),)}, "meter 0/4"),
        ({"chords": (Chord(2, "C:maj"), Chord(1, "N"))}, "chords are not in order"),
        ({"emotion": np.array([[0.0, 1.5, 0.0]])}, r"outside \[-1, 1\]"),
        ({"emotion": np.array([[0.0, np.nan, 0.0]])}, r"outside \[-1, 1\]"),
        ({"split": "valid"}, "split='valid'"),
        ({"length": np.inf}, "length"),
        ({"audio": np.zeros((3, 5), np.float32), "audio_rate": 2.0}, "audio"),
        ({"roll": np.zeros((3, 88), bool)}, "roll_rate=None"),
    ],
)
def test_what_does_not_hold_is_named(changes, message):
    with pytest.raises(DataError, match=message):
        song(**changes)


def test_a_song_of_nothing_is_refused():
    with pytest.raises(DataError, match="no notes, no roll and no audio"):
        Song(name="a")


def test_packed_songs_are_the_same_songs():
    songs = [
        song(),
        song(
            7,
            name="é",
            group="g",
            split="val",
            tempos=np.array([[0.0, 60.0], [1 / 3, 59.9]]),
            meters=(Meter(0.0, 1, 4), Meter(1.0, 6, 8)),
            chords=(Chord(0.0, "C:maj"), Chord(1 / 3, "N")),
            key="A:min",
            emotion=np.array([[0.0, -1.0, 0.25], [1.0, 1.0, 0.0]]),
            labels={"style": "rock"},
        ),
        Song(name="r", roll=RNG.random((9, 88)) < 0.1, roll_rate=2.0, voices=()),
        Song(name="w", audio=RNG.random((4, 128)).astype(np.float32), audio_rate=2.0, tempos=np.array([[0.0, 60.0]])),
    ]
    arrays = pack(songs)
    assert all(same(a, b) for a, b in zip(songs, unpack(arrays), strict=True))
    assert [one.length for one in songs[2:]] == [4.5, 2.0]
    assert len(json.loads(arrays["plain"].tobytes())) == 4
