"""Each task beside a slow and literal account of what its columns say."""

import math

import numpy as np
import pytest

from datamodules.core import DataError
from datamodules.music.chords import parse_chord
from datamodules.music.song import Chord, Song
from datamodules.music.tasks import TASKS, make_task
from datamodules.music.tasks.groove import DRUM_CLASSES
from datamodules.music.tasks.melody import HOLD, REST

from .songs import song

WHOLE = song(3)
SONGS = [song(seed, metre=metre) for seed, metre in ((1, 4), (2, 3))]


def nearest(beat, rate):
    return math.floor(beat * rate + 0.5)


def column(task, frames, name, which="inputs"):
    names = task.inputs.names if which == "inputs" else task.targets.names
    return getattr(frames, which)[:, names.index(name)]


def block(task, frames, name, which="inputs"):
    names = task.inputs.names if which == "inputs" else task.targets.names
    return getattr(frames, which)[:, [k for k, full in enumerate(names) if full.split(":")[0] == name]]


def of_voice(whole, voice):
    rows = zip(whole.onset, whole.duration, whole.pitch, whole.velocity, whole.voice, strict=True)
    return [row[:4] for row in rows if whole.voices[row[4]] == voice]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("size", ["small", "full"])
def test_frames_have_the_promised_shape_and_one_name_a_column(name, size):
    options = {"size": size} if name in ("melody", "harmony", "dynamics", "groove") else {}
    task = make_task(name, options | ({"beats_only": False} if name == "groove" else {}))
    frames = task.frames(WHOLE)
    assert frames.inputs.shape == (len(frames.inputs), len(task.inputs))
    assert frames.targets.shape == frames.mask.shape == (len(frames.inputs), len(task.targets))
    assert (frames.inputs.dtype, frames.targets.dtype, frames.mask.dtype) == (np.float32, np.float32, bool)
    assert np.isfinite(frames.inputs).all()
    assert np.isfinite(frames.targets).all()
    assert len(set(task.inputs.names)) == len(task.inputs)
    assert len(set(task.targets.names)) == len(task.targets)
    assert not frames.mask[:, [name.startswith("reserved") for name in task.targets.names]].any()
    if size == "small":
        sizes = {"melody": (64, 128), "polyphony": (88, 88), "harmony": (128, 64), "dynamics": (32, 16)}
        assert (len(task.inputs), len(task.targets)) == (sizes | {"groove": (64, 32), "emotion": (128, 64)})[name]


@pytest.mark.parametrize(("name", "newest"), [("harmony", "half_in_3|half_in_3.5"), ("groove", "hit_in_3")])
def test_the_newest_columns_are_the_last_of_the_full_ones(name, newest):
    options = {"lookahead": 3} | ({"beats_only": False} if name == "groove" else {})
    full, small, task = (make_task(name, options | {"size": size}) for size in ("full", "small", "newest"))
    shared = [feature for feature in small.inputs.names if not feature.startswith("reserved")]
    added = [feature for feature in full.inputs.names if feature.split(":")[0] in newest.split("|")]
    assert task.inputs.names == shared + added
    known = [full.inputs.names.index(feature) for feature in task.inputs.names]
    np.testing.assert_array_equal(task.frames(WHOLE).inputs, full.frames(WHOLE).inputs[:, known])


@pytest.mark.parametrize("whole", SONGS)
@pytest.mark.parametrize(("keys", "low"), [(88, 21), (128, 0)])
def test_polyphony_is_the_keys_now_and_next(whole, keys, low):
    task = make_task("polyphony", {"keys": keys, "rate": 4, "phase": 3, "onsets": True})
    roll, struck = np.zeros((2, 64, keys), bool)
    for voice in ("piano", "melody"):
        for onset, duration, pitch, _ in of_voice(whole, voice):
            start, stop = nearest(onset, 4), nearest(onset + duration, 4)
            roll[start : max(stop, start + 1), pitch - low] = True
            struck[start, pitch - low] = True
    frames = task.frames(whole)
    assert (frames.inputs[:, :keys] == roll[:-1]).all()
    assert (frames.targets == roll[1:]).all()
    assert (frames.inputs[:, keys : 2 * keys] == struck[:-1]).all()
    assert (frames.inputs[:, 2 * keys :].argmax(axis=1) == np.arange(63) % 3).all()
    assert frames.mask.all()


