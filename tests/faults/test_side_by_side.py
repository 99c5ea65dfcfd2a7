"""Runs beside one another: each has a folder of its own, one process at a time trains in it, none is forgotten."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml

from lit_models.cli import main, run_claim
from lit_models.cli.commands import run_process
from lit_models.cli.errors import FAILED
from lit_models.cli.run_claim import Hold, RunFolderError, claim

from ..cli import plain
from ..cli.tiny import write
from ..launcher import Start

RUN = Path("runs/plain/version_0")
SHORT = ["--trainer.logger=[{class_path: CSVLogger, init_args: {save_dir: runs}}]"]


@pytest.fixture
def config(in_tmp):
    return write(in_tmp, "plain.yaml", plain.CONFIG)


def in_a_process(action):
    """Fork; the process does it and ends with the status 0, or 1 where it raises."""
    pid = os.fork()
    if not pid:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return pid


def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---------------------------------------------------------------------- each its own
@pytest.mark.parametrize("kind", ["fit", "test"])
def test_claims_at_one_moment_are_all_different(tmp_path, kind):
    gate = tmp_path / "gate"

    def one():
        until(gate.exists)
        for _ in range(20):
            (claim(tmp_path / "runs", None, kind) / str(os.getpid())).touch(exist_ok=False)

    processes = [in_a_process(one) for _ in range(8)]
    gate.touch()
    assert [status_of(pid) for pid in processes] == [0] * 8
    folders = list((tmp_path / "runs").iterdir())
    assert len(folders) == 160
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)


def test_a_sweep_in_the_shell_gives_a_run_a_seed(config, in_tmp, launcher):
    starts = [
        Start(["fit", "-c", "plain.yaml", "--seed_everything", str(seed), *SHORT], str(in_tmp), f"{in_tmp}/said_{seed}")
        for seed in range(4)
    ]
    ends = launcher.run(*starts)
    assert [end.status for end in ends] == [0] * 4, (in_tmp / "said_0").read_text()
    runs = sorted(Path("runs/plain").iterdir())
    assert [run.name for run in runs] == [f"version_{number}" for number in range(4)]
    seeds = {yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] for run in runs}
    assert seeds == {0, 1, 2, 3}
    for run in runs:
        assert (run / "checkpoints/last.ckpt").is_file()
        assert not list(run.glob("config_*"))


def test_a_failed_start_leaves_no_folder_behind(config):
    assert main(["fit", "-c", config, "--model.optimizer.lr=-1"]) != 0
    assert not list(Path("runs/plain").glob("*")) or (RUN / "config.yaml").is_file()


def test_a_place_that_cannot_be_written_is_named_before_anything_else(tmp_path):
    (tmp_path / "runs").write_text("no folder")
    with pytest.raises(RunFolderError, match=r"runs.*default_root_dir"):
        claim(tmp_path / "runs")


@pytest.mark.parametrize("job", ["../../escape", "8 12", "8\n12", "", "/tmp"])  # noqa: S108
def test_the_environment_names_no_folder_elsewhere(job, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", job)
    with pytest.raises(RunFolderError, match="SLURM_JOB_ID"):
        claim(tmp_path / "runs")
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(run_claim.CHILD, str(tmp_path / "nowhere"))
    with pytest.raises(RunFolderError, match="nowhere"):
        claim(tmp_path / "runs")


def test_a_process_that_is_not_the_first_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    claim(tmp_path / "runs")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- one at a time
def test_a_second_resume_is_refused_with_the_number_of_the_first(config, capsys):
    assert main(["fit", "-c", config, *SHORT]) == 0
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    hold = Hold(RUN)
    again = ["fit", "-c", config, *SHORT, "--ckpt_path", "last", "--trainer.max_epochs=3"]
    assert main(again) == FAILED
    assert f"process {os.getpid()}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before
    hold.release()
    assert main(again) == 0


def test_a_hold_ends_with_its_process_and_waits_for_the_children_of_a_killed_one(tmp_path):
    def holds():
        Hold(tmp_path)
        os.fork()  # as a worker of a loader, which the handle outlives
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60)

    def begun():
        return {int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()}

    pid = in_a_process(holds)
    until(lambda: len(begun()) == 2)
    with pytest.raises(RunFolderError, match=f"process {pid} on"):
        Hold(tmp_path)
    os.kill(pid, signal.SIGKILL)
    assert status_of(pid) == -signal.SIGKILL
    (worker,) = begun() - {pid}
    ends = in_a_process(lambda: (time.sleep(0.5), os.kill(worker, signal.SIGKILL)))
    Hold(tmp_path).release()
    assert status_of(ends) == 0


def test_what_a_killed_process_left_is_cleaned_and_links_are_not_written_through(tmp_path):
    run = tmp_path / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    for name in (".history.json.x1.tmp", "checkpoints/.last.ckpt.partial", "checkpoints/best.ckpt"):
        (run / name).touch()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (run / "hparams.yaml").symlink_to(victim)
    Hold(run).release()
    assert {path.name for path in run.rglob("*")} == {"checkpoints", "best.ckpt", run_claim.LOCK}
    assert victim.read_text() == "mine"


def test_a_checkpoint_replaces_a_link_in_its_place(config, in_tmp):
    assert main(["fit", "-c", config, *SHORT]) == 0
    for name in ("best", "last"):
        victim = in_tmp / f"victim_{name}"
        victim.write_text("mine")
    link = RUN / "checkpoints/best.ckpt"
    link.unlink(missing_ok=True)
    link.symlink_to(in_tmp / "victim_best")
    assert main(["fit", "-c", config, *SHORT, "--ckpt_path", "last", "--trainer.max_epochs=3"]) == 0
    assert (in_tmp / "victim_best").read_text() == "mine"


# ---------------------------------------------------------------------- what only reads
def test_an_evaluation_changes_nothing_that_training_has_written(in_tmp):
    tested = plain.CONFIG.replace("PlainData", "JudgedData").replace("plain.Plain}", "plain.Judged}")
    config = write(in_tmp, "plain.yaml", tested)
    assert main(["fit", "-c", config, *SHORT]) == 0
    before = {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}
    assert RUN / "results.json" in before
    for command in ("validate", "test", "predict"):
        for number in range(2):
            assert main([command, "-c", config, "--ckpt_path", "last", *SHORT]) == 0
            written = RUN / f"{command}_{number}"
            config_of = yaml.safe_load((written / "config.yaml").read_text())
            assert config_of["ckpt_path"].endswith("last.ckpt")
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in (RUN / "test_1").iterdir()} >= {"results.json", "metrics.csv"}
    assert (RUN / "validate_0/results_val.json").is_file()
    assert (RUN / "predict_1/predictions.pt").is_file()
    names = {path.relative_to(RUN).parts[0] for path in RUN.rglob("*") if path not in before}
    assert names <= {f"{command}_{number}" for command in ("validate", "test", "predict") for number in range(2)} | {
        "checkpoints"
    }


# ---------------------------------------------------------------------- parent and child
FAKE = """#!{python}
import os, pathlib, time
from lit_models.cli.commands.run_process import end_with_parent
end_with_parent()
pathlib.Path("child").write_text(str(os.getpid()))
time.sleep(60)
"""


def test_a_run_of_a_series_ends_with_a_series_that_is_killed(in_tmp, monkeypatch):
    fake = in_tmp / "python"
    fake.write_text(FAKE.format(python=sys.executable))
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    parent = in_a_process(lambda: run_process.run(["fit"]))
    child = in_tmp / "child"
    until(lambda: child.is_file() and child.read_text())
    os.kill(parent, signal.SIGKILL)
    status_of(parent)
    until(lambda: not _runs(int(child.read_text())), 10)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
