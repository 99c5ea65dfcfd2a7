import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.io import savemat, wavfile

from datamodules.core import DataError
from datamodules.music import readers
from datamodules.music.readers import base
from datamodules.music.readers.midi import key_of_fifths

from .files import SCALE, write_groove, write_midi, write_pop909, write_vgmidi


def songs(root, format=None, **options):
    reader, sources = readers.read(root, format, **options)
    return [song for source in sources for song in reader.read(source)]


# ---------------------------------------------------------------------- MIDI
def test_midi_keeps_notes_voices_tempos_meters_and_key(tmp_path):
    notes = [(2.25, 0.5, 64, 90), (0.0, 1.5, 60, 1), (2.25, 0.25, 62, 127)]
    write_midi(
        tmp_path / "sub/a.mid",
        {"lead": notes, "drums": [(1.0, 0.25, 36, 100)], "empty": []},
        tempos=[(0, 100.0), (2, 50.0)],
        meters=[(0, 3, 4), (6, 6, 8)],
        fifths=-3,
        minor=True,
    )
    (song,) = songs(tmp_path)
    assert (song.name, song.group, song.voices, song.key) == ("sub/a.mid", "sub/a.mid", ("lead", "drums"), "C:min")
    assert song.onset.tolist() == [0.0, 1.0, 2.25, 2.25]
    assert song.duration.tolist() == [1.5, 0.25, 0.25, 0.5]
    assert song.pitch.tolist() == [60, 36, 62, 64]
    assert song.velocity.tolist() == [1, 100, 127, 90]
    assert song.voice.tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(song.tempos, [[0, 100], [2, 50]], rtol=1e-6)
    assert song.meters == ((0, 3, 4), (6, 6, 8))
    assert song.seconds(3.0) == pytest.approx(2 * 0.6 + 1.2)


def test_midi_without_maps_has_those_of_the_standard(tmp_path):
    write_midi(tmp_path / "a.mid", {"": SCALE}, tempos=[(4, 60.0)], meters=[])
    (song,) = songs(tmp_path)
    assert song.tempos.tolist() == [[0, 120], [4, 60]]
    assert (song.meters, song.key, song.voices) == (((0, 4, 4),), None, ("program 0",))


@pytest.mark.parametrize("fifths", range(-7, 8))
def test_key_signatures_as_music21_has_them(fifths):
    key = pytest.importorskip("music21.key")
    for minor, mode in ((False, "major"), (True, "minor")):
        tonic, _, kind = key_of_fifths(fifths, minor).partition(":")
        theirs = key.KeySignature(fifths).asKey(mode)
        assert (readers_tonic(tonic), kind) == (theirs.tonic.pitchClass, mode[:3])


