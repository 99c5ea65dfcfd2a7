"""Music files as strangers have them: read as they sound, or refused in a sentence that names the file."""

import json
import struct
import zipfile

import numpy as np
import pytest

from datamodules import MusicFrames
from datamodules.core import DataError
from datamodules.music import readers
from datamodules.music.parse import load_songs
from datamodules.music.readers.base import Broken
from datamodules.music.readers.score_file import abc_text
from datamodules.music.render import write_midi as write_song
from datamodules.music.song import DRUMS, LONGEST, LONGEST_REST, REMARKS, Chord, Song, sorted_notes
from datamodules.music.tasks import TASKS, make_task
from datamodules.music.tunes import tunes

from ..music.files import SCALE, TICKS, write_midi


def songs(root, format=None, **options):
    reader, sources = readers.read(root, format, **options)
    return [song for source in sources for song in reader.read(source)]


# ---------------------------------------------------------------------- MIDI
@pytest.fixture
def plain(tmp_path):
    pytest.importorskip("symusic")
    return write_midi(tmp_path / "a.mid", {"lead": SCALE}).read_bytes()


@pytest.mark.parametrize("junk", [128, 20, 1])
def test_what_stands_before_the_header_is_left_out_and_told(plain, tmp_path, junk):
    (tmp_path / "a.mid").write_bytes(b"RIFF" + bytes(junk) + plain)
    (song,) = songs(tmp_path)
    assert song.pitch.tolist() == [note[2] for note in SCALE]
    assert f"{junk + 4} bytes" in song.labels[REMARKS]


@pytest.mark.parametrize(("frames", "rate"), [(24, 24), (25, 25), (29, 30_000 / 1001), (30, 30)])
@pytest.mark.parametrize("subframes", [40, 80, 4])
def test_a_time_code_is_read_by_seconds(plain, tmp_path, frames, rate, subframes):
    code = struct.pack(">bB", -frames, subframes)
    (tmp_path / "a.mid").write_bytes(plain[:12] + code + plain[14:])
    (song,) = songs(tmp_path)
    ticks = np.array([note[0] for note in SCALE]) * TICKS
    np.testing.assert_allclose(song.seconds(song.onset), ticks / (rate * subframes), rtol=1e-6)
    assert f"{frames} frames a second" in song.labels[REMARKS]


def test_tracks_that_are_songs_of_their_own_become_songs(tmp_path):
    pytest.importorskip("symusic")
    content = write_midi(tmp_path / "a.mid", {"one": SCALE[:3], "two": SCALE[3:]}).read_bytes()
    (tmp_path / "a.mid").write_bytes(content[:8] + struct.pack(">H", 2) + content[10:])
    found = songs(tmp_path)
    assert [song.pitch.tolist() for song in found] == [[60, 61, 62], [63, 64, 65, 66, 67]]
    assert [song.voices for song in found] == [("one",), ("two",)]
    assert len({song.name for song in found}) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: b"", "no header MThd"),
        (lambda content: content[:13], "no header MThd"),
        (lambda content: b"PK" + bytes(200), "no header MThd"),
        (lambda content: content[:12] + b"\0\0" + content[14:], "0 ticks a beat"),
        (lambda content: content[:14], "no notes"),
        (lambda content: content[:60], "a.mid"),
    ],
)
def test_what_is_no_midi_file_gets_a_sentence(plain, tmp_path, change, words):
    (tmp_path / "a.mid").write_bytes(change(plain))
    with pytest.raises(DataError, match=rf"a\.mid.*{words}|{words}"):
        songs(tmp_path)


@pytest.mark.parametrize("fifths", [8, 18, -8, -18, 127])
def test_a_signature_that_no_key_has_is_no_key(tmp_path, fifths):
    pytest.importorskip("symusic")
    write_midi(tmp_path / "a.mid", {"lead": SCALE}, fifths=fifths)
    assert songs(tmp_path)[0].key is None


@pytest.mark.parametrize("key", [f"{tonic}:{mode}" for tonic in ("C", "F#", "Bb", "E") for mode in ("maj", "min")])
def test_the_key_is_written_into_midi(tmp_path, key):
    pytest.importorskip("symusic")
    write_song(tmp_path / "a.mid", Song("a", key=key, **sorted_notes([0.0], [1.0], [60], [80], [0])))
    assert songs(tmp_path)[0].key == key


