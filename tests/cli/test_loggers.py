"""Records of a disk that is full: whole, or not there, and none of the earlier ones lost."""

import csv
import resource
from contextlib import contextmanager

import pytest
from lightning.pytorch.loggers import CSVLogger

from lit_models.cli import loggers


@contextmanager
def no_file_above(size):
    """What is written beyond is refused, and what fits is written: as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def logger(tmp_path):
    made = CSVLogger(tmp_path, name="", version="", flush_logs_every_n_steps=1)
    loggers.spare(made)
    for step in range(5):
        made.log_metrics({"loss": step + 0.123456789}, step + 1)
    return made


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_a_record_that_fits_in_part_is_cut_off_and_written_later(logger, tmp_path):
    before = rows(tmp_path)
    with no_file_above((tmp_path / "metrics.csv").stat().st_size + 5), pytest.warns(UserWarning, match="cannot write"):
        logger.log_metrics({"loss": 7.123456789}, 6)
    assert rows(tmp_path) == before
    logger.log_metrics({"loss": 8.0}, 7)
    assert rows(tmp_path) == [*before, {"loss": 7.123456789, "step": 6}, {"loss": 8, "step": 7}]


def test_new_columns_that_do_not_fit_cost_no_earlier_record(logger, tmp_path):
    before = rows(tmp_path)
    with no_file_above((tmp_path / "metrics.csv").stat().st_size - 5), pytest.warns(UserWarning, match="cannot write"):
        logger.log_metrics({"accuracy": 0.5}, 6)
    assert rows(tmp_path) == before
    logger.log_metrics({"accuracy": 0.75}, 7)
    assert rows(tmp_path) == [*before, {"accuracy": 0.5, "step": 6}, {"accuracy": 0.75, "step": 7}]


def test_a_file_without_a_whole_line_is_taken_away(tmp_path):
    (tmp_path / "metrics.csv").write_text("los")
    loggers.cut_unfinished_line(tmp_path / "metrics.csv")
    assert not (tmp_path / "metrics.csv").exists()