def test_polyphony_of_a_roll_is_the_roll():
    roll = np.random.default_rng(0).random((20, 88)) < 0.1
    whole = Song("roll", roll=roll, roll_rate=1.0)
    frames = make_task("polyphony", {}).frames(whole)
    assert (frames.inputs == roll[:-1]).all()
    assert (frames.targets == roll[1:]).all()
    wide = make_task("polyphony", {"keys": 128}).frames(whole)
    assert (wide.targets[:, 21:109] == roll[1:]).all()
    assert wide.targets.sum() == roll[1:].sum()
    assert make_task("polyphony", {}).missing(Song("short", roll=roll[:1], roll_rate=1.0)) == "two frames"


@pytest.mark.parametrize("whole", SONGS)
def test_melody_is_the_line_of_its_voice(whole):
    task = make_task("melody", {"rate": 4, "size": "full", "lookahead": 2})
    line = of_voice(whole, "melody")
    key, started = np.full(64, -1), np.full(64, -1)
    for k, (onset, duration, pitch, _) in enumerate(line):
        end = min(onset + duration, line[k + 1][0]) if k + 1 < len(line) else onset + duration
        start = nearest(onset, 4)
        key[start:] = -1
        key[start : max(nearest(end, 4), start + 1)] = pitch
        started[start:] = start
    frames = task.frames(whole)
    at_step = {nearest(onset, 4): pitch for onset, _, pitch, _ in line}  # of a frame's notes the last one
    sounding = key[:-1] >= 0
    begins = started == np.arange(64)
    events = np.where(key < 0, REST, np.where(begins, key, HOLD))
    assert (frames.targets.argmax(axis=1) == events[1:]).all()
    assert (frames.targets.sum(axis=1) == 1).all()
    assert (block(task, frames, "sounds").argmax(axis=1)[sounding] == key[:-1][sounding]).all()
    assert (block(task, frames, "chroma").argmax(axis=1)[sounding] == key[:-1][sounding] % 12).all()
    assert (column(task, frames, "onset") == (started[:-1] == np.arange(63))).all()
    age = np.where(started >= 0, np.arange(64) - started, 0)[:-1]
    np.testing.assert_allclose(column(task, frames, "age"), np.log2(1 + age) / 4, rtol=1e-6)
    for t in range(63):
        names = [chord.label for chord in whole.chords if chord.onset <= (t + 2) / 4] if t + 2 < 64 else []
        tones = parse_chord(names[-1]).pitch_classes if names else frozenset()
        assert set(np.flatnonzero(block(task, frames, "chord")[t])) == set(tones)
        valence = 0 if t / 4 < 2 else 0.5 if t / 4 < 9 else -0.25
        assert column(task, frames, "emotion:valence")[t] == valence
        steps = np.diff([pitch for step, pitch in at_step.items() if step <= t])[::-1][:4].clip(-24, 24)
        np.testing.assert_allclose(
            block(task, frames, "interval")[t], [*steps / 12, *[0] * (4 - len(steps))], rtol=1e-5
        )


def test_melody_without_a_name_is_the_skyline():
    whole = song(5, drums=False)
    named = Song(**{**vars(whole), "voices": ("one", "two", "three")})
    task = make_task("melody", {"size": "full"})
    onset, pitch = named.onset, named.pitch
    high = [k for k in range(len(onset)) if k + 1 == len(onset) or onset[k + 1] - onset[k] > 1e-3]
    expected = {int(pitch[k]) for k in high}
    assert set(np.flatnonzero(task.frames(named).targets.any(axis=0))) - {REST, HOLD} <= expected


