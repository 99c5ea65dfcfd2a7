import json
import math
from types import SimpleNamespace

import pytest

from callbacks import ResultsTable
from callbacks.results import collect, verdict

from .bench import Line, make_trainer

METRICS = {
    "success": 0.975,
    "success/low": 0.871,
    "success/high": 0.996,
    "success/random": 0.25,
    "success/expert": 1.0,
    "nelbo": 3.25,
    "nelbo/expert": 2.5,
    "excess_steps": 0.125,
    "nothing": math.nan,
}


class Scored(Line):
    """Logs the same metrics in validation and in test."""

    def validation_step(self, batch, batch_idx):
        self.log_dict({f"val/{name}": value for name, value in METRICS.items()}, sync_dist=self.trainer.world_size > 1)

    def test_step(self, batch, batch_idx):
        self.log_dict({f"test/{name}": value for name, value in METRICS.items()}, sync_dist=self.trainer.world_size > 1)


def judge(folder, table, stage="test", **changes):
    trainer = make_trainer(folder, table, **changes)
    getattr(trainer, stage)(Scored(), verbose=False)


def cells(printed):
    """The cells of a printed table, by the first one of their line, and what stands under it."""
    lines = [line for line in printed.splitlines() if line.strip()]
    rows = {}
    for line in lines:
        if line[0] in "│┃|":
            first, *others = (cell.strip() for cell in line.strip("│┃|").replace("┃", "│").split("│"))
            rows[first] = others
    return rows, [line.strip() for line in lines if line[0] not in "│┃|┏┡└┌├"]


def test_table_shows_model_and_baselines_side_by_side(tmp_path, capsys):
    judge(tmp_path, ResultsTable())
    rows, around = cells(capsys.readouterr().out)
    assert rows == {
        "": ["success", "nelbo"],
        "model": ["0.975 [0.871, 0.996]", "3.250"],
        "random": ["0.250", "—"],
        "expert": ["1.000", "2.500"],
    }
    assert around == ["Scored, test", "excess steps 0.125, nothing —"]


def test_flags_change_the_table(tmp_path, capsys):
    table = ResultsTable(title="Mine", columns=["nelbo", "success", "excess_steps"], digits=2, percent=["success"])
    judge(tmp_path, table)
    rows, around = cells(capsys.readouterr().out)
    assert rows[""] == ["nelbo", "success, %", "excess steps"]
    assert rows["model"] == ["3.25", "98 [87, 100]", "0.12"]
    assert rows["random"] == ["—", "25", "—"]
    assert around == ["Mine"]


def test_many_metrics_stand_below_one_another(tmp_path, capsys):
    many = {f"error_{number}": float(number) for number in range(9)} | {"tiny": 2e-5, "huge": 3e7}

    class Many(Line):
        def test_step(self, batch, batch_idx):
            self.log_dict({f"test/{name}{row}": value for name, value in many.items() for row in ("", "/noise")})

    make_trainer(tmp_path, ResultsTable()).test(Many(), verbose=False)
    rows, _ = cells(capsys.readouterr().out)
    assert rows[""] == ["model", "noise"]
    assert rows["error 8"] == ["8.000", "8.000"]
    assert rows["tiny"] == ["2.0e-05", "2.0e-05"]
    assert rows["huge"] == ["3.0e+07", "3.0e+07"]


def test_a_column_that_was_not_logged_is_named(tmp_path, capsys):
    with pytest.warns(UserWarning, match=r"\['sucess'\] were not logged"):
        judge(tmp_path, ResultsTable(columns=["sucess", "nelbo"]))
    assert cells(capsys.readouterr().out)[0][""] == ["nelbo"]


def test_results_are_written(tmp_path):
    judge(tmp_path, ResultsTable())
    results = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert results.pop("of")["module"]
    assert list(results) == ["success", "nelbo", "excess_steps", "nothing"]
    assert results["success"] == pytest.approx(
        {"value": 0.975, "low": 0.871, "high": 0.996, "random": 0.25, "expert": 1.0}
    )
    assert results["nothing"] == {"value": None}


def test_a_validation_of_its_own_leaves_the_test_results_alone(tmp_path, capsys):
    judge(tmp_path, ResultsTable(), "validate")
    assert "Scored, val" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["results_val.json"]


def test_validations_of_a_fit_print_and_write_nothing(tmp_path, capsys):
    make_trainer(tmp_path, ResultsTable(), num_sanity_val_steps=1).fit(Scored())
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_a_fast_run_prints_and_writes_nothing(tmp_path, capsys):
    judge(tmp_path, ResultsTable(), fast_dev_run=True)
    assert "Scored, test" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="ResultsTable cannot write"):
        judge(tmp_path / "file" / "run", ResultsTable())


def test_a_module_that_logs_nothing_gets_no_table(tmp_path, capsys):
    class Silent(Line):
        def test_step(self, batch, batch_idx):
            pass

    make_trainer(tmp_path, ResultsTable()).test(Silent(), verbose=False)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_collect_keeps_one_split_and_needs_a_value():
    metrics = {"test/a": 2.0, "test/a/random": 3.0, "test/b/random": 4.0, "val/a": 1.0, "loss": 5.0}
    assert collect(metrics, "test") == {"a": {"value": 2.0, "random": 3.0}}


@pytest.mark.timeout(60)
def test_two_processes_report_once(tmp_path, capfd):
    judge(tmp_path, ResultsTable(), strategy="ddp_fork", devices=2, use_distributed_sampler=False)
    assert capfd.readouterr().out.count("Scored, test") == 1
    assert (tmp_path / "results.json").exists()


class Limited(Line):
    """Costs with limits of any sign, and a count of what it has learned from."""

    def test_step(self, batch, batch_idx):
        costs = {"jerk": (4.55, 4.5), "override": (2.0, 3.0), "wage": (-2.0, -5.0)}
        for name, (cost, limit) in costs.items():
            self.log_dict({f"test/cost_{name}": cost, f"test/cost_{name}/limit": limit})

    def experienced(self):
        return {"env_steps": 5_000.0, "cost_rate_jerk": 0.25}


def test_a_line_names_the_limits_that_are_exceeded_and_another_what_training_took(tmp_path, capsys):
    table = ResultsTable()
    trainer = make_trainer(tmp_path, table)
    trainer.fit(Limited())
    capsys.readouterr()
    trainer.test(Limited(), verbose=False)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Limits exceeded: jerk 4.55 > 4.5, wage -2 > -5; kept: override 2 <= 3." in printed
    assert "Trained on 5,000 environment steps in" in printed
    assert "a second; mean cost of each of them: jerk 0.25." in printed


def test_the_seconds_of_a_run_go_on_where_it_does():
    table, again = ResultsTable(), ResultsTable()
    saved, fit = {"callbacks": {}}, SimpleNamespace(state=SimpleNamespace(fn="fit"))
    table._began -= 100.0
    table.on_save_checkpoint(fit, None, saved)
    again.on_load_checkpoint(fit, None, saved)
    assert again._seconds == pytest.approx(100.0, abs=5.0)


def test_without_limits_there_is_no_verdict():
    assert verdict({"return": {"value": 1.0}}) is None
    assert verdict({"cost_a": {"value": 1.0, "limit": 1.0}}) == "All limits kept: a 1 <= 1."
