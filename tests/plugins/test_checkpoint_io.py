"""Checkpoints are whole, or not taken: exhaustive damage, full disks, folders that cannot be written."""

import errno
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from lit_models.cli import main
from lit_models.core.checkpoint import CheckpointError, damage, read
from lit_models.plugins.checkpoint_io import AtomicCheckpointIO
from tests.disks import small_disk

from ..cli import plain
from ..cli.tiny import write


def content(step):
    return {"state_dict": {"weight": torch.full((3,), float(step))}, "global_step": step}


@pytest.fixture
def saved(tmp_path):
    AtomicCheckpointIO().save_checkpoint(content(1), tmp_path / "one.ckpt")
    return tmp_path / "one.ckpt"


def test_a_file_opens_everywhere(saved):
    assert torch.equal(torch.load(saved, weights_only=True)["state_dict"]["weight"], torch.ones(3))
    assert torch.load(saved, weights_only=True, mmap=True)["global_step"] == 1
    with zipfile.ZipFile(saved) as archive:
        assert archive.testzip() is None
    assert damage(saved) is None


def test_a_file_with_the_seal_of_version_0_1_is_read_as_ever(saved):
    """A comment of the archive: a checksum of all that is before it."""
    whole = saved.read_bytes()[:-2] + (80).to_bytes(2, "little") + b"litmotif sha256 "
    saved.write_bytes(whole + hashlib.sha256(whole).hexdigest().encode())
    assert damage(saved) is None
    assert read(saved)["global_step"] == 1
    changed = saved.read_bytes().replace(torch.ones(1).numpy().tobytes(), bytes(4))
    saved.write_bytes(changed)
    assert "checksum" in damage(saved)


def places(whole):
    """Everywhere in the first and the last records of the archive, and now and then between them."""
    return [place for place in range(len(whole)) if place < 64 or place % 9 == 0 or place > len(whole) - 160]


def test_every_truncation_is_noticed(saved, tmp_path):
    whole, cut = saved.read_bytes(), tmp_path / "cut.ckpt"
    for size in places(whole):
        cut.write_bytes(whole[:size])
        assert damage(cut), f"cut to {size} of {len(whole)} bytes"
    cut.write_bytes(bytes(len(whole)))  # what a power cut leaves on some file systems
    assert damage(cut)


def test_every_flipped_bit_is_noticed_or_changes_nothing(saved, tmp_path):
    whole, flipped = bytearray(saved.read_bytes()), tmp_path / "flipped.ckpt"
    for position in places(whole):
        whole[position] ^= 1 << position % 8
        flipped.write_bytes(whole)
        if not damage(flipped):  # of padding, or of what nobody reads
            found = torch.load(flipped, weights_only=True)
            assert torch.equal(found["state_dict"]["weight"], torch.ones(3)), f"byte {position} of {len(whole)}"
            assert found["global_step"] == 1
        whole[position] ^= 1 << position % 8
    middle = next(p for p in range(len(whole)) if whole[p : p + 4] == torch.ones(1).numpy().tobytes())
    whole[middle] ^= 1
    flipped.write_bytes(whole)
    assert not torch.equal(torch.load(flipped)["state_dict"]["weight"], torch.ones(3))  # PyTorch takes it
    with pytest.raises(CheckpointError, match=r"flipped.ckpt is damaged: the checksum of .*data/0 is wrong"):
        read(flipped)


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_of_another_program_needs_no_seal(archive, tmp_path):
    torch.save(content(1), tmp_path / "other.ckpt", _use_new_zipfile_serialization=archive)
    assert damage(tmp_path / "other.ckpt") is None
    assert read(tmp_path / "other.ckpt")["global_step"] == 1


def save(folder, *steps, io=None):
    io = io or AtomicCheckpointIO()
    for step in steps:
        io.save_checkpoint(content(step), folder / "last.ckpt")
    return io


def step_of(path):
    return read(path)["global_step"]