# ---------------------------------------------------------------------- bounds
def one_note(at, length=1.0):
    return sorted_notes([0.0, at], [1.0, length], [60, 64], [80, 80], [0, 0])


@pytest.mark.parametrize(
    "fields",
    [
        one_note(559_240.0),
        one_note(2.0**28),
        one_note(LONGEST_REST + 1),
        one_note(10.0, LONGEST),
        one_note(1.0) | {"length": 1e9},
        one_note(1.0) | {"emotion": np.array([[1e7, 0.0, 0.0]])},
    ],
)
def test_a_song_that_no_one_could_play_is_refused_and_named(fields):
    with pytest.raises(DataError, match=r"far\.mid.*at most"):
        Song("far", source="far.mid", **fields)


def test_a_far_note_counts_as_a_broken_file_and_takes_no_memory(plain, tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.mid").write_bytes(plain)
    body = b"\0\x90<P\x01\x80<\0\xff\xff\xff\x7f\x90@P\x01\x80@\0\0\xff/\0"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1)
    (tmp_path / "far.mid").write_bytes(header + b"MTrk" + struct.pack(">I", len(body)) + body)
    with pytest.warns(UserWarning, match=r"far\.mid: .* beats long"):
        library = load_songs(tmp_path, max_bad=0.3, cache_dir=str(tmp_path / "cache"), workers=1, progress=False)
    assert (len(library.songs), [one.source for one in library.broken]) == (4, ["far.mid"])


# ---------------------------------------------------------------------- scores
def xml(body="", attributes="", alter="", pitched=True):
    pitch = f"<pitch><step>C</step>{alter}<octave>4</octave></pitch>"
    drum = "<unpitched><display-step>E</display-step><display-octave>4</display-octave></unpitched>"
    return (
        '<score-partwise version="3.1"><part-list><score-part id="P1"><part-name>M</part-name></score-part></part-list>'
        '<part id="P1"><measure number="1"><attributes><divisions>4</divisions><key><fifths>0</fifths>'
        f"<mode>major</mode></key><time><beats>4</beats><beat-type>4</beat-type></time>{attributes}</attributes>{body}"
        f"<note>{pitch if pitched else drum}<duration>16</duration><type>whole</type></note></measure></part>"
        "</score-partwise>"
    )


def of_xml(tmp_path, *args, **kwargs):
    pytest.importorskip("music21")
    (tmp_path / "a.musicxml").write_text(xml(*args, **kwargs))
    (song,) = songs(tmp_path)
    return song


@pytest.mark.parametrize(
    ("chromatic", "octave", "key"), [(-2, 0, "Bb:maj"), (-9, 0, "Eb:maj"), (-7, 0, "F:maj"), (0, -1, "C:maj")]
)
def test_transposing_instruments_are_read_as_they_sound(tmp_path, chromatic, octave, key):
    change = f"<octave-change>{octave}</octave-change>" if octave else ""
    diatonic = {-2: -1, -9: -5, -7: -4, 0: 0}[chromatic]
    transpose = f"<transpose><diatonic>{diatonic}</diatonic><chromatic>{chromatic}</chromatic>{change}</transpose>"
    song = of_xml(tmp_path, attributes=transpose)
    assert song.pitch.tolist() == [60 + chromatic + 12 * octave]
    assert song.key == key


CHORDS = {
    "major": "maj", "minor": "min", "augmented": "aug", "diminished": "dim", "dominant": "7", "major-seventh": "maj7",
    "minor-seventh": "min7", "diminished-seventh": "dim7", "augmented-seventh": "aug7", "half-diminished": "hdim7",
    "major-minor": "minmaj7", "major-sixth": "maj6", "minor-sixth": "min6", "dominant-ninth": "7",
    "major-ninth": "maj7", "minor-ninth": "min7", "dominant-11th": "7", "major-11th": "maj7", "minor-11th": "min7",
    "dominant-13th": "7",
    "major-13th": "maj7", "minor-13th": "min7", "suspended-second": "sus2", "suspended-fourth": "sus4", "power": "5",
}  # fmt: skip
"""Kinds of MusicXML 4.0 and what they are."""


def harmony(kind, beat=""):
    return f"<harmony><root><root-step>D</root-step></root><kind>{kind}</kind></harmony>"


def test_every_kind_of_chord_is_read(tmp_path):
    pytest.importorskip("music21")
    body = "".join(f"{harmony(kind)}<note><rest/><duration>4</duration></note>" for kind in CHORDS)
    song = of_xml(tmp_path, body)
    assert [chord.label for chord in song.chords] == [f"D:{quality}" for quality in CHORDS.values()]
    assert REMARKS not in song.labels


