import os
import signal
import warnings
from pathlib import Path

import pytest
import torch

from .launcher import Launcher


def pytest_sessionstart(session):
    """Terminated (``timeout``, ``kill``), the tests end: Lightning would fail the test that trains, and go on."""
    tests = os.getpid()

    def end(number, frame):
        if os.getpid() == tests:
            pytest.exit("terminated", returncode=128 + number)
        signal.signal(number, signal.SIG_DFL)  # a forked process
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Tests of jobs share one cluster: they run in one process."""
    return 1 if config.option.markexpr == "slurm" else None


@pytest.fixture(autouse=True)
def _one_thread_and_a_cache_of_its_own(monkeypatch, tmp_path_factory):
    """Tests share two cores and one cache folder, never that of the user."""
    torch.set_num_threads(1)
    monkeypatch.setenv("LITMOTIF_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("LITMOTIF_RUN_FOLDER", raising=False)


@pytest.fixture(scope="session")
def launcher(tmp_path_factory):
    """Starts the command in processes of their own, without importing PyTorch in each."""
    made = Launcher(tmp_path_factory.mktemp("launcher"))
    yield made
    made.close()


@pytest.fixture
def in_tmp(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _leave_the_filters_alone():
    with warnings.catch_warnings():
        yield
