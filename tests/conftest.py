import warnings
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_a_cache_of_its_own(monkeypatch, tmp_path_factory):
    """Tests share two cores and one cache folder, never that of the user."""
    torch.set_num_threads(1)
    monkeypatch.setenv("LITMOTIF_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("LITMOTIF_RUN_FOLDER", raising=False)


@pytest.fixture
def in_tmp(tmp_path, monkeypatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _leave_the_filters_alone():
    with warnings.catch_warnings():
        yield
