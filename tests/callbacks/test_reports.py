import csv
import json
import math
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from matplotlib.figure import Figure

from callbacks import Figures, ResultsTable, RunHistory
from callbacks.directions import direction_of
from callbacks.history import moving_average
from callbacks.results import collect

from .modules import Walk, batches, trainer


def run(tmp_path, *callbacks, **changes):
    made = trainer(tmp_path, *callbacks, logger=CSVLogger(tmp_path, name="", version="run"), **changes)
    return made, Path(tmp_path) / "run"


# ---------------------------------------------------------------------- history
def test_json_and_csv_have_the_required_columns_first_and_agree(tmp_path):
    made, folder = run(tmp_path, RunHistory(val_metric="val/success"), num_sanity_val_steps=0, log_every_n_steps=1)
    made.fit(Walk(), batches(), batches(1))
    content = json.loads((folder / "history.json").read_text())
    required = ["epoch", "train_loss", "val_loss", "train_metric", "val_metric"]
    assert list(content)[:5] == required
    assert content["epoch"] == [1, 2, 3]
    assert content["val_loss"] == [1.0, 3.0, 5.0]
    assert content["val_metric"] == [0.5] * 3
    assert content["train_metric"] == [None] * 3
    assert content["val/success"] == [0.5] * 3
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == required
    for index, row in enumerate(rows):
        for name, text in row.items():
            value = content[name][index]
            assert text == ("" if value is None else text)
            assert value is None or float(text) == value
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_best_values_go_in_the_right_direction(tmp_path):
    made, folder = run(tmp_path, RunHistory(directions={"val/success": "min"}), num_sanity_val_steps=0)
    made.fit(Walk(), batches(), batches(1))
    summary = json.loads((folder / "history.json").read_text())["summary"]
    assert summary["val/loss"] == {"direction": "min", "best": {"value": 1.0, "epoch": 1}}
    assert summary["val/success"]["direction"] == "min"


def test_an_epoch_without_validation_has_null_there(tmp_path):
    made, folder = run(tmp_path, RunHistory(), check_val_every_n_epoch=2, num_sanity_val_steps=0)
    made.fit(Walk(), batches(), batches(1))
    content = json.loads((folder / "history.json").read_text())
    assert content["val_loss"] == [None, 1.0, None]
    assert None not in content["train_loss"]


def test_an_earlier_checkpoint_drops_the_later_epochs(tmp_path):
    history = RunHistory()
    history.load_state_dict({"rows": [{"epoch": e, "seconds": float(e), "val_loss": 9.0} for e in range(1, 4)]})
    made, _ = run(tmp_path, history, max_epochs=2, num_sanity_val_steps=0)
    made.fit(Walk(), batches(), batches(1))
    assert [row["epoch"] for row in history.rows] == [1, 2]
    assert history.rows[-1]["seconds"] > 3.0  # the clock goes on


@pytest.mark.parametrize("switch", [{"save": False}, {"plots": False}, {"name": "mine"}])
def test_switches_decide_what_is_written(switch, tmp_path):
    made, folder = run(tmp_path, RunHistory(**switch), max_epochs=1)
    made.fit(Walk(), batches())
    written = {path.name for path in folder.iterdir() if "history" in path.name or "curves" in path.name}
    expected = {
        "save": set(),
        "plots": {"history.json", "history.csv"},
        "name": {"mine_history.json", "mine_history.csv", "mine_curves.png"},
    }
    assert written == expected[next(iter(switch))]


def test_fast_dev_run_writes_nothing(tmp_path):
    made = trainer(tmp_path, RunHistory(), ResultsTable(), Figures(), fast_dev_run=True)
    made.fit(Walk(), batches(), batches(1))
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_does_not_stop_training(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("callbacks.history.write_atomically", full)
    made, _ = run(tmp_path, RunHistory())
    with pytest.warns(UserWarning, match="cannot write"):
        made.fit(Walk(), batches())
    assert made.current_epoch == 3


def test_moving_average_skips_what_is_missing():
    assert moving_average([1.0, None, 3.0, math.nan, 5.0], 2) == [1.0, 1.0, 2.0, 2.0, 4.0]
    assert moving_average([None], 2) == [None]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/loss", "min"),
        ("val/nelbo/expert", "min"),
        ("val/success", "max"),
        ("test/excess_steps", "min"),
        ("val/bits_per_action", "min"),
        ("return", "max"),
        ("val/horizon", None),
    ],
)
def test_directions(name, expected):
    assert direction_of(name) == expected


# ---------------------------------------------------------------------- results
def test_the_table_has_the_model_and_its_baselines(tmp_path, capsys):
    made, folder = run(tmp_path, ResultsTable(percent=["success"]))
    made.test(Walk(), batches(1), verbose=False)
    out = capsys.readouterr().out
    assert "75.0 [50.0, 90.0]" in out
    assert "random" in out
    assert "1.235" in out
    assert "—" in out
    content = json.loads((folder / "results.json").read_text())
    assert content["success"] == pytest.approx({"value": 0.75, "low": 0.5, "high": 0.9, "random": 0.1})
    assert content["nelbo"]["expert"] == 1.0


def test_columns_and_digits_choose_what_is_shown(tmp_path, capsys):
    made, _ = run(tmp_path, ResultsTable(columns=["nelbo"], digits=1, title="the end"))
    made.test(Walk(), batches(1), verbose=False)
    out = capsys.readouterr().out
    assert "the end" in out
    assert "1.2 " in out
    assert "success" not in out


def test_collect_keeps_only_metrics_that_have_a_value():
    metrics = {"test/a": 1.0, "test/a/random": 0.5, "val/a": 2.0, "test/b/random": 0.1, "epoch": 3.0}
    assert collect(metrics, "test") == {"a": {"value": 1.0, "random": 0.5}}


# ---------------------------------------------------------------------- figures
class Drawing(Walk):
    def figures(self):
        figure = Figure()
        figure.subplots().plot([1, 2])
        return {"curve": figure}


def test_figures_are_saved_at_the_end_of_a_test_and_on_the_way(tmp_path):
    made, folder = run(tmp_path, Figures())
    made.test(Drawing(), batches(1), verbose=False)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    made, folder = run(tmp_path / "fit", Figures(every_n_epochs=2))
    made.fit(Drawing(), batches(), batches(1))
    assert (folder / "curve.png").is_file()
    made, folder = run(tmp_path / "never", Figures())
    made.fit(Drawing(), batches(), batches(1))
    assert not (folder / "curve.png").exists()