def test_last_keeps_one_predecessor_which_replaces_it_when_it_is_damaged(tmp_path, capsys):
    save(tmp_path, 1, 2, 3)
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    assert (step_of(last), step_of(previous)) == (3, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    last.write_bytes(last.read_bytes()[:-1])
    io = AtomicCheckpointIO()
    assert io.intact(last) == previous
    err = capsys.readouterr().err
    assert str(last) in err
    assert str(previous) in err
    assert io.load_checkpoint(last, weights_only=True)["global_step"] == 2
    save(tmp_path, 4, io=io)
    assert (step_of(last), step_of(previous)) == (4, 2)  # a damaged one is nobody's predecessor
    save(tmp_path, 5, io=io)
    assert (step_of(last), step_of(previous)) == (5, 4)


def test_without_a_whole_one_there_is_an_error(tmp_path):
    save(tmp_path, 1)
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and no more")
        with pytest.raises(CheckpointError, match=r"last.ckpt is damaged: its end is missing"):
            AtomicCheckpointIO().intact(tmp_path / "last.ckpt")


def test_a_file_system_without_hard_links_keeps_a_predecessor_too(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    save(tmp_path, 1, 2)
    assert (step_of(tmp_path / "last.ckpt"), step_of(tmp_path / "previous.ckpt")) == (2, 1)


def test_the_file_is_synced_before_its_name_and_the_folder_after(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace

    def spy_sync(handle):
        order.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def spy_replace(self, target):
        order.append(f"{self.name} becomes {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    save(tmp_path, 1)
    assert order == [".last.ckpt.partial", ".last.ckpt.partial becomes last.ckpt", tmp_path.name]


def test_a_save_that_is_cut_off_leaves_the_one_before(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def stop(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2)
    assert step_of(tmp_path / "last.ckpt") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_is_survived_and_remembered_until_a_save_succeeds(tmp_path):
    io = save(tmp_path, 1)
    (tmp_path / ".last.ckpt.partial").symlink_to("/dev/full")  # the kernel's own ENOSPC, for any user
    with pytest.warns(UserWarning, match=rf"last.ckpt could not be saved.*{os.strerror(errno.ENOSPC)}"):
        save(tmp_path, 2, io=io)
    assert step_of(tmp_path / "last.ckpt") == 1
    assert list(io.unsaved) == [tmp_path / "last.ckpt"]
    save(tmp_path, 3, io=io)
    assert not io.unsaved
    assert (step_of(tmp_path / "last.ckpt"), step_of(tmp_path / "previous.ckpt")) == (3, 1)


def test_a_folder_that_cannot_be_made_is_survived(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.warns(UserWarning, match="there is none of that name yet"):
        save(tmp_path / "checkpoints", 1)


@pytest.fixture
def disk(in_tmp):
    """A file system of 512 kB that can be filled up and write-protected."""
    with small_disk(in_tmp / "runs", "512k") as folder:
        yield folder


QUICK = [
    "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {filename: last, enable_version_counter: false}}]",
    "--trainer.log_every_n_steps=1",
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's own thread
@pytest.mark.parametrize(
    ("trouble", "logger"),
    [("full", "TensorBoardLogger"), ("write-protected", "TensorBoardLogger"), ("write-protected", "CSVLogger")],
)
def test_a_run_on_a_disk_in_trouble_ends_and_says_what_is_missing(trouble, logger, disk, in_tmp, monkeypatch, capsys):
    folder = disk / "plain/version_0/checkpoints"

    epochs = []

    def begin_trouble(self):
        epochs.append(self.current_epoch)
        if self.current_epoch == 2 and trouble == "full":
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                (disk / "filler").write_bytes(bytes(1 << 20))
        elif self.current_epoch == 2:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)  # noqa: S607

    monkeypatch.setattr(plain.Plain, "on_train_epoch_start", begin_trouble)
    options = ["-c", write(in_tmp, "plain.yaml", plain.CONFIG), "--trainer.max_epochs=4"]
    options += [f"--trainer.logger=[{{class_path: {logger}, init_args: {{save_dir: runs}}}}]"]
    with pytest.warns(UserWarning, match=r"could not be saved|cannot write") as warned:
        assert main(["fit", *options, *QUICK]) == 1
    warnings = " ".join(str(warning.message) for warning in warned)
    assert "last.ckpt could not be saved" in warnings
    assert trouble == "full" or f"{logger} cannot write" in warnings  # a full disk may have room for a line
    said = capsys.readouterr()
    assert epochs == [0, 1, 2, 3]
    assert "last.ckpt was not saved at last" in said.err
    assert "Traceback" not in said.err
    assert [step_of(folder / name) for name in ("previous.ckpt", "last.ckpt")] == [2, 4]


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(in_tmp, capsys):
    config = write(in_tmp, "plain.yaml", plain.CONFIG)
    assert main(["fit", "-c", config, "--trainer.max_epochs=4"]) == 0
    folder = Path("runs/plain/version_0/checkpoints")
    whole = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    damaged = bytearray((folder / "last.ckpt").read_bytes())
    damaged[len(damaged) // 2] ^= 4
    (folder / "last.ckpt").write_bytes(damaged)
    assert main(["fit", "-c", config, "--trainer.max_epochs=4", "--ckpt_path=last"]) == 0
    err = capsys.readouterr().err
    assert "last.ckpt is damaged" in err
    assert "previous.ckpt" in err
    again = torch.load(folder / "last.ckpt", weights_only=True)
    assert again["global_step"] == 8
    assert all(torch.equal(again["state_dict"][key], whole[key]) for key in whole)
