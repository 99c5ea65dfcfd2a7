"""Processes that SLURM starts: they agree on a folder, find their run again, and say so when they cannot meet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lit_models.cli import main, run_claim, run_folder
from lit_models.plugins.slurm_environment import ClusterError, MeetingSLURMEnvironment

from . import plain
from .tiny import write

ROOT = Path(__file__).resolve().parents[2]
STEP = {"SLURM_JOB_ID": "812", "SLURM_STEP_ID": "0"}
TASK = STEP | {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "SLURM_NODELIST": "n[1-2]"}


@pytest.fixture
def job(monkeypatch):
    """Sets the variables of a process that srun has started."""
    for name in [name for name in os.environ if name.startswith(("SLURM_", "MASTER_"))]:
        monkeypatch.delenv(name)

    def begin(**changes):
        for name, value in (STEP | changes).items():
            monkeypatch.setenv(name, value)

    return begin


def test_all_processes_of_a_step_come_to_one_folder_and_each_step_has_its_own(job, tmp_path):
    job()
    first = run_claim.claim(tmp_path)
    assert first.name == "version_812"
    assert run_claim.claim(tmp_path) == first  # a process that comes later
    job(SLURM_STEP_ID="1")
    assert run_claim.claim(tmp_path).name == "version_812_1"


def test_a_requeued_job_finds_its_own_run_also_one_that_it_had_resumed(job, tmp_path):
    job()
    for name, step in (("version_3", "812.0"), ("version_900", "900.0"), ("version_5", "81.0")):
        checkpoints = tmp_path / name / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "last.ckpt").touch()
        (checkpoints.parent / run_folder.JOBS).write_text(f"{step}\n")
    assert run_folder.of_requeued_job(tmp_path) is None  # its first start
    job(SLURM_RESTART_COUNT="1")
    assert run_folder.of_requeued_job(tmp_path) == str(tmp_path / "version_3/checkpoints/last.ckpt")
    (tmp_path / "version_3/checkpoints/last.ckpt").rename(tmp_path / "version_3/checkpoints/previous.ckpt")
    assert run_folder.of_requeued_job(tmp_path) == str(tmp_path / "version_3/checkpoints/previous.ckpt")
    job(SLURM_JOB_ID="813")
    assert run_folder.of_requeued_job(tmp_path) is None  # killed before its first checkpoint


def test_a_requeued_fit_goes_on_in_its_folder_and_a_requeued_test_does_as_it_is_told(job, in_tmp, capsys):
    config = write(in_tmp, "plain.yaml", plain.CONFIG)
    job(SLURM_NTASKS="1", SLURM_PROCID="0", SLURM_LOCALID="0", SLURM_NODEID="0", SLURM_JOB_NAME="mine")
    assert main(["fit", "-c", config, "--trainer.max_epochs=1"]) == 0, capsys.readouterr().err
    job(SLURM_RESTART_COUNT="1")
    assert main(["fit", "-c", config]) == 0
    (run,) = Path("runs/plain").iterdir()
    assert run.name == "version_812"
    assert (run / run_folder.JOBS).read_text().split() == ["812.0", "812.0"]
    assert (run / "checkpoints/previous.ckpt").is_file()
    assert "checkpoint and request differ" not in capsys.readouterr().err


def test_a_main_node_without_an_address_is_named_with_the_remedy(job, monkeypatch):
    job(**TASK)
    monkeypatch.setenv("MASTER_ADDR", "nowhere.invalid")
    with pytest.raises(ClusterError, match=r"Process 0 .*'nowhere.invalid' has no address.*export MASTER_ADDR="):
        MeetingSLURMEnvironment().expect_all()


MEET = """
import torch
from lit_models.plugins.slurm_environment import MeetingSLURMEnvironment
cluster = MeetingSLURMEnvironment()
cluster.expect_all()
torch.distributed.init_process_group("gloo", rank=0, world_size=2)
"""


def test_processes_that_do_not_meet_in_time_end_and_say_where_they_waited():
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29877", "LITMOTIF_RENDEZVOUS_MINUTES": "0.01"}
    done = subprocess.run(
        [sys.executable, "-c", MEET],
        env=ours | TASK | meeting | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "has not met the 1 other(s) at 127.0.0.1:29877 within 0.01 minutes" in done.stderr
    assert "LITMOTIF_RENDEZVOUS_MINUTES=10" in done.stderr