def readers_tonic(name):
    return {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[name[0]] + {"#": 1, "b": -1}.get(name[1:], 0)


def test_midi_with_no_notes_is_named(tmp_path):
    write_midi(tmp_path / "silent.mid", {"lead": []})
    with pytest.raises(DataError, match=r"silent\.mid: no notes"):
        songs(tmp_path)


# ---------------------------------------------------------------------- scores
ABC = """X:1
T:First
M:3/4
L:1/4
K:Am
e|"Am"A B-|"G7"BcG|"C"c3|

X:2
T:Second
M:6/8
L:1/8
K:D
"D"d3 "A"a3|
"""


def test_a_book_of_abc_holds_tunes_with_chords_keys_ties_and_pickups(tmp_path):
    pytest.importorskip("music21")
    (tmp_path / "book.abc").write_text(ABC.replace('"Am"A B-|"G7"B', '"Am"A2 B-|"G7"B'))
    first, second = songs(tmp_path)
    assert [(song.name, song.labels["title"], song.key) for song in (first, second)] == [
        ("book.abc#1", "First", "A:min"),
        ("book.abc#2", "Second", "D:maj"),
    ]
    assert first.pitch.tolist() == [76, 69, 71, 72, 67, 72]
    assert first.onset.tolist() == [0, 1, 3, 5, 6, 7]
    assert first.duration.tolist() == [1, 2, 2, 1, 1, 3]  # the tied B is one note of two beats
    assert first.chords == ((1, "A:min"), (4, "G:7"), (7, "C:maj"))
    assert first.meters == ((0, 1, 4), (1, 3, 4))
    assert second.onset.tolist() == [0, 1.5]
    assert second.meters == ((0, 6, 8),)


def test_music_xml_comes_back_as_music21_wrote_it(tmp_path):
    stream = pytest.importorskip("music21.stream")
    from music21 import harmony, meter, note, tempo

    score = stream.Score()
    for name, pitches in (("Flute", [72, 74, 76, 77]), ("Cello", [48, 43])):
        part = stream.Part()
        part.partName = name
        part.append([meter.TimeSignature("4/4"), tempo.MetronomeMark(number=90)])
        for pitch in pitches:
            part.append(note.Note(pitch, quarterLength=4 / len(pitches)))
        if name == "Flute":
            part.insert(0.0, harmony.ChordSymbol("Cm7"))
            part.insert(2.0, harmony.ChordSymbol("B-maj7"))
        score.append(part)
        part.offset = 0
    score.write("musicxml", tmp_path / "duo.musicxml")
    (song,) = songs(tmp_path)
    assert song.voices == ("Flute", "Cello")
    assert list(zip(song.onset.tolist(), song.pitch.tolist(), song.voice.tolist(), strict=True)) == [
        (0, 48, 1), (0, 72, 0), (1, 74, 0), (2, 43, 1), (2, 76, 0), (3, 77, 0),
    ]  # fmt: skip
    assert song.chords == ((0, "C:min7"), (2, "Bb:maj7"))
    assert song.tempos.tolist() == [[0, 90]]


def test_the_corpus_holds_chorales_in_four_parts_and_tunes():
    pytest.importorskip("music21")
    chorales = songs(None, "bach", limit=3)
    assert all(len(song.voices) == 4 and len(song.chords) > 10 and song.key for song in chorales)
    (tune,) = songs(None, "ryansMammoth", limit=1)
    assert (len(tune.voices), tune.key) == (1, "A:min")


def test_two_settings_of_one_hymn_are_one_group():
    from datamodules.music.readers.corpus import incipit
    from datamodules.music.song import Song, sorted_notes

    def setting(transposed, bass):
        melody = [(float(k), 1.0, 60 + transposed + step, 0, 0) for k, step in enumerate((0, 0, 2, 4, 5, 4, 2, 0))]
        low = [(float(k), 1.0, bass, 0, 1) for k in range(8)]
        return Song(name="a", voices=("S", "B"), **sorted_notes(*zip(*melody, *low, strict=True)))

    assert incipit(setting(0, 40)) == incipit(setting(5, 45))


# ---------------------------------------------------------------------- rolls
def rolls(rng, lengths):
    return [(rng.random((length, 88)) < 0.05).astype(float) for length in lengths]


def test_rolls_keep_frames_splits_and_rate(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"traindata": rolls(rng, [5, 9]), "validdata": rolls(rng, [4]), "testdata": rolls(rng, [6])}
    cells = {}
    for key, value in parts.items():
        cells[key] = np.empty((1, len(value)), dtype=object)
        cells[key][0, :] = value
    savemat(tmp_path / "Nottingham.mat", cells)
    found = songs(tmp_path)
    assert [(song.split, len(song.roll), song.length) for song in found] == [
        ("train", 5, 2.5), ("train", 9, 4.5), ("val", 4, 2.0), ("test", 6, 3.0),
    ]  # fmt: skip
    for song, roll in zip(found, [*parts["traindata"], *parts["validdata"], *parts["testdata"]], strict=True):
        np.testing.assert_array_equal(song.roll, roll)
    assert songs(tmp_path, "rolls", rate=4.0)[0].length == 5 / 4
    savemat(tmp_path / "Nottingham.mat", {"traindata": cells["traindata"]})
    with pytest.raises(DataError, match=r"Nottingham\.mat: no validdata, testdata"):
        songs(tmp_path)


def test_rolls_of_pitches_as_json(tmp_path):
    book = {"train": [[[21, 108], [60, -1]]], "valid": [[[64]]], "test": [[[]]]}
    (tmp_path / "Jsb16thSeparated.json").write_text(json.dumps(book))
    train, val, test = songs(tmp_path)
    assert [np.flatnonzero(frame).tolist() for frame in train.roll] == [[0, 87], [39]]
    assert (train.roll_rate, val.split, test.roll.sum()) == (4.0, "val", 0)
    (tmp_path / "Jsb16thSeparated.json").write_text(json.dumps(book | {"test": [[[109]]]}))
    *others, broken = songs(tmp_path)
    assert broken.source == "Jsb16thSeparated/test/0"
    assert broken.reason.startswith("Jsb16thSeparated.json, test: pitch 109")
    assert [song.split for song in others] == ["train", "val"]


# ---------------------------------------------------------------------- Groove, POP909
def test_groove_has_its_official_split_and_labels(tmp_path):
    found = songs(write_groove(tmp_path))
    assert [(song.name, song.split, song.group) for song in found] == [
        ("d1/s0/a", "train", "d1/s0"), ("d1/s1/b", "val", "d1/s1"), ("d1/s2/c", "test", "d1/s2"),
    ]  # fmt: skip
    assert found[1].labels == {
        "drummer": "d1", "session": "d1/s1", "style": "rock", "substyle": "half", "beat_type": "beat", "bpm": "101",
    }  # fmt: skip
    assert (found[0].voices, found[0].key) == (("drums",), None)
    table = tmp_path / "info.csv"
    table.write_text(table.read_text().replace("validation", "valid"))
    with pytest.raises(DataError, match=r"info\.csv, line 3: split='valid'"):
        songs(tmp_path)


def test_pop909_lies_on_the_beats_of_its_file(tmp_path):
    (song,) = songs(write_pop909(tmp_path))
    assert song.voices == ("melody", "piano")
    np.testing.assert_allclose(song.onset, [0, 0.5, 2, 2.5, 4], atol=2e-3)
    assert song.pitch.tolist() == [60, 61, 40, 62, 63]
    np.testing.assert_allclose(song.seconds(np.arange(9)) + 1.0, [1, 1.5, 2, 2.6, 3.2, 3.9, 4.6, 5.3, 6.0])
    assert song.chords == ((0, "C:maj"), (3, "A:min7"))
    assert (song.key, song.meters) == ("F#:maj", ((0, 4, 4),))


def test_pop909_counts_beats_back_to_a_pickup(tmp_path):
    (song,) = songs(write_pop909(tmp_path, pickup=1.5))
    assert song.onset[0] == pytest.approx(0.5, abs=2e-3)
    assert song.meters == ((0, 2, 4), (2, 4, 4))
    assert song.chords == ((2, "C:maj"), (5, "A:min7"))


def test_an_unknown_chord_symbol_is_named_or_none(tmp_path):
    write_pop909(tmp_path, chords="C:foo")
    with pytest.raises(DataError, match=r"001/chord_midi\.txt, line 1: no chord symbol: 'C:foo'"):
        songs(tmp_path)
    assert songs(tmp_path, "pop909", unknown_chord="none")[0].chords[0].label == "N"


# ---------------------------------------------------------------------- emotion
def test_vgmidi_is_the_mean_of_the_raters(tmp_path):
    (song,) = songs(write_vgmidi(tmp_path))
    np.testing.assert_allclose(
        song.emotion, [[0, 0.0, -0.1], [2, 0.2, -0.3], [4, 0.4, -0.1], [6, 0.6, -0.3]], atol=1e-9
    )
    assert (song.group, song.labels["raters"]) == ("Series A", "2")
    assert float(song.labels["valence_sd"]) == pytest.approx(0.1)


def test_vgmidi_as_a_table_and_without_its_midi(tmp_path):
    write_midi(tmp_path / "phrases/S_1_G_P_0.mid", {"piano": SCALE})
    (tmp_path / "vgmidi.csv").write_text(
        "id,series,midi,valence,arousal\n1,S,../phrases/S_1_G_P_0.mid,1,0\n2,S,../phrases/gone.mid,0,0\n"
    )
    (song,) = songs(tmp_path)
    assert song.emotion.tolist() == [[0, 1, -1]]
    (tmp_path / "phrases/S_1_G_P_0.mid").unlink()
    with pytest.raises(DataError, match=r"ratings of 2 pieces, but no MIDI file of them, such as S_1_G_P_0\.mid"):
        songs(tmp_path)


def test_emopia_takes_the_quadrant_of_the_name(tmp_path):
    for quadrant in (1, 2, 3, 4):
        write_midi(tmp_path / f"midis/Q{quadrant}_ab_c{quadrant}_0.mid", {"piano": SCALE})
    (tmp_path / "key_mode_tempo.csv").write_text("name,keyname,keymode,tempo\nQ1_ab_c1_0,Eb,0,90\nQ3_ab_c3_0,f#,1,90\n")
    (tmp_path / "split").mkdir()
    (tmp_path / "split/test_clip.csv").write_text(",clip_name\n0,Q2_ab_c2_0.mid\n")
    found = songs(tmp_path)
    assert [np.sign(song.emotion[0, 1:]).tolist() for song in found] == [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    assert [song.key for song in found] == ["Eb:maj", None, "F#:min", None]
    assert [song.split for song in found] == [None, "test", None, None]
    assert (found[0].group, found[0].labels) == ("ab_c1", {"quadrant": "Q1"})


@pytest.mark.parametrize("format", ["vgmidi", "emopia", "deam", "pmemo"])
def test_a_set_without_labels_says_what_was_looked_for(tmp_path, format):
    write_midi(tmp_path / "a.mid", {"piano": SCALE})
    wavfile.write(tmp_path / "1.wav", 16000, np.zeros(16000, np.int16))
    with pytest.raises(DataError, match=rf"nothing to read\. Looked for:\n  {format}: "):
        songs(tmp_path, format)


def tone(path, rate=22050, hertz=1000.0, seconds=4.0):
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, (32767 * wave).astype(np.int16))


DEAM_STATIC = "annotations/static_annotations_averaged_songs_1_2000.csv"


def test_deam_scales_both_kinds_of_ratings(tmp_path):
    tone(tmp_path / "audio/2.wav")
    (tmp_path / "annotations").mkdir()
    (tmp_path / DEAM_STATIC).write_text(
        "song_id, valence_mean, valence_std, arousal_mean, arousal_std\n2, 3.0, 1, 9, 1\n"
    )
    assert songs(tmp_path)[0].emotion.tolist() == [[0, -0.5, 1]]
    for kind, values in (("valence", "0.5,-0.25,"), ("arousal", "0.1,0.2,0.3")):
        header = "song_id,sample_15000ms,sample_15500ms,sample_16000ms"
        (tmp_path / f"annotations/{kind}.csv").write_text(f"{header}\n2,{values}\n")
    (song,) = songs(tmp_path)
    assert song.emotion.tolist() == [[15, 0.5, 0.1], [15.5, -0.25, 0.2]]
    assert song.seconds(15.5) == 15.5
    assert songs(tmp_path, "deam", ratings="static")[0].emotion.tolist() == [[0, -0.5, 1]]
    (tmp_path / DEAM_STATIC).write_text("song_id, valence_mean, arousal_mean\n2, 3.0, 10\n")
    with pytest.raises(DataError, match=r"averaged_songs_1_2000\.csv, line 2: rating 10\.0: .* \[1, 9\]"):
        songs(tmp_path, "deam", ratings="static")


def test_pmemo_scales_from_the_unit_interval(tmp_path):
    tone(tmp_path / "chorus/7.wav")
    (tmp_path / "static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n7,0.8,0.25\n")
    assert songs(tmp_path)[0].emotion.tolist() == [[0, -0.5, 0.6]]
    (tmp_path / "static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n7,high,0.25\n")
    with pytest.raises(DataError, match=r"static_annotations\.csv, line 2: rating 'high': .* numbers in \[0, 1\]"):
        songs(tmp_path)
    rows = "musicId,frameTime,Arousal(mean),Valence(mean)\n7,15.0,0.5,1\n7,15.5,0,0.5\n"
    (tmp_path / "dynamic_annotations.csv").write_text(rows)
    assert songs(tmp_path)[0].emotion.tolist() == [[15, 1, 0], [15.5, 0, -1]]


def test_log_mels_tell_the_tone_at_any_rate(tmp_path):
    found = []
    for number, rate in enumerate((16000, 44100)):
        tone(tmp_path / f"{number}/1.wav", rate)
        (tmp_path / f"{number}/static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n1,0,0\n")
        found += songs(tmp_path / str(number))
    low, high = found
    assert low.audio.shape == high.audio.shape == (8, 128)
    assert low.audio_rate == 2.0
    np.testing.assert_allclose(low.audio[1:-1].max(1), high.audio[1:-1].max(1), atol=0.5)
    assert set(low.audio.argmax(1)) == set(high.audio.argmax(1))
    assert len(set(low.audio.argmax(1))) == 1


@pytest.mark.parametrize(("content", "message"), [(8000, "sampled at 8000 Hz"), (None, "cannot be read")])
def test_audio_that_is_no_good_is_named(tmp_path, content, message):
    if content:
        tone(tmp_path / "1.wav", content)
    else:
        (tmp_path / "1.wav").write_bytes(b"RIFFnothing")
    (tmp_path / "static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n1,0,0\n")
    with pytest.raises(DataError, match=rf"1\.wav: .*{message}"):
        songs(tmp_path)


def test_a_process_that_reads_recordings_imports_no_lightning():
    code = "import sys, datamodules.music.parse, datamodules.sound; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def pmemo_of(folder, ending):
    (folder / "static_annotations.csv").write_text("musicId,Arousal(mean),Valence(mean)\n1,0,0\n")
    return folder / f"1{ending}"


def test_what_is_no_wav_needs_the_extra_audio_and_a_wav_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "find_spec", lambda library: None)
    pmemo_of(tmp_path, ".mp3").write_bytes(b"")
    with pytest.raises(
        ModuleNotFoundError, match=r"librosa is not installed\. Remedy: pip install 'litmotif\[audio\]'"
    ):
        readers.read(tmp_path)
    (tmp_path / "1.mp3").unlink()
    tone(tmp_path / "1.wav")
    assert len(songs(tmp_path)) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside librosa
