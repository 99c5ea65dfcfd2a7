import os
import sys
import textwrap

import pytest

from datamodules.core import DataError
from datamodules.music import parse as parse_module
from datamodules.music.parse import load_songs, parse
from datamodules.music.readers import Source, read
from datamodules.music.readers.midi import Midi
from datamodules.music.song import Song, sorted_notes

from .files import SCALE, write_groove, write_midi

READER = """
    import os, signal, sys, time
    from dataclasses import dataclass
    from litmotif.errors import DataError
    from datamodules.music.readers import Reader
    from datamodules.music.song import Song, sorted_notes

    @dataclass(frozen=True)
    class Trying(Reader):
        name = "trying"
        wants = "anything"

        def find(self, root):
            return []

        def read(self, source):
            match source.name.partition(" ")[0]:
                case "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "exit":
                    sys.exit(3)
                case "hang":
                    time.sleep(60)
                case "raise":
                    raise KeyError("no such event")
                case "refuse":
                    raise DataError(f"{source.name}: no notes.")
                case "nothing":
                    return []
            return [Song(name=source.name, **sorted_notes([0], [1], [os.getpid() % 128], [1], [0]))]

    @dataclass(frozen=True)
    class Heavy(Trying):
        def prepare(self, sources):
            time.sleep(1.5)
"""


@pytest.fixture
def trying(tmp_path, monkeypatch):
    """A reader in a module that other processes can import, that does what its sources are called."""
    (tmp_path / "trying_reader.py").write_text(textwrap.dedent(READER))
    monkeypatch.syspath_prepend(str(tmp_path))
    import trying_reader  # type: ignore[import-not-found]

    yield trying_reader.Trying()
    del sys.modules["trying_reader"]


def sources(*names):
    return [Source(name, ()) for name in names]


def test_files_that_break_crash_or_hang_are_left_out_and_the_others_read(trying):
    names = [f"good {k}" for k in range(40)]
    names[3:3] = ["crash 1", "crash 2"]
    names[20:20] = ["hang"]
    names[30:30] = ["raise", "exit", "nothing", "refuse"]
    names.append("crash 3")
    found = parse(trying, sources(*names), workers=2, time_limit=1.0, progress=False)
    assert [song.name for song in found.songs] == [f"good {k}" for k in range(40)]
    assert [tuple(broken) for broken in found.broken] == [
        ("crash 1", "crashed the process that read it (exit code -11)"),
        ("crash 2", "crashed the process that read it (exit code -11)"),
        ("hang", "took longer than 1 s"),
        ("raise", "KeyError: 'no such event'"),
        ("exit", "crashed the process that read it (exit code 3)"),
        ("refuse", "refuse: no notes."),
        ("crash 3", "crashed the process that read it (exit code -11)"),
    ]


def test_what_a_reader_imports_first_takes_no_time_of_a_source(trying):
    found = parse(sys.modules["trying_reader"].Heavy(), sources("good 1", "hang"), 1, time_limit=1.0, progress=False)
    assert [song.name for song in found.songs] == ["good 1"]
    assert [broken.reason for broken in found.broken] == ["took longer than 1 s"]


def test_sources_are_read_elsewhere_by_as_many_processes_as_asked(trying):
    names = [f"good {k}" for k in range(64)]
    for workers in (1, 2):
        songs = parse(trying, sources(*names), workers=workers, progress=False).songs
        assert [song.name for song in songs] == names
        pids = {int(song.pitch[0]) for song in songs}
        assert os.getpid() % 128 not in pids or workers == 2
        assert 1 <= len(pids) <= workers


def test_a_process_that_cannot_begin_blames_no_file(trying, monkeypatch):
    monkeypatch.setattr(parse_module, "_serve", os._exit)  # called with a pipe: it ends at once
    with pytest.raises(RuntimeError, match="before it began"):
        parse(trying, sources("good"), workers=1, progress=False)


# ---------------------------------------------------------------------- the share of broken files
def folder(root, good, bad):
    for k in range(good):
        write_midi(root / f"{k:02}.mid", {"piano": SCALE})
    for k in range(bad):
        (root / f"bad{k:02}.mid").write_bytes(b"MThd\x00\x00\x00\x06no")
    return root


