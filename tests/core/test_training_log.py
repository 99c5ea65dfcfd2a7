"""Means of an epoch are those of its rows, and an epoch that was interrupted logs the means of the whole epoch."""

import csv
import json

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

import callbacks
from lit_models.core.module import BaseModule
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
    make_trainer(folder, history, *extra).fit(module, data, **fit)
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


class Failing(Callback):
    """Fails after the batch has been logged, before it has stepped."""

    def __init__(self, step=7):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            raise KeyError("in the middle of a step")


def test_a_batch_that_was_cut_off_counts_once(whole, tmp_path):
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True, enable_version_counter=False)
    module, data = make(NAME)
    with pytest.raises(KeyError):
        make_trainer(tmp_path, callbacks.RunHistory(plots=False), Failing(), last).fit(module, data)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["litmotif"]["training_log"]["names"]
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
        trainer = make_trainer(folder, history, *extra, val_check_interval=every)
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
    state = checkpoint["litmotif"]["training_log"]
    assert state["sums"].shape == (1, len(state["names"][0]), 2)
    state["sums"] = torch.cat((state["sums"] - 1, torch.ones_like(state["sums"])))  # two processes; rounds, a little
    torch.save(checkpoint, tmp_path / "two.ckpt")
    again = rows(tmp_path, ckpt_path=tmp_path / "two.ckpt", weights_only=True)
    assert again[1]["train/nelbo"] == pytest.approx(expected[1]["train/nelbo"], rel=1e-6)


@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log")  # what evaluation logs is of all processes
def test_two_processes_go_on_in_the_middle_of_an_epoch(tmp_path):
    def course(folder, *extra, **fit):
        module, data = make(NAME)
        trainer = make_trainer(folder, callbacks.RunHistory(plots=False), *extra, strategy="ddp_fork", devices=2)
        trainer.fit(module, data, **fit)
        return json.loads((folder / "history.json").read_text())["train/nelbo"]

    whole = course(tmp_path / "whole", each_step(tmp_path))
    state = torch.load(tmp_path / "step=7.ckpt", weights_only=True)["litmotif"]["training_log"]
    assert state["sums"].shape[0] == 2
    assert not torch.equal(*state["sums"])  # each of its own rows
    assert course(tmp_path / "again", ckpt_path=tmp_path / "step=7.ckpt", weights_only=True) == whole


def test_the_loggers_know_before_a_checkpoint_is_written(tmp_path):
    """So that a kill between the two costs no record."""
    saved = []

    class Reads(ModelCheckpoint):
        def on_save_checkpoint(self, trainer, pl_module, checkpoint):
            with next(tmp_path.rglob("metrics.csv")).open(newline="") as file:
                rows = list(csv.DictReader(file))
            saved.append(trainer.fit_loop.epoch_progress.current.processed)
            assert [int(row["step"]) for row in rows if row["train/loss_step"]] == [*range(trainer.global_step)]
            assert len([row for row in rows if row.get("train/nelbo")]) == saved[-1]

    settings = {"filename": "{step}", "save_top_k": -1}
    step = Reads(tmp_path, every_n_train_steps=1, **settings)
    epoch = Reads(tmp_path, every_n_epochs=1, save_on_train_epoch_end=True, **settings)
    module, data = make(NAME)
    make_trainer(tmp_path, step, epoch, logger=CSVLogger(tmp_path), log_every_n_steps=1).fit(module, data)
    assert set(saved) == {0, 1, 2, 3}


class Logs(BaseModule):
    """Logs seeded scalars of batches of different sizes."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def training_step(self, batch, batch_idx):
        number, rows = drawn(self.current_epoch * STEPS + batch_idx)
        values = {"train/loss": number * self.weight[0], "train/double": number.double() / 3}
        self.log_means(values | {"train/half": number.bfloat16()}, rows)
        if batch_idx == 2:
            self.log_means({"train/rare": number}, 1)
        self.log_steps({"train/float": float(number)})
        return self.weight.sum() * number


STEPS = 5


def drawn(seed):
    return torch.rand((), generator=torch.Generator().manual_seed(seed)), 1 + seed % 3


class Seen(Callback):
    """What callbacks are told of every epoch."""

    def __init__(self):
        self.epochs = []

    def on_train_epoch_start(self, trainer, *_):
        if trainer.callback_metrics:
            self.epochs.append({name: float(value) for name, value in trainer.callback_metrics.items()})

    on_train_end = on_train_epoch_start


def test_a_mean_weighs_rows_and_steps_are_as_they_are(tmp_path):
    seen = Seen()
    trainer = make_trainer(tmp_path, seen, ema=False, max_epochs=2, log_every_n_steps=2, logger=CSVLogger(tmp_path))
    trainer.fit(Logs(), DataLoader(torch.zeros(STEPS, 2)))
    for epoch, told in enumerate(seen.epochs):
        draws = [drawn(epoch * STEPS + i) for i in range(STEPS)]
        total = sum(rows for _, rows in draws)

        def mean(of, draws=draws, total=total):
            return pytest.approx(sum(rows * float(of(number)) for number, rows in draws) / total, rel=1e-6)

        last, _ = drawn(epoch * STEPS + STEPS - 1)
        assert told["train/float"] == float(last)
        assert told["train/loss"] == told["train/loss_epoch"]
        assert told["train/double"] == mean(lambda number: number.double() / 3)
        assert told["train/half"] == mean(torch.Tensor.bfloat16)
        assert told["train/rare"] == float(draws[2][0])
    assert len(seen.epochs) == 2
    with next(tmp_path.rglob("metrics.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    records = {(int(row["step"]), name) for row in rows for name in row if row[name]}
    each, epoch = {"train/loss_step", "train/float"}, {"train/loss_epoch", "train/double", "train/half", "train/rare"}
    at = dict.fromkeys((1, 3, 5, 7), each) | {4: epoch, 9: each | epoch}
    assert records == {(step, name) for step in at for name in {"step", "epoch"} | at[step]}


def test_a_mean_costs_no_call_of_lightnings_log(tmp_path, monkeypatch):
    reached, log = [], LightningModule.log
    monkeypatch.setattr(
        LightningModule, "log", lambda self, name, *a, **k: (reached.append(name), log(self, name, *a, **k))
    )
    make_trainer(tmp_path, ema=False, max_epochs=1).fit(Logs(), DataLoader(torch.zeros(STEPS, 2)))
    assert {name: reached.count(name) for name in reached} == {
        **dict.fromkeys(
            ("train/loss", "train/loss_epoch", "train/double", "train/half", "train/rare", "train/float"), 1
        ),
        "train/loss_step": 2,  # for the progress bar at the first step, and for callbacks at the end
    }


def test_a_fit_after_a_stopped_one_begins_its_means_anew(tmp_path):
    module, data = Logs(), DataLoader(torch.zeros(STEPS, 2))
    with pytest.raises(KeyError):
        make_trainer(tmp_path, Failing(1), ema=False).fit(module, data)
    seen, other = Seen(), Seen()
    make_trainer(tmp_path, seen, ema=False, max_epochs=1).fit(module, data)
    make_trainer(tmp_path, other, ema=False, max_epochs=1).fit(Logs(), data)
    assert seen.epochs[0]["train/double"] == other.epochs[0]["train/double"]


def test_checkpoints_have_the_weights_under_their_own_names_only(whole):
    folder, _ = whole
    weights = torch.load(folder / "step=7.ckpt", weights_only=True)["state_dict"]
    assert weights.keys() == make(NAME)[0].state_dict().keys()
