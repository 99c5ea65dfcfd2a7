import os

import pytest

from litmotif.files import write_atomically


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "new" / "history.json"
    write_atomically(path, b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"newer")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"newer"
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_failure_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    path = tmp_path / "history.json"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"newer")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]
