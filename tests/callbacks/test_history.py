import csv
import json
import math
import os

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import callbacks.history
from callbacks import RunHistory
from callbacks.directions import direction_of
from callbacks.history import moving_average
from litmotif.files import write_atomically

from .bench import BATCHES, Line, StopIn, each_step, make_trainer, read

REQUIRED = ["epoch", "train_loss", "val_loss", "train_metric", "val_metric"]
EPOCHS = 4
pytestmark = [
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),
    pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable"),  # each batch is the same
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),  # a resumed run
]


class Counting(Line):
    """Logs numbers that tell where and when they were logged: 10 x epoch + validations of this epoch."""

    def on_train_epoch_start(self):
        self.validations = 0

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train/both", float(batch_idx), on_step=True, on_epoch=True)
        self.log("train/accuracy", self.current_epoch + 1.0, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self):
        self.log("train/own", self.current_epoch + 1.0)

    def on_validation_epoch_end(self):
        self.validations = getattr(self, "validations", 0) + 1
        self.log("val/accuracy", 10.0 * (self.current_epoch + 1) + self.validations)
        if self.current_epoch % 2 == 0:
            self.log("val/odd", self.current_epoch + 1.0)


def run(folder, *callbacks, history=None, module=None, ckpt_path=None, **changes):
    history = history or RunHistory(plots=False)
    logger = CSVLogger(folder, name="", version="run")
    trainer = make_trainer(folder, history, *callbacks, logger=logger, **{"max_epochs": EPOCHS} | changes)
    trainer.fit(module or Counting(), ckpt_path=ckpt_path)
    return trainer


def files(folder, prefix=""):
    """The JSON, and the rows of the CSV."""
    content = json.loads((folder / "run" / f"{prefix}history.json").read_text())
    with (folder / "run" / f"{prefix}history.csv").open() as file:
        return content, list(csv.DictReader(file))


# ---------------------------------------------------------------------- the files
def test_files_have_the_required_columns_first_and_agree(tmp_path):
    run(tmp_path, history=RunHistory(train_metric="train/accuracy", val_metric="val/accuracy", plots=False))
    content, rows = files(tmp_path)
    columns = [name for name, column in content.items() if isinstance(column, list)]
    assert columns[:5] == list(rows[0])[:5] == REQUIRED
    assert columns == list(rows[0])
    assert content["epoch"] == [1, 2, 3, 4]
    assert content["train_loss"] == content["train/loss"]
    assert content["val_loss"] == content["val/loss"]
    assert content["train_metric"] == [1.0, 2.0, 3.0, 4.0]
    assert content["val_metric"] == [11.0, 21.0, 31.0, 41.0]
    assert content["step"] == [BATCHES * epoch for epoch in content["epoch"]]
    assert content["seconds"] == sorted(content["seconds"])
    for name in columns:
        written = [float(row[name]) if row[name] else None for row in rows]
        assert written == content[name]


def test_losses_are_those_of_their_own_epoch(tmp_path):
    class Watching(Counting):
        def on_train_epoch_end(self):
            metrics = self.trainer.callback_metrics
            self.losses = [*getattr(self, "losses", []), (float(metrics["train/loss"]), float(metrics["val/loss"]))]

        def training_step(self, batch, batch_idx):
            loss = self.loss(batch, "train")
            self.log("train/loss", loss, on_step=True, on_epoch=True)
            return loss

    module = Watching()
    run(tmp_path, module=module)
    content, _ = files(tmp_path)
    assert list(zip(content["train_loss"], content["val_loss"], strict=True)) == module.losses


def test_a_metric_logged_by_step_and_epoch_counts_by_epoch(tmp_path):
    run(tmp_path, history=RunHistory(train_metric="train/both", plots=False))
    content, _ = files(tmp_path)
    assert content["train_metric"] == [sum(range(BATCHES)) / BATCHES] * EPOCHS


def test_what_an_epoch_did_not_log_is_null(tmp_path):
    run(tmp_path, check_val_every_n_epoch=2, num_sanity_val_steps=1)
    content, rows = files(tmp_path)
    assert content["val/accuracy"] == [None, 21.0, None, 41.0]
    assert [loss is None for loss in content["val_loss"]] == [True, False, True, False]
    assert [row["val/accuracy"] for row in rows] == ["", "21.0", "", "41.0"]


def test_values_of_an_earlier_epoch_are_not_repeated(tmp_path):
    run(tmp_path)
    assert files(tmp_path)[0]["val/odd"] == [1.0, None, 3.0, None]