def test_flac_by_librosa_is_heard_as_the_same_wav(tmp_path):
    pytest.importorskip("librosa")
    soundfile = pytest.importorskip("soundfile")
    (tmp_path / "wav").mkdir()
    (tmp_path / "flac").mkdir()
    tone(pmemo_of(tmp_path / "wav", ".wav"), 44100)
    rate, samples = wavfile.read(tmp_path / "wav/1.wav")
    soundfile.write(pmemo_of(tmp_path / "flac", ".flac"), samples, rate)
    (heard,), (same,) = songs(tmp_path / "wav"), songs(tmp_path / "flac")
    np.testing.assert_allclose(same.audio, heard.audio, atol=1e-4)


# ---------------------------------------------------------------------- folders
def test_an_empty_folder_and_an_unknown_format_name_what_is_known(tmp_path):
    with pytest.raises(DataError, match=r"nothing to read(.|\n)*groove: info\.csv(.|\n)*midi: files \*\.mid"):
        songs(tmp_path)
    with pytest.raises(DataError, match=r"format='mp4': one of bach, ryansMammoth, groove, pop909"):
        songs(tmp_path, "mp4")
    with pytest.raises(DataError, match="no such file or folder"):
        songs(tmp_path / "gone")
    with pytest.raises(DataError, match="needs a folder"):
        songs(None)
    with pytest.raises(DataError, match=r"format midi: .*'rate'"):
        songs(tmp_path, "midi", rate=2)


def test_a_file_alone_and_a_limit(tmp_path):
    for name in "abc":
        write_midi(tmp_path / f"{name}.mid", {"piano": SCALE})
    assert [song.name for song in songs(tmp_path / "b.mid")] == ["b.mid"]
    assert [song.name for song in songs(tmp_path, limit=2)] == ["a.mid", "b.mid"]


def test_a_missing_library_names_the_extra(tmp_path, monkeypatch):
    write_midi(tmp_path / "a.mid", {"piano": SCALE})
    monkeypatch.setattr(base, "find_spec", lambda library: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"symusic is not installed\. Remedy: pip install 'litmotif\[music\]'"
    ):
        readers.read(tmp_path)
