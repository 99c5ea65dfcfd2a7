"""Jobs on two real nodes: the numbers of one process, and runs that survive requeues and kills to the last bit."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from lit_models.cli import main

from ..conformance.registry import REGISTRY

pytestmark = pytest.mark.slurm
NAMES = ["CPO", "MDLMDiT", "MotionDDPM", "StateActionDDPM"]
CLOCKS = {"seconds", "train/steps_per_second", "moving_average", "summary"}
CSV = {"class_path": "CSVLogger", "init_args": {"save_dir": "runs"}}
STEP = 8  # of ten: in the middle of the second epoch


def prepare(name, folder, *, pause=False):
    """A folder with the tiny config of an algorithm, and the script that ``litmotif slurm`` makes of it."""
    folder.mkdir()
    entry = REGISTRY[name]
    callbacks = [{"class_path": "tests.cluster.pause.Pause", "init_args": {"step": STEP, "folder": str(folder)}}]
    config = {
        "model": {"class_path": name, "init_args": dict(entry.tiny)},
        "data": {"class_path": entry.data, "init_args": dict(entry.tiny_data)},
        "trainer": {"max_epochs": 2, "num_sanity_val_steps": 0, "logger": CSV},
        "test_after_fit": False,
    }
    if pause:
        config["trainer"]["callbacks+"] = callbacks
    (folder / "tiny.yaml").write_text(yaml.safe_dump(config))
    asked = "--nodes 2 --gpus 0 --cpus 1 --time 0:10:00 --trainer.enable_model_summary=false"
    script = folder / "job.sbatch"
    assert main(["slurm", "-c", str(folder / "tiny.yaml"), *asked.split(), "--output", str(script)]) == 0
    return script


def outcome(folder):
    """Weights, history, and the folder of the only run."""
    (run,) = (folder / "runs/tiny").iterdir()
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    history = json.loads((run / "history.json").read_text())
    return weights, {key: column for key, column in history.items() if key not in CLOCKS}, run


def same(one, other):
    """To the last bit."""
    (weights, history, _), (others, another, _) = one, other
    return all(torch.equal(weights[key], others[key]) for key in weights) and history == another


def numbers(column):
    return [float("nan") if value is None else value for value in column]


@pytest.fixture(scope="module")
def uninterrupted(cluster, tmp_path_factory):
    """Jobs by algorithm, all submitted at once, with their folders."""
    folders = {name: tmp_path_factory.mktemp("cluster") / name for name in NAMES}
    return {name: (cluster.submit(prepare(name, folder)), folder) for name, folder in folders.items()}


@pytest.fixture
def whole(cluster, uninterrupted):
    def finished(name):
        job, folder = uninterrupted[name]
        about = cluster.wait(job, "COMPLETED", "FAILED", seconds=300)
        assert about["JobState"] == "COMPLETED", Path(about["StdOut"]).read_text()
        return outcome(folder)

    return finished


@pytest.mark.filterwarnings("ignore:Creating legend with loc=.best. can be slow")
@pytest.mark.parametrize("name", NAMES)
def test_two_nodes_equal_one_process(name, whole, tmp_path, monkeypatch):
    weights, history, run = whole(name)
    assert run.name.startswith("version_")
    assert (run / "slurm_jobs").read_text().split() == [f"{run.name.removeprefix('version_')}.0"]
    monkeypatch.chdir(tmp_path)
    prepare(name, tmp_path / "one")
    monkeypatch.chdir(tmp_path / "one")
    assert main(["fit", "-c", "tiny.yaml", "--trainer.accelerator=cpu", "--trainer.devices=1"]) == 0
    expected, course, _ = outcome(tmp_path / "one")
    for key, value in expected.items():
        torch.testing.assert_close(weights[key], value, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")
    assert history.keys() == course.keys()
    for column, values in course.items():
        assert numbers(history[column]) == pytest.approx(numbers(values), rel=1e-4, abs=1e-6, nan_ok=True), column


def reached(folder):
    """Process ids of both ranks once they wait in the middle of the epoch."""
    deadline = time.monotonic() + 150
    files = [folder / "reached_0", folder / "reached_1"]
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < deadline, "\n".join(log.read_text() for log in folder.glob("slurm-*"))
        time.sleep(0.2)
    return [int(file.read_text()) for file in files]


def go_on(cluster, job, folder):
    """Let go, and do not wait the two minutes that SLURM gives a requeued job."""
    time.sleep(1)
    (folder / "go").touch()
    cluster.wait(job, "PENDING")
    time.sleep(1)
    cluster.run("scontrol", "update", f"jobid={job}", "starttime=now")
    about = cluster.wait(job, "COMPLETED", "FAILED", "TIMEOUT")
    said = Path(about["StdOut"]).read_text()
    assert about["JobState"] == "COMPLETED", said
    assert about["Restarts"] == "1"
    return said


def test_a_job_that_is_warned_saves_requeues_itself_and_ends_bit_equal(cluster, whole, tmp_path):
    folder = tmp_path / "job"
    job = cluster.submit(prepare("MDLMDiT", folder, pause=True))
    reached(folder)
    cluster.run("scancel", "--signal=USR1", job)
    said = go_on(cluster, job, folder)
    assert f"Job {job} is saved and queued again" in said
    assert f"SIGUSR1 at step {STEP}" in said
    assert same(outcome(folder), whole("MDLMDiT"))


def test_a_job_that_an_operator_requeues_ends_bit_equal(cluster, whole, tmp_path):
    folder = tmp_path / "job"
    job = cluster.submit(prepare("CPO", folder, pause=True))
    reached(folder)
    cluster.run("scontrol", "requeue", job)
    go_on(cluster, job, folder)
    assert same(outcome(folder), whole("CPO"))


def test_a_job_that_loses_a_process_fails_at_once_and_a_new_one_ends_bit_equal(cluster, whole, tmp_path):
    folder = tmp_path / "job"
    script = prepare("StateActionDDPM", folder, pause=True)
    job = cluster.submit(script)
    os.kill(reached(folder)[1], signal.SIGKILL)
    began = time.monotonic()
    assert cluster.wait(job, "COMPLETED", "FAILED", "TIMEOUT")["JobState"] == "FAILED"
    assert time.monotonic() - began < 60
    (folder / "go").touch()
    again = cluster.submit(script, "--ckpt_path", "last")
    about = cluster.wait(again, "COMPLETED", "FAILED")
    assert about["JobState"] == "COMPLETED", Path(about["StdOut"]).read_text()
    assert same(outcome(folder), whole("StateActionDDPM"))


def test_a_main_node_without_an_address_is_named_at_once(cluster, tmp_path):
    script = prepare("MDLMDiT", tmp_path / "job")
    job = cluster.submit(script, MASTER_ADDR="nowhere.invalid")
    about = cluster.wait(job, "FAILED", "COMPLETED")
    said = Path(about["StdOut"]).read_text()
    assert about["JobState"] == "FAILED"
    assert "the main node 'nowhere.invalid' has no address here" in said
    assert "export MASTER_ADDR=" in said
