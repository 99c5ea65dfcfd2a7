import math

import pytest

from callbacks.curves import draw_curves
from callbacks.history import moving_average

TABLE = {
    "epoch": [1, 2, 3],
    "train/loss": [3.0, 2.0, 1.0],
    "train/loss_epoch": [3.0, 2.0, 1.0],
    "train/loss_step": [9.0, 9.0, 9.0],
    "val/loss": [3.0, 1.5, 2.0],
    "val/success": [None, 0.5, 0.75],
    "val/success/low": [None, math.nan, 0.5],
    "val/success/high": [0.2, 0.75, 0.9],
    "val/success/random": [None, 0.25, 0.25],
    "val/never": [None, math.nan, math.inf],
    "lr-AdamW/pg1": [3.0, 2.0, 1.0],
    "lr-AdamW/pg2": [3.0, 2.0, 1.0],
}


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_one_panel_a_metric_with_its_splits_and_baselines():
    drawn = panels(draw_curves(TABLE, 2, {}))
    assert list(drawn) == ["loss", "success", "learning rate"]
    assert labels(drawn["loss"]) == ["train", "val"]
    assert labels(drawn["success"]) == ["val", "val random"]
    assert labels(drawn["learning rate"]) == ["AdamW/pg1"]


def test_raw_values_best_and_baseline_are_drawn():
    drawn = panels(draw_curves(TABLE, 2, {}))
    assert list(drawn["loss"].lines[2].get_ydata()) == [3.0, 1.5, 2.0]
    assert [text.get_text() for text in drawn["loss"].texts] == ["1.5"]
    assert [text.get_text() for text in drawn["success"].texts] == ["0.75"]
    (dashed,) = (line for line in drawn["success"].lines if line.get_label() == "val random")
    assert list(dashed.get_ydata()) == [0.25, 0.25]
    assert dashed.get_linestyle() == ":"


@pytest.mark.parametrize(("epochs", "window", "used"), [(30, 3, 3), (30, 1, 1), (10, 5, 2), (4, 5, 1)])
def test_the_average_is_drawn_over_the_raw_values_and_does_not_lag_in_a_short_course(epochs, window, used):
    values = [float(epoch % 4) for epoch in range(epochs)]
    drawn = panels(draw_curves({"epoch": list(range(1, epochs + 1)), "val/loss": values}, window, {}))
    raw, smooth = (list(line.get_ydata()) for line in drawn["loss"].lines)
    assert (raw, smooth) == (values, moving_average(values, used))


def test_directions_choose_the_marked_value():
    drawn = panels(draw_curves(TABLE, 2, {"val/loss": "max"}))
    assert [text.get_text() for text in drawn["loss"].texts] == ["3"]


def test_an_empty_history_can_be_drawn():
    assert not panels(draw_curves({"epoch": []}, 5, {}))


def test_where_environment_steps_are_counted_they_are_the_axis_and_return_stands_against_cost():
    table = {
        "epoch": [1, 2],
        "train/env_steps": [512.0, 1024.0],
        "val/return": [3.0, 4.0],
        "val/cost_share": [1.5, 0.9],
        "train/return": [1.0, 2.0],
        "train/cost_share": [1.2, None],
    }
    panels = {panel.get_title(loc="left"): panel for panel in draw_curves(table, 1, {}).axes}
    assert panels["return"].get_xlabel() == "environment steps"
    assert panels["return"].lines[0].get_xdata().tolist() == [512.0, 1024.0]
    assert "env steps" not in panels
    ways = [list(line.get_xdata()) for line in panels["return against cost"].lines]
    assert ways == [[1.0, 1.0], [1.2], [1.5, 0.9]]  # the limit, training, validation
    del table["train/env_steps"], table["val/cost_share"], table["train/cost_share"]
    plain = {panel.get_title(loc="left"): panel for panel in draw_curves(table, 1, {}).axes}
    assert plain["return"].get_xlabel() == "epoch"
    assert "return against cost" not in plain
