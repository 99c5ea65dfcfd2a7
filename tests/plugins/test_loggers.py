"""Loggers whose files the operating system refuses."""

import errno
import os
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lit_models.cli import main
from lit_models.plugins.loggers import FaultTolerant, fault_tolerant

from ..cli import plain
from ..cli.tiny import write


class Refusing(CSVLogger):
    """Its ``error`` comes from a disk, possibly behind another one, as TensorBoardLogger's does."""

    error = None

    def log_metrics(self, metrics, step=None):
        raise self.error


class Tolerant(FaultTolerant, Refusing):
    pass


def test_a_logger_that_the_disk_refuses_warns_once_and_its_own_mistakes_are_raised(tmp_path):
    logger = Tolerant(tmp_path)
    Refusing.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.warns(UserWarning, match=os.strerror(errno.ENOSPC)):
        logger.log_metrics({})
    behind = ValueError("you tried to log")
    behind.__cause__, Refusing.error = Refusing.error, behind
    logger.log_metrics({})  # a second warning would be an error here
    Refusing.error = ValueError("of its own")
    with pytest.raises(ValueError, match="of its own"):
        logger.log_metrics({})


@pytest.mark.parametrize("kind", ["TensorBoardLogger", "CSVLogger", "WandbLogger"])
def test_lightning_s_loggers_are_built_fault_tolerant_and_others_as_they_are(kind):
    assert fault_tolerant(f"lightning.pytorch.loggers.{kind}") == f"lit_models.plugins.loggers.FaultTolerant{kind}"
    assert fault_tolerant(f"mine.{kind}") == f"mine.{kind}"
    assert fault_tolerant("lightning.pytorch.loggers.MLFlowLogger") == "lightning.pytorch.loggers.MLFlowLogger"


def test_the_config_of_a_run_keeps_the_logger_that_was_asked_for(in_tmp, monkeypatch, capsys):
    kinds = []
    monkeypatch.setattr(plain.Plain, "on_fit_start", lambda module: kinds.extend(module.trainer.loggers))
    assert main(["fit", "-c", write(in_tmp, "plain.yaml", plain.CONFIG), "--trainer.max_epochs=1"]) == 0
    (logger,) = kinds
    assert isinstance(logger, TensorBoardLogger)
    assert isinstance(logger, FaultTolerant)
    (config,) = Path("runs/plain/version_0").glob("config.yaml")
    assert "class_path: lightning.pytorch.loggers.TensorBoardLogger" in config.read_text()
