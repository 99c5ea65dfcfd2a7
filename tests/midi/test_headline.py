"""One figure of both splits that the history names: of training it is a mean of its own, in validation the metric."""

import json

import pytest

from callbacks import RunHistory

from .songs import NAMES, Data, make, make_songs, make_trainer


def course(name, folder, history, **changes):
    """The history of one epoch in which nothing is learnt, so that both splits are judged alike."""
    trainer = make_trainer(callbacks=[history], default_root_dir=folder)
    trainer.fit(make(name, optimizer={"lr": 0.0}, **changes), Data(make_songs(name), batch_size=8))
    return json.loads((folder / "history.json").read_text()), trainer.callback_metrics


@pytest.mark.parametrize("name", NAMES)
def test_training_and_validation_are_judged_by_the_same_measure(name, tmp_path):
    history, logged = course(name, tmp_path, RunHistory(plots=False))
    (trained,), (validated,) = history["train_metric"], history["val_metric"]
    assert trained == pytest.approx(validated, rel=1e-5)
    headline = make(name).headline
    assert float(logged[f"val/{headline}"]) == validated
    assert history["summary"]["val_metric"]["best"] == {"value": validated, "epoch": 1}


def test_a_metric_that_is_asked_for_wins(tmp_path):
    history, logged = course("DynamicsEngine", tmp_path, RunHistory(val_metric="val/class_f1", plots=False))
    assert history["val_metric"] == [float(logged["val/class_f1"])]
    assert history["train_metric"] == [float(logged["train/velocity_mae"])]