@pytest.mark.parametrize("whole", SONGS)
@pytest.mark.parametrize("vocabulary", ["triads", "extended"])
@pytest.mark.parametrize("lookahead", [0, 1, 5])
def test_harmony_weighs_pitch_classes_by_how_long_they_sound(whole, vocabulary, lookahead):
    task = make_task("harmony", {"vocabulary": vocabulary, "lookahead": lookahead, "previous_chord": True})
    now = np.zeros((16, 12))
    for onset, duration, pitch, _ in of_voice(whole, "melody"):
        for beat in range(16):
            now[beat, pitch % 12] += max(0, min(onset + duration, beat + 1) - max(onset, beat))
    classes, triads = [], []
    for beat in range(16):
        names = [chord.label for chord in whole.chords if chord.onset <= beat + 0.5]
        classes.append(parse_chord(names[-1]).class_index(vocabulary) if names else -1)
        triads.append(parse_chord(names[-1]).class_index() if names else -1)
    frames = task.frames(whole)

    def mean(t, first, last):
        return sum(now[k] for k in range(max(t + first, 0), min(t + min(last, lookahead), 15) + 1)) / (last - first + 1)

    spans = {
        "melody_in_1": (1, 1),
        "melody_in_2_to_3": (2, 3),
        "melody_in_4_to_7": (4, 7),
        "melody_2_to_4_ago": (-4, -2),
    }
    for t in range(16):
        np.testing.assert_allclose(block(task, frames, "melody_now")[t], now[t], atol=1e-6)
        for name, span in spans.items():
            np.testing.assert_allclose(block(task, frames, name)[t], mean(t, *span), atol=1e-6)
        weight = sum(0.5 ** ((t - k) / 16) * now[k] for k in range(t + 1))
        np.testing.assert_allclose(block(task, frames, "melody_all")[t], weight / max(weight.sum(), 1e-9), atol=1e-6)
        assert frames.targets[t].sum() == (classes[t] >= 0)
        assert classes[t] < 0 or frames.targets[t, classes[t]] == 1
        assert (frames.mask[t] == (np.arange(64) < (25 if vocabulary == "triads" else 62)) * (classes[t] >= 0)).all()
        before = block(task, frames, "previous")[t]  # with N at its end
        assert before.sum() == (t > 0 and triads[t - 1] >= 0)
        assert t == 0 or triads[t - 1] < 0 or before[triads[t - 1]] == 1


def test_key_is_the_profile_that_correlates_best_or_what_the_song_says():
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0, 0])
    for tonic in range(12):
        notes = {"onset": np.arange(12.0), "duration": np.ones(12), "pitch": 60 + tonic + scale}
        zeros = np.zeros(12, np.int64)
        whole = Song("scale", **notes, velocity=zeros, voice=zeros, chords=(Chord(0.0, "C:maj"),), key="D:min")
        task = make_task("harmony", {})
        assert block(task, task.frames(whole), "key")[-1].argmax() == tonic
        given = make_task("harmony", {"key": "given"})
        assert (block(given, given.frames(whole), "key").argmax(axis=1) == 14).all()


@pytest.mark.parametrize("whole", [song(1, notes=500), song(2, notes=500, metre=3)])
@pytest.mark.parametrize("lookahead", [0, 1, 4])
def test_groove_keeps_the_loudest_hit_of_a_step(whole, lookahead):
    task = make_task("groove", {"beats_only": False, "lookahead": lookahead, "size": "full"})
    kinds = {35: 0, 38: 1, 42: 2, 46: 3, 43: 4, 47: 5, 50: 6, 57: 7, 51: 8, 26: 3, 40: 1}
    cells, hits = {}, 0
    for onset, _, pitch, velocity in of_voice(whole, "drums"):
        if velocity and pitch in kinds:
            hits += 1
            cell = nearest(onset, 4), kinds[pitch]
            if velocity >= cells.get(cell, (0, 0))[1]:
                cells[cell] = onset, velocity
    assert hits > len(cells) + 10  # several hits of a class share a step
    frames = task.frames(whole)
    hit = block(task, frames, "hit")
    assert {tuple(cell) for cell in np.argwhere(hit)} == set(cells)
    for (step, kind), (onset, velocity) in cells.items():
        assert frames.mask[step, [kind, 9 + kind]].all()
        assert frames.targets[step, kind] == pytest.approx((onset * 4 - step) * 2, abs=1e-5)
        assert frames.targets[step, 9 + kind] == pytest.approx(velocity / 127 * 2 - 1, abs=1e-5)
    assert frames.mask[:, :18].sum() == 2 * len(cells)
    for t in range(len(hit)):
        for kind, drum in enumerate(DRUM_CLASSES):
            past = [t - s for s in range(t) if (s, kind) in cells]
            coming = [s - t for s in range(t + 1, t + lookahead + 1) if (s, kind) in cells]
            assert column(task, frames, f"last_ago:{drum}")[t] == pytest.approx(1 / min(past) if past else 0)
            assert column(task, frames, f"next_in:{drum}")[t] == pytest.approx(1 / min(coming) if coming else 0)
    assert len(task.inputs) == 64 + 9 * lookahead
    assert (column(task, frames, "tempo") == np.where(np.arange(len(hit)) < 32, 90 / 120, 140 / 120).astype("f4")).all()
    assert (column(task, frames, "style:jazz") == 1).all()