@pytest.mark.parametrize("kind", ["pedal", "other", "Tristan", "Neapolitan", "Italian", "French", "German"])
def test_a_chord_of_no_class_is_no_chord_and_counted(tmp_path, kind):
    song = of_xml(tmp_path, harmony(kind))
    assert song.chords == (Chord(0.0, "N"),)
    assert song.labels[REMARKS].startswith("1 chords of a kind without a class")


@pytest.mark.parametrize(
    ("unit", "number", "pace"),
    [("quarter</beat-unit><beat-unit-dot/>", 60, 90), ("eighth</beat-unit>", 100, 50), ("half</beat-unit>", 45, 90)],
)
def test_a_metronome_mark_counts_in_its_own_note(tmp_path, unit, number, pace):
    mark = f"<metronome><beat-unit>{unit}<per-minute>{number}</per-minute></metronome>"
    song = of_xml(tmp_path, f"<direction><direction-type>{mark}</direction-type></direction>")
    assert song.tempos.tolist() == [[0.0, pace]]


def test_microtones_are_rounded_and_counted(tmp_path):
    song = of_xml(tmp_path, alter="<alter>0.5</alter>")
    assert song.labels[REMARKS] == "1 microtones, rounded to semitones"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xml", xml(pitched=False), "only percussion"),
        ("a.xml", xml().replace("partwise", "timewise"), "score-timewise"),
        ("a.xml", "", "no MusicXML score"),
        ("a.xml", xml()[:300], "music21 cannot read it"),
        ("a.mxl", None, "no score in it"),
        ("a.mxl", "PK", "no readable .mxl"),
        ("a.abc", "X:1\nT:silence\nM:4/4\nK:C\nz4|\n", "no notes"),
    ],
)
def test_what_is_no_score_gets_a_sentence(tmp_path, name, content, words):
    pytest.importorskip("music21")
    if content is None:
        zipfile.ZipFile(tmp_path / name, "w").close()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}: .*{words}"):
        songs(tmp_path)


