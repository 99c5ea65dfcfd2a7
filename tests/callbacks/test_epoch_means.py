"""An epoch that was interrupted logs the means of the whole epoch."""

import csv

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import callbacks
from tests.conformance.cases import each_step, make, make_trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed from"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create"),
]
NAME = "MDLMDiT"  # logs means of an epoch, with and without values of each step


def rows(folder, *extra, **fit):
    history = callbacks.RunHistory(plots=False)
    module, data = make(NAME)
    make_trainer(folder, history, callbacks.EpochMeans(), *extra).fit(module, data, **fit)
    return [{name: value for name, value in row.items() if "second" not in name} for row in history.rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, rows(folder, each_step(folder))


@pytest.mark.parametrize("step", [1, 4, 6, 7, 9])
def test_history_is_equal_in_the_epoch_of_the_resume_too(step, whole, tmp_path):
    folder, expected = whole
    again = rows(tmp_path, ckpt_path=folder / f"step={step}.ckpt", weights_only=True)
    assert repr(again) == repr(expected)  # repr: NaN equals NaN
    assert expected[0]["train/nelbo"] != expected[1]["train/nelbo"]


@pytest.mark.parametrize("step", [5, 10])
def test_a_checkpoint_between_two_epochs_carries_nothing_over(step, whole, tmp_path):
    folder, expected = whole
    again = rows(tmp_path, ckpt_path=folder / f"step={step}.ckpt", weights_only=True)
    later = [row for row in again if row["epoch"] > step // 5]  # what was saved before a validation has none
    assert repr(later) == repr(expected[step // 5 :])


class Failing(callbacks.EpochMeans):
    """Fails after the batch has been logged, before it has stepped."""

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == 7:
            raise KeyError("in the middle of a step")


def test_a_batch_that_was_cut_off_counts_once(whole, tmp_path):
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    module, data = make(NAME)
    with pytest.raises(KeyError):
        make_trainer(tmp_path, callbacks.RunHistory(plots=False), Failing(), last).fit(module, data)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["callbacks"]["Failing"]["names"]
    checkpoint["callbacks"]["EpochMeans"] = checkpoint["callbacks"].pop("Failing")
    torch.save(checkpoint, tmp_path / "last.ckpt")
    assert repr(rows(tmp_path / "again", ckpt_path=tmp_path / "last.ckpt", weights_only=True)) == repr(whole[1])


class CutOff(Callback):
    """Fails in a validation."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_validation_batch_end(self, trainer, *args):
        if trainer.current_epoch == self.epoch:
            raise KeyError("in a validation")


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("every", [None, 3])
def test_a_validation_that_was_cut_off_is_done_again(epoch, every, tmp_path):
    def course(folder, *extra, **fit):
        history = callbacks.RunHistory(plots=False)
        module, data = make(NAME)
        trainer = make_trainer(folder, callbacks.EpochMeans(), history, *extra, val_check_interval=every)
        trainer.fit(module, data, **fit)
        return [{name: row[name] for name in sorted(row) if "second" not in name} for row in history.rows]

    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    with pytest.raises(KeyError):
        course(tmp_path, CutOff(epoch), last)
    again = course(tmp_path / "again", ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert repr(again) == repr(course(tmp_path / "whole"))


def test_the_first_process_takes_all_when_their_number_changes(whole, tmp_path):
    folder, expected = whole
    checkpoint = torch.load(folder / "step=7.ckpt", weights_only=True)
    state = checkpoint["callbacks"]["EpochMeans"]
    assert state["sums"].shape == (1, len(state["names"]), 2)
    state["sums"] = torch.cat((state["sums"] - 1, torch.ones_like(state["sums"])))  # two processes; rounds, a little
    torch.save(checkpoint, tmp_path / "two.ckpt")
    again = rows(tmp_path, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert again[1]["train/nelbo"] == pytest.approx(expected[1]["train/nelbo"], rel=1e-6)


def test_the_last_epoch_is_logged_also_where_nothing_is_left_to_train(tmp_path):
    def records(folder, **fit):
        module, data = make(NAME)
        end = ModelCheckpoint(tmp_path, filename="end", save_on_train_epoch_end=True, enable_version_counter=False)
        make_trainer(folder, callbacks.EpochMeans(), end, logger=CSVLogger(folder)).fit(module, data, **fit)
        with next(folder.rglob("metrics.csv")).open(newline="") as file:
            return {row["step"]: row["train/nelbo"] for row in csv.DictReader(file) if row["train/nelbo"]}

    whole = records(tmp_path / "whole")
    killed = records(tmp_path / "again", ckpt_path=tmp_path / "end.ckpt", weights_only=True)  # before its loggers knew
    assert killed == {"14": whole["14"]}