def test_what_the_module_logs_at_its_epoch_end_belongs_to_that_epoch(tmp_path):
    checkpoint = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, monitor="train/own", mode="max")
    run(tmp_path, checkpoint)
    assert files(tmp_path)[0]["train/own"] == [1.0, 2.0, 3.0, 4.0]
    saved = read(tmp_path / "epoch=1.ckpt")["callbacks"]["RunHistory"]["rows"]
    assert [row["train/own"] for row in saved] == [1.0, 2.0]


def test_the_last_of_several_validations_counts_and_the_sanity_check_does_not(tmp_path):
    run(tmp_path, val_check_interval=0.5, num_sanity_val_steps=1)
    assert files(tmp_path)[0]["val/accuracy"] == [12.0, 22.0, 32.0, 42.0]


def test_not_a_number_is_null_in_json(tmp_path):
    class Broken(Line):
        def validation_step(self, batch, batch_idx):
            self.log("val/loss", math.inf if self.current_epoch else math.nan)

    run(tmp_path, module=Broken(), history=RunHistory(), max_epochs=3)
    text = (tmp_path / "run/history.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["val_loss"] == [None, None, None]
    assert json.loads(text)["summary"]["val_loss"] == {}


def test_name_goes_before_the_file_names(tmp_path):
    run(tmp_path, history=RunHistory(name="melody"), max_epochs=1)
    assert {path.name for path in (tmp_path / "run").glob("melody_*")} == {
        "melody_history.json",
        "melody_history.csv",
        "melody_curves.png",
    }
    assert files(tmp_path, "melody_")[0]["epoch"] == [1]


@pytest.mark.parametrize(
    ("flags", "changes"), [({"save": False}, {}), ({}, {"fast_dev_run": True})], ids=["save=False", "fast_dev_run"]
)
def test_nothing_is_written(tmp_path, flags, changes):
    run(tmp_path, history=RunHistory(**flags), **changes)
    assert not list(tmp_path.rglob("history*"))
    assert not list(tmp_path.rglob("*.png"))


def test_no_plots(tmp_path):
    run(tmp_path, history=RunHistory(plots=False))
    assert not list(tmp_path.rglob("*.png"))
    assert not list((tmp_path / "run").glob(".*"))  # nothing half-written


# ---------------------------------------------------------------------- averages and best values
def test_moving_average_is_the_mean_of_the_last_window():
    assert moving_average([1.0, 2.0, 3.0, 4.0], 2) == [1.0, 1.5, 2.5, 3.5]
    assert moving_average([None, 1.0, None, math.nan, 5.0], 3) == [None, 1.0, 1.0, 1.0, 3.0]


def test_window_changes_the_averages(tmp_path):
    run(tmp_path, history=RunHistory(window=2, plots=False))
    content, _ = files(tmp_path)
    assert content["moving_average"]["val/accuracy"] == [11.0, 16.0, 26.0, 36.0]
    with pytest.raises(ValueError, match="window=0"):
        RunHistory(window=0)


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("val/loss", "min"),
        ("val/nelbo", "min"),
        ("test/excess_steps", "min"),
        ("val/position_error", "min"),
        ("val/success", "max"),
        ("episode/return", "max"),
        ("val/top1_accuracy", "max"),
        ("val/f1", "max"),
        ("val/speed", None),
        ("val/f1_loss", None),
        ("train/lossless_share", None),
    ],
)
def test_direction_is_told_by_a_word_of_the_name(name, direction):
    assert direction_of(name) == direction


def test_summary_has_the_best_value_and_its_epoch(tmp_path):
    history = RunHistory(plots=False, val_metric="train/own", directions={"train/own": "min"})
    run(tmp_path, history=history)
    summary = files(tmp_path)[0]["summary"]
    assert summary["val/accuracy"] == {"direction": "max", "best": {"value": 41.0, "epoch": 4}}
    assert summary["val_loss"]["best"]["value"] == min(files(tmp_path)[0]["val_loss"])
    assert summary["train/own"] == summary["val_metric"] == {"direction": "min", "best": {"value": 1.0, "epoch": 1}}
    constant = sum(range(BATCHES)) / BATCHES
    assert summary["train/both"]["max"] == {"value": constant, "epoch": 1}  # the first of equals
    assert summary["val/odd"] == {"min": {"value": 1.0, "epoch": 1}, "max": {"value": 3.0, "epoch": 3}}


# ---------------------------------------------------------------------- resume
@pytest.fixture
def whole(tmp_path):
    """An uninterrupted run, with checkpoints by step, by epoch and by validation; its columns without the clock."""
    by_epoch = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    by_validation = ModelCheckpoint(
        tmp_path, filename="val{epoch}", save_top_k=-1, monitor="val/loss", save_on_train_epoch_end=False
    )
    run(tmp_path, each_step(tmp_path), by_epoch, by_validation)
    return columns(tmp_path)


