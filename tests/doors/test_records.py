"""Records of a run: what they are of, and that nothing in them is empty or unsaid."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks.curves import draw_curves
from callbacks.provenance import stand_ins
from lit_models.cli import main
from tests.cli.tiny import write

from .test_cli_habits import OURS

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
RUN = Path("runs/ours/version_0")


def test_a_run_says_what_its_numbers_are_of_and_what_comes_next(in_tmp, capsys):
    assert main(["fit", "-c", write(in_tmp, "ours.yaml", OURS), "--seed_everything=4"]) == 0
    out = capsys.readouterr().out
    assert f"next: litmotif test --ckpt_path {RUN}" in out
    of = json.loads((RUN / "results.json").read_text())["of"]
    assert of["checkpoint"].endswith("best.ckpt")
    assert (of["module"], of["data"]["class"], of["seed"]) == ("Ours", "OurData", 4)
    assert of["data"]["options"]["batch_size"] == 64
    assert {"version", "commit", "time", "step"} < of.keys()
    history = json.loads((RUN / "history.json").read_text())
    assert history["val_metric"] == history["val_loss"]
    assert None not in history["val_metric"]
    told = []
    for events in RUN.glob("events.out.tfevents*"):
        found = EventAccumulator(str(events)).Reload()
        told += [event.value for event in found.Scalars("hp_metric")] if "hp_metric" in found.Tags()["scalars"] else []
    assert any(value == pytest.approx(history["val_loss"][-1]) for value in told)


def test_the_table_is_printed_once(in_tmp, capsys):
    config = write(in_tmp, "ours.yaml", OURS)
    assert main(["fit", "-c", config, "--test_after_fit=false", "--trainer.max_epochs=1"]) == 0
    capsys.readouterr()
    assert main(["test", "-c", config, "--ckpt_path=last"]) == 0
    out = capsys.readouterr().out
    assert out.count("Ours, test") == 1
    assert "Test metric" not in out


def test_training_data_that_stands_in_is_called_so():
    assert stand_ins(SimpleNamespace(hparams={"val": 0, "test": 4, "train": 9})) == ["val"]
    table = {"epoch": [1, 2], "train/loss": [2.0, 1.0], "val/loss": [2.0, 1.0]}
    legend = draw_curves(table, 5, {}, ["val"]).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["train", "val = training data"]
