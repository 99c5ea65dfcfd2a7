"""Real files, where LITMOTIF_DATA names the folder that holds music/{gmd,pop909,tcn_poly}."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from datamodules.music.parse import load_songs

DATA = Path(os.environ.get("LITMOTIF_DATA", "")) / "music"
pytestmark = pytest.mark.skipif(
    not (os.environ.get("LITMOTIF_DATA") and DATA.is_dir()), reason="LITMOTIF_DATA names no folder with music"
)


def test_all_of_groove_is_what_symusic_reads_and_splits_as_published(tmp_path):
    symusic = pytest.importorskip("symusic")
    songs = load_songs(DATA / "gmd", cache_dir=str(tmp_path), progress=False).songs
    assert Counter(song.split for song in songs) == {"train": 897, "val": 124, "test": 129}
    assert sum(len(song.onset) for song in songs) == 446_311
    with (DATA / "gmd/info.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    for song in songs[::29]:
        (track,) = symusic.Score(DATA / "gmd" / song.source, ttype="second").tracks
        notes = sorted((note.time, note.pitch, note.velocity) for note in track.notes)
        ours = sorted(zip(song.seconds(song.onset), song.pitch, song.velocity, strict=True))
        np.testing.assert_allclose(ours, notes, atol=2e-5)
        assert song.tempos[0, 1] == pytest.approx(float(rows[song.name]["bpm"]), abs=0.01)
    again = load_songs(DATA / "gmd", cache_dir=str(tmp_path), progress=False).songs
    assert all(np.array_equal(a.onset, b.onset) and a.labels == b.labels for a, b in zip(songs, again, strict=True))


def test_pop909_keeps_every_note_at_its_second_and_chords_on_beats(tmp_path):
    symusic = pytest.importorskip("symusic")
    songs = load_songs(DATA / "pop909", limit=50, max_bad=0, cache_dir=str(tmp_path), progress=False).songs
    assert len(songs) == 50
    for song in songs:
        score = symusic.Score(DATA / f"pop909/{song.name}/{song.name}.mid", ttype="second")
        theirs = np.sort([note.time for track in score.tracks for note in track.notes])
        assert len(theirs) == len(song.onset)
        np.testing.assert_allclose(
            np.sort(song.seconds(song.onset)) - song.seconds(song.onset[0]), theirs - theirs[0], atol=1e-3
        )
        beats = np.loadtxt(DATA / f"pop909/{song.name}/beat_midi.txt")[:, 0]
        lead = len(song.tempos) + 1 - len(beats)  # beats counted back to the first note
        seconds = song.seconds(np.arange(lead, lead + len(beats)))
        np.testing.assert_allclose(np.diff(seconds), np.diff(beats), atol=1e-9)
        np.testing.assert_allclose(seconds[0] - song.seconds(song.onset[0]), beats[0] - theirs[0], atol=1e-3)
        assert set(song.voices) == {"melody", "bridge", "piano"}
        assert song.key
    onsets = np.concatenate([[chord.onset for chord in song.chords] for song in songs])
    assert (np.abs(onsets - onsets.round()) < 0.01).mean() > 0.99


@pytest.mark.parametrize(
    ("name", "sizes"), [("JSB_Chorales", (229, 76, 77)), ("Nottingham", (694, 173, 170)), ("Piano_midi", (87, 12, 25))]
)
def test_rolls_are_what_scipy_reads_and_split_as_published(tmp_path, name, sizes):
    file = DATA / f"tcn_poly/{name}.mat"
    songs = load_songs(file, cache_dir=str(tmp_path), progress=False).songs
    count = Counter(song.split for song in songs)
    assert (count["train"], count["val"], count["test"]) == sizes
    for split, key in (("train", "traindata"), ("val", "validdata"), ("test", "testdata")):
        theirs = loadmat(file)[key].ravel()
        ours = [song.roll for song in songs if song.split == split]
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_every_chord_symbol_of_pop909_is_known():
    from datamodules.music.chords import parse_chord

    labels = {
        line.split()[2]
        for file in DATA.glob("pop909/*/chord_midi.txt")
        for line in file.read_text().splitlines()
        if line.strip()
    }
    assert len(labels) > 300
    assert all(parse_chord(label).label == "N" for label in labels if label == "N")
    assert {label for label in labels if parse_chord(label).root is None} == {"N"}