def columns(folder):
    content, rows = files(folder)
    assert len(rows) == len(content["epoch"])
    return {name: content[name] for name in rows[0] if name != "seconds"}


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_resume_from_an_epoch_continues_and_truncates(tmp_path, whole, epoch):
    run(tmp_path, ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
    assert columns(tmp_path) == whole


@pytest.mark.parametrize("epoch", range(EPOCHS))
def test_resume_from_a_validation_keeps_what_it_found(tmp_path, whole, epoch):
    run(tmp_path, ckpt_path=tmp_path / f"valepoch={epoch}.ckpt")
    found = columns(tmp_path)
    assert found["epoch"] == whole["epoch"]
    assert found["step"] == whole["step"]
    for name in ("val_loss", "val/accuracy", "val/odd"):
        assert found[name] == whole[name]
    assert {*found["train/both"]} <= {whole["train/both"][0], None}  # Lightning forgets it; one step's is no mean


@pytest.mark.parametrize("step", [1, 6, 7, 9])
def test_an_epoch_resumed_in_its_middle_appears_once(tmp_path, whole, step):
    run(tmp_path, ckpt_path=tmp_path / f"step={step}.ckpt")
    found = columns(tmp_path)
    for name in ("epoch", "step", "val_loss", "train/own", "train/accuracy"):
        assert found[name] == whole[name]


def test_a_second_fit_continues(tmp_path):
    trainer = run(tmp_path, max_epochs=2)
    trainer.fit_loop.max_epochs = EPOCHS
    trainer.fit(trainer.lightning_module)
    assert columns(tmp_path)["epoch"] == [1, 2, 3, 4]


def test_a_test_of_an_earlier_checkpoint_changes_nothing(tmp_path, whole):
    history, module = RunHistory(plots=False), Counting()
    trainer = run(tmp_path, history=history, module=module)
    trainer.callbacks.append(StopIn("on_test_batch_end", RuntimeError("stop")))
    with pytest.raises(RuntimeError, match="stop"):
        trainer.test(module, ckpt_path=tmp_path / "epoch=1.ckpt", verbose=False)
    assert columns(tmp_path) == whole
    assert len(history.rows) == EPOCHS


def test_a_stopped_run_keeps_the_epochs_before(tmp_path):
    with pytest.raises(RuntimeError, match="stop"):
        run(tmp_path, StopIn("on_train_batch_end", RuntimeError("stop"), epoch=2), history=RunHistory())
    assert columns(tmp_path)["epoch"] == [1, 2]
    assert (tmp_path / "run/curves.png").stat().st_size > 1000


def test_a_fit_after_a_stopped_one_does_not_take_over_its_half_epoch(tmp_path):
    history = RunHistory(plots=False)
    stop = StopIn("on_validation_end", RuntimeError("stop"))
    with pytest.raises(RuntimeError, match="stop"):
        run(tmp_path, stop, history=history, val_check_interval=2)
    run(tmp_path, history=history, max_epochs=1, limit_val_batches=0)
    assert columns(tmp_path)["val_loss"] == [None]


def test_a_disk_that_cannot_be_written_is_told_once(tmp_path):
    (tmp_path / "file").write_text("in the way")
    history = RunHistory()
    trainer = make_trainer(tmp_path / "file" / "run", history)
    with pytest.warns(UserWarning, match="RunHistory cannot write") as told:
        trainer.fit(Counting())
    assert sum("RunHistory" in str(warning.message) for warning in told) == 1
    assert trainer.global_step == 2 * BATCHES


def test_another_run_begins_anew(tmp_path):
    history = RunHistory(plots=False)
    run(tmp_path / "one", history=history, max_epochs=1)
    run(tmp_path / "two", history=history, max_epochs=1, limit_val_batches=0)
    assert columns(tmp_path / "two")["epoch"] == [1]
    assert columns(tmp_path / "two")["val_loss"] == [None]


def test_two_processes_write_once(tmp_path, monkeypatch):
    def note(path, content):
        with (tmp_path / "writers").open("a") as file:
            file.write(f"{os.getpid()}\n")
        write_atomically(path, content)

    monkeypatch.setattr(callbacks.history, "write_atomically", note)

    class Shared(Line):
        def training_step(self, batch, batch_idx):
            loss = self.loss(batch, "train")
            self.log("train/loss", loss, sync_dist=True)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/loss", self.loss(batch, "val"), sync_dist=True)

    run(tmp_path, module=Shared(), strategy="ddp_fork", devices=2)
    assert columns(tmp_path)["epoch"] == [1, 2, 3, 4]
    assert len(set((tmp_path / "writers").read_text().split())) == 1