def test_swing_is_how_late_weak_sixteenths_are_in_their_bar():
    step = np.arange(32)
    late = np.where(step % 2, 0.5, 0.1) * (step >= 16) + 0.2 * (step < 16) * (step % 2 == 0)
    onset = step / 4 + late / 8
    drums = {
        "duration": np.full(32, 0.1),
        "pitch": np.full(32, 36),
        "velocity": np.full(32, 9),
        "voice": np.zeros(32, int),
    }
    task = make_task("groove", {})
    frames = task.frames(Song("swing", onset=onset, **drums, voices=("drums",)))
    swing = column(task, frames, "swing", "targets")
    np.testing.assert_allclose(swing[:16], -0.2, atol=1e-5)
    np.testing.assert_allclose(swing[16:32], 0.4, atol=1e-5)


@pytest.mark.parametrize("whole", SONGS)
@pytest.mark.parametrize("lookahead", [0, 1])
def test_dynamics_has_a_row_a_note(whole, lookahead):
    task = make_task("dynamics", {"previous_velocities": True, "lookahead": lookahead})
    rows = [
        row
        for row in zip(whole.onset, whole.duration, whole.pitch, whole.velocity, whole.voice, strict=True)
        if row[4] < 2
    ]
    steps = [nearest(row[0], 8) for row in rows]
    frames = task.frames(whole)
    assert len(frames.inputs) == len(rows)
    edges = (32, 48, 64, 80, 96)
    for n, (onset, duration, pitch, velocity, voice) in enumerate(rows):
        same = [k for k in range(len(rows)) if rows[k][4] == voice]
        before = [k for k in same if steps[k] < steps[n]]
        after = [k for k in same if steps[k] > steps[n]]
        if after:
            after = [k for k in after if steps[k] == steps[after[0]]]
            gap = rows[after[-1]][0] - onset
            assert frames.targets[n, 1] == pytest.approx(min(duration / gap, 1), abs=1e-5)
        assert frames.mask[n, 1] == bool(after)
        assert frames.mask[n, [0, *range(2, 8)]].all() == (velocity > 0)
        assert frames.targets[n, 0] == pytest.approx(velocity / 127)
        assert velocity == 0 or frames.targets[n, 2:8].argmax() == sum(velocity >= edge for edge in edges)
        assert column(task, frames, "previous:voice")[n] == pytest.approx(rows[before[-1]][3] / 127 if before else 0)
        earlier = [rows[k][3] for k in range(len(rows)) if 0 < steps[n] - steps[k] <= 32]
        assert column(task, frames, "previous:recent")[n] == pytest.approx(np.mean(earlier or [0]) / 127, abs=1e-6)
        seen = after and steps[after[0]] - steps[n] <= 8 * lookahead
        interval = min(rows[after[-1]][2] - pitch, 36) / 12 if seen else 0
        assert column(task, frames, "interval:after")[n] == pytest.approx(interval, abs=1e-6)
        chord = [k for k in range(len(rows)) if steps[k] == steps[n]]
        assert column(task, frames, "chord_size")[n] == len(chord) / 8
        higher = sum((rows[k][2], k) > (pitch, n) for k in chord)
        assert column(task, frames, "from_top")[n] == higher / 8
        ahead = sum(0 < step - steps[n] <= 8 * lookahead for step in steps)
        assert column(task, frames, "density:ahead")[n] == pytest.approx(ahead / 8)
        assert column(task, frames, "melody")[n] == (whole.voices[voice] == "melody")
        assert column(task, frames, "voice_gap:after")[n] == pytest.approx(np.log2(1 + gap) if seen else -1, abs=1e-5)


def test_dynamics_options_change_what_is_told():
    plain = make_task("dynamics", {})
    assert not block(plain, plain.frames(WHOLE), "previous").any()
    assert not column(plain, plain.frames(WHOLE), "duration").any()
    told = make_task("dynamics", {"duration": True})
    assert column(told, told.frames(WHOLE), "duration").any()
    assert not told.frames(WHOLE).mask[:, 1].any()
    near, wide = (make_task("dynamics", {"size": "full", "neighbours": n}) for n in (2, 4))
    assert len(wide.inputs) - len(near.inputs) == 4 * 3
    drums = make_task("dynamics", {"drums": True})
    frames = drums.frames(WHOLE)
    assert (block(drums, frames, "drum").sum(axis=1) == 1).all()
    assert len(frames.inputs) == sum(pitch != 99 for *_, pitch, _ in of_voice(WHOLE, "drums"))
    assert not (block(drums, frames, "with") * block(drums, frames, "drum")).any()