def test_a_packed_score_that_unpacks_without_end_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("music21")
    monkeypatch.setattr("datamodules.music.readers.score_file.LARGEST", 1000)
    with zipfile.ZipFile(tmp_path / "a.mxl", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.xml", xml() + " " * 10_000)
    with pytest.raises(DataError, match=r"a\.mxl: .* bytes of score: at most 1,000"):
        songs(tmp_path)


TUNE = "X:1\nT:Für Elise\nM:4/4\nL:1/4\nK:D\nDEFG|\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_abc_of_any_encoding_is_the_same_tune(encoding, ends):
    assert abc_text(TUNE.replace("\n", ends).encode(encoding)) == TUNE


def test_voices_that_are_declared_before_the_key_are_no_parts(tmp_path):
    pytest.importorskip("music21")
    head, body = "X:1\nT:two\nM:4/4\nL:1/4\n", "K:D\nV:1\nDEFG|\nV:2\nD,4|\n"
    for name, text in (("a", head + body), ("b", head + 'V:1 clef=treble name="A"\nV:2 clef=bass\n' + body)):
        (tmp_path / f"{name}.abc").write_text(text)
    plain, declared = songs(tmp_path)
    assert (declared.voices, declared.key) == (plain.voices, plain.key) == (("part 1", "part 2"), "D:maj")
    assert declared.pitch.tolist() == plain.pitch.tolist()


def test_one_broken_tune_of_a_book_leaves_the_others_whole(tmp_path):
    pytest.importorskip("music21")
    tune = 'X:{0}\nT:{0}\nM:4/4\nL:1/4\nK:C\n"{1}"CDEF|\n\n'
    (tmp_path / "a.abc").write_text("".join(tune.format(k, "C" if k != 2 else "Am7b5b9#77") for k in range(1, 4)))
    found = songs(tmp_path)
    good = [one for one in found if isinstance(one, Song)]
    assert {song.name for song in good} >= {"a.abc#1", "a.abc#3"}
    assert len(found) == 3


# ---------------------------------------------------------------------- one broken file of many
def test_one_broken_roll_of_a_book_is_named_and_left_out(tmp_path):
    chords = [[[60, 64]] * 4] * 30
    book = {"train": chords, "valid": chords, "test": [*chords, [[200]]]}
    (tmp_path / "jsb.json").write_text(json.dumps(book))
    *good, bad = songs(tmp_path)
    assert (len(good), bad.source) == (90, "jsb/test/30")
    assert isinstance(bad, Broken)
    with pytest.warns(UserWarning, match=r"jsb/test/30: jsb\.json, test: pitch 200"):
        library = load_songs(tmp_path, cache_dir=str(tmp_path / "cache"), workers=1, progress=False)
    assert len(library.songs) == 90
    with pytest.raises(DataError, match="Tolerated: 1%"):
        load_songs(tmp_path, max_bad=0.01, cache_dir=str(tmp_path / "cache"), workers=1, progress=False)


@pytest.mark.parametrize("name", ["a.mat", "a.json"])
def test_a_cut_off_book_of_rolls_gets_a_sentence(tmp_path, name):
    (tmp_path / f"jsb_{name}").write_bytes(b'{"train":[[[60' if name == "a.json" else b"MATLAB 5.0" + bytes(200))
    with pytest.raises(DataError, match=rf"jsb_{name}: cannot be read"):
        songs(tmp_path, "rolls")


@pytest.mark.parametrize("task", TASKS)
def test_frames_of_the_smallest_songs_are_whole(task):
    """One to four notes, in the song or behind its end, of any voice: frames, or a reason why there are none."""
    rng = np.random.default_rng(0)
    maker, made = make_task(task, {}), 0
    for _ in range(60):
        n = int(rng.integers(1, 5))
        voices = [("a",), ("melody", "x"), (DRUMS,), ("a", DRUMS)][rng.integers(4)]
        onset, length = rng.choice([0, 0.01, 0.25, 3.99, 7.5], n), rng.choice([0, 0.001, 1.0, 20.0], n)
        pitch, voice = rng.choice([0, 1, 36, 60, 126, 127], n), rng.integers(0, len(voices), n)
        song = Song(
            "small",
            voices=voices,
            chords=(Chord(float(rng.choice([0, 2.0, 50.0])), "C:maj"),),
            emotion=np.array([[float(rng.choice([0, 1.0, 60.0])), 0.1, 0.2]]),
            labels={"style": "rock"},
            length=float(rng.choice([0.0, 0.01, 1.0])),
            **sorted_notes(onset, length, pitch, rng.choice([0, 1, 127], n), voice),
        )
        if maker.missing(song) is None:
            frames = maker.frames(song)
            assert len(frames.inputs) == len(frames.targets) > 0
            assert np.isfinite(frames.inputs).all() and np.isfinite(frames.targets).all()  # noqa: PT018
            made += 1
    assert made > 5


@pytest.mark.parametrize("task", TASKS)
def test_an_error_while_frames_are_made_names_the_song_and_counts(task, monkeypatch):
    data = MusicFrames(task=task, songs=40, max_bad=0.05)
    frames = type(data.maker).frames

    def break_one(self, song):
        if song.name.endswith(" 7"):
            raise IndexError("index 3 is out of bounds")
        return frames(self, song)

    monkeypatch.setattr(type(data.maker), "frames", break_one)
    with pytest.warns(UserWarning, match=r" 7: IndexError: index 3 is out of bounds"):
        assert len(data.library) == 39
    with pytest.raises(DataError, match=r" 7: IndexError.*\nTolerated: 1%"):
        _ = MusicFrames(task=task, songs=40, max_bad=0.01).library


# ---------------------------------------------------------------------- what needs no file
@pytest.mark.parametrize("task", ["melody", "polyphony", "harmony"])
def test_the_embedded_default_needs_no_library_and_no_file(task, monkeypatch):
    monkeypatch.setattr("datamodules.music.readers.base.find_spec", lambda name: None)
    data = MusicFrames(task=task, songs=6)
    assert data.synthetic
    assert len(data.library) == 6


def test_made_tunes_are_songs_of_their_key():
    for song in tunes(6, 0):
        line = song.pitch[song.voice == 0]
        scale = {(line_class) % 12 for line_class in line.tolist()}
        assert len(scale) <= 7
        assert song.length == 32 * song.meters[0].bar
        assert 61 < line.min() < line.max() < 88
    assert [song.pitch.tolist() for song in tunes(3, 0)] == [song.pitch.tolist() for song in tunes(3, 0)]
    assert tunes(3, 0)[0].pitch.tolist() != tunes(3, 1)[0].pitch.tolist()
