"""Folds: each song judged and predicted once, by a model that has not seen it."""

import json
import math
from pathlib import Path

import pytest
import torch
from scipy import stats

from lit_models.cli import main
from lit_models.cli.commands.crossval import Crossval, over_folds
from litmotif.intervals import mean

from . import folded
from .fake_runner import FakeRunner, option
from .tiny import write

CONFIG = """\
# litmotif crossval -c folded.yaml
# Six songs
seed_everything: 0
model: {class_path: tests.cli.folded.Slope}
data: {class_path: tests.cli.folded.Folded}
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}
"""
HOME = Path("runs/folded/folds_3")


@pytest.fixture
def config(in_tmp):
    return write(in_tmp, "folded.yaml", CONFIG)


def test_every_song_is_predicted_once_by_the_fold_that_held_it_out(config, capsys):
    assert Crossval(main)(["-c", config, "--folds", "3"]) == 0
    rows = torch.load(HOME / "predictions.pt", weights_only=True)
    assert sorted(row["song"] for row in rows) == folded.SONGS
    for row in rows:
        k = folded.SONGS.index(row["song"])
        assert row["fold"] == k % 3
        assert torch.equal(row["prediction"], torch.full((k + 1, 1), 10.0 * k))  # without the padding
        assert torch.equal(row["target"], torch.full((k + 1, 1), 2.0 * k))
    kept = json.loads((HOME / "crossval.json").read_text())
    totals = [kept[f"fold {i}"]["total"]["value"] for i in range(3)]
    assert totals == [6.0 * (i + i + 3) for i in range(3)]
    out = capsys.readouterr().out
    assert "standard error" in out
    assert kept["mean"]["total"]["value"] == pytest.approx(sum(totals) / 3)
    assert kept["mean"]["total"]["constant"] == pytest.approx(2 * sum(totals) / 3)


def test_the_interval_is_student_s():
    values = [0.2, 0.5, 0.35, 0.4]
    found = mean("value", values)
    error = math.sqrt(sum((v - 0.3625) ** 2 for v in values) / 3) / 2
    assert found["standard error"] == pytest.approx(error)
    assert (found["low"], found["high"]) == pytest.approx(stats.t.interval(0.95, 3, 0.3625, error))


def test_a_metric_or_a_baseline_that_a_fold_lacks_has_no_mean():
    folds = [{"a": {"value": 1.0, "copy": 2.0}, "b": {"value": 1.0}}, {"a": {"value": 3.0}}]
    assert over_folds(folds) == {"a": mean("value", [1.0, 3.0])}


def test_finished_folds_are_kept_and_a_failed_one_is_tried_again(config, capsys):
    first, second = FakeRunner({"fold_1": 1}), FakeRunner(results=lambda arguments: {})
    assert Crossval(first)(["-c", config, "--folds", "3", "--predict", "false"]) == 1
    assert "failed: fold 1" in capsys.readouterr().err
    assert [option(a, "--data.fold") for a in first.asked] == ["0", "1", "2"]
    assert all(option(a, "--data.folds") == "3" for a in first.asked)
    assert Crossval(second)(["-c", config, "--folds", "3", "--predict", "false"]) == 0
    (again,) = second.asked
    assert option(again, "--data.fold") == "1"
    assert option(again, "--ckpt_path") == str(HOME / "fold_1/version_0/checkpoints/last.ckpt")


def test_a_stop_is_no_failure(config):
    fake = FakeRunner({"fold_0": 130})
    assert Crossval(fake)(["-c", config]) == 130
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "tests.cli.folded.Unfolded"], ["Unfolded", "`folds` and `fold`"]),
        (["--data=tests.cli.folded.Unfolded"], ["Unfolded"]),
        (["--data", "Nowhere"], ["Nowhere"]),
        (["--folds", "1"], ["--folds 1", "at least 2"]),
        (["--data.fold", "1"], ["--data.fold", "--folds"]),
        (["-c", "nowhere"], ["nowhere"]),
    ],
)
def test_a_wrong_request_trains_nothing(arguments, words, config, capsys):
    fake = FakeRunner()
    assert Crossval(fake)(["-c", config, *arguments]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert fake.asked == []


def test_without_a_config(capsys):
    assert Crossval(FakeRunner())([]) == 2
    assert "-c" in capsys.readouterr().err