def test_emotion_sums_up_what_was_heard():
    task = make_task("emotion", {"rate": 1})
    frames = task.frames(WHOLE)
    keep = 0.5 ** (1 / 8)
    pitched = sorted(of_voice(WHOLE, "piano") + of_voice(WHOLE, "melody"), key=lambda row: (row[0], row[2]))
    everything = pitched + of_voice(WHOLE, "drums")
    for t in (0, 3, 7, 15):
        weight = {k: keep ** (t - k) for k in range(t + 1)}
        heard = [row for row in pitched if row[0] < t + 1]
        mean = sum(weight[int(row[0])] * row[2] for row in heard) / max(sum(weight[int(row[0])] for row in heard), 1e-9)
        assert column(task, frames, "height:recent")[t] == pytest.approx(mean / 128, abs=1e-5)
        loud = [row[3] / 127 for row in everything if row[0] < t + 1 and row[3]]
        assert column(task, frames, "velocity:all")[t] == pytest.approx(np.mean(loud or [0]), abs=1e-5)
        spread = np.std(loud or [0]) * 4
        assert column(task, frames, "velocity_spread:all")[t] == pytest.approx(spread, abs=1e-4)
        seconds = sum(60 / (90 if k < 8 else 140) for k in range(t + 1))
        count = sum(row[0] < t + 1 for row in everything)
        assert column(task, frames, "notes_a_second:all")[t] == pytest.approx(count / seconds / 8, rel=1e-5)
        ended = [row for row in everything if row[0] + row[1] < t + 1]
        bins = np.zeros(8)
        for onset, duration, *_ in ended:
            bins[int(np.clip(round(math.log2(duration)) + 4, 0, 7))] += weight[int(onset + duration)]
        np.testing.assert_allclose(block(task, frames, "duration")[t], bins / max(bins.sum(), 1e-9), atol=1e-5)
    known = np.arange(16) >= 2
    assert (frames.mask[:, :6] == known[:, None]).all()
    assert (
        column(task, frames, "valence", "targets") == np.select([np.arange(16) < 2, np.arange(16) < 9], [0, 0.5], -0.25)
    ).all()
    quadrants = block(task, frames, "quadrant", "targets")
    assert (quadrants[2:9].argmax(axis=1) == 3).all()  # pleasant and calm
    assert (quadrants[9:].argmax(axis=1) == 1).all()  # unpleasant and excited
    assert (column(task, frames, "mode", "targets") == -1).all()


def test_emotion_of_sound_and_of_quadrants():
    rng = np.random.default_rng(0)
    sound = rng.normal(size=(40, 128)).astype(np.float32)
    whole = Song("heard", audio=sound, audio_rate=4.0, emotion=np.array([[0.0, 0.1, 0.2]]))
    frames = make_task("emotion", {"audio": True}).frames(whole)
    np.testing.assert_allclose(frames.inputs, sound.reshape(20, 2, 128).mean(axis=1), atol=1e-6)
    labelled = Song(**{**vars(WHOLE), "emotion": None, "labels": {"quadrant": "Q3"}})
    frames = make_task("emotion", {}).frames(labelled)
    assert not frames.mask[:, :2].any()
    assert frames.mask[:, 2:6].all()
    assert (frames.targets[:, 2:6] == [0, 0, 1, 0]).all()


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("harmony", {}, "chords"),
        ("emotion", {}, "quadrant"),
        ("emotion", {"audio": True}, "quadrant"),
        ("groove", {}, "drum hits"),
        ("dynamics", {}, "velocities"),
        ("melody", {}, "melody"),
    ],
)
def test_a_song_says_what_it_lacks(name, options, what):
    bare = Song("bare", roll=np.ones((5, 88), bool), roll_rate=1.0)
    assert what in make_task(name, options).missing(bare)


def test_groove_takes_beats_in_four_only_unless_told_otherwise():
    fill = Song(**{**vars(WHOLE), "labels": {"beat_type": "fill"}})
    assert make_task("groove", {}).missing(WHOLE) is None
    for odd in (SONGS[1], fill):
        assert "4/4" in make_task("groove", {}).missing(odd)
        assert make_task("groove", {"beats_only": False}).missing(odd) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("choir", {}, "choir"),
        ("melody", {"colour": 1}, "colour"),
        ("harmony", {"vocabulary": "jazz"}, "jazz"),
        ("groove", {"lookahead": -1}, "lookahead=-1"),
    ],
)
def test_unknown_tasks_and_options_are_refused(name, options, message):
    with pytest.raises(DataError, match=message):
        make_task(name, options)