def test_a_tolerated_share_is_reported_and_counted(tmp_path):
    root = folder(tmp_path / "music", 9, 1)
    for _ in range(2):  # parsed, then from the cache
        with pytest.warns(UserWarning, match=r"1 of 10 files are broken and were left out:\n  bad00\.mid: "):
            found = load_songs(root, max_bad=0.1, cache_dir=str(tmp_path), progress=False)
        assert (len(found.songs), [broken.source for broken in found.broken]) == (9, ["bad00.mid"])
    with pytest.raises(DataError, match=r"Tolerated: 5% \(max_bad\)"):
        load_songs(root, cache_dir=str(tmp_path), progress=False)


def test_too_many_broken_files_list_the_first_ten_and_keep_nothing(tmp_path):
    root = folder(tmp_path / "music", 1, 12)
    with pytest.raises(DataError, match="12 of 13 files are broken") as raised:
        load_songs(root, cache_dir=str(tmp_path), progress=False)
    message = str(raised.value)
    assert "bad09.mid" in message
    assert "bad10.mid" not in message
    assert "and 2 more" in message
    assert not list((tmp_path / "music").glob("*.npz"))


def test_all_broken_is_an_error_whatever_is_tolerated(tmp_path):
    write_midi(tmp_path / "a.mid", {"piano": []})
    with pytest.raises(DataError, match=r"1 of 1 files are broken(.|\n)*a\.mid: no notes"):
        load_songs(tmp_path, max_bad=1.0, cache_dir=str(tmp_path), progress=False)


# ---------------------------------------------------------------------- the cache
@pytest.fixture
def count(monkeypatch):
    """How often files were parsed."""
    calls = []

    def counted(*args):
        calls.append(args)
        return parse(*args)

    monkeypatch.setattr(parse_module, "parse", counted)
    return calls


def test_songs_are_parsed_once_and_again_when_anything_changes(tmp_path, count):
    root, cache = write_groove(tmp_path / "gmd"), str(tmp_path / "cache")

    def load(**options):
        return load_songs(root, cache_dir=cache, progress=False, workers=1, **options)

    first, second = load(), load()
    assert len(count) == 1
    assert [(song.name, song.labels, song.split) for song in first.songs] == [
        (song.name, song.labels, song.split) for song in second.songs
    ]
    assert all((a.onset == b.onset).all() for a, b in zip(first.songs, second.songs, strict=True))
    assert len(load(limit=2).songs) == 2
    assert len(count) == 2
    table = root / "info.csv"
    table.write_text(table.read_text().replace("rock", "funk"))
    assert {song.labels["style"] for song in load().songs} == {"funk"}
    assert len(count) == 3
    write_midi(root / "d1/a.mid", {"drums": [(0.0, 0.1, 38, 1), (1.0, 0.1, 38, 2), (2.0, 0.1, 38, 3)]})
    assert len(load().songs[0].onset) == 3
    assert len(count) == 4
    load()
    assert len(count) == 4


def test_a_damaged_cache_is_made_anew(tmp_path, count):
    root = write_groove(tmp_path / "gmd")
    load_songs(root, cache_dir=str(tmp_path), progress=False)
    (kept,) = (tmp_path / "music").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-50])
    with pytest.warns(UserWarning, match="is damaged .* its songs are made anew"):
        load_songs(root, cache_dir=str(tmp_path), progress=False)
    assert len(count) == 2


def test_options_reach_the_reader_and_the_key(tmp_path, count):
    (tmp_path / "Jsb16thSeparated.json").write_text('{"train": [[[60]]], "valid": [[[60]]], "test": [[[60]]]}')
    rates = [
        load_songs(tmp_path, "rolls", cache_dir=str(tmp_path / "cache"), progress=False, **options).songs[0].roll_rate
        for options in ({}, {"rate": 2.0})
    ]
    assert rates == [4.0, 2.0]
    assert len(count) == 2
    assert read(tmp_path, "rolls", rate=2.0)[0].fingerprint()["options"] == {"rate": 2.0}


def test_a_reader_of_another_version_reads_anew(tmp_path, count, monkeypatch):
    write_midi(tmp_path / "a.mid", {"piano": SCALE})
    for version in (1, 1, 2):
        monkeypatch.setattr(Midi, "version", version)
        load_songs(tmp_path, cache_dir=str(tmp_path / "cache"), progress=False, workers=1)
    assert len(count) == 2


def test_reading_in_this_process_gives_the_same_song(tmp_path):
    write_midi(tmp_path / "a.mid", {"piano": SCALE})
    reader, found = read(tmp_path)
    (here,), (there,) = reader.read(found[0]), parse(reader, found, progress=False).songs
    assert isinstance(there, Song)
    for name in sorted_notes([], [], [], [], []):
        assert (getattr(here, name) == getattr(there, name)).all()
