"""Several configs in turn: what is left undone is gone on with, and nothing is trained twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lit_models.cli import configs, main
from lit_models.cli.commands import run_process
from lit_models.cli.commands.series import Series, assemble, listed

from . import plain
from .fake_runner import FakeRunner
from .tiny import write

ROOT = Path(__file__).resolve().parents[2]
LAST = "checkpoints/last.ckpt"


@pytest.fixture
def three(in_tmp):
    """A list of three configs, each beside it."""
    for name in "abc":
        write(in_tmp, f"{name}.yaml", plain.CONFIG)
    return write(in_tmp, "all.series.yaml", "# litmotif series -c all\n# Three\n- a\n- b\n- c\n")


def test_each_member_is_fitted_by_the_ordinary_command_and_summed_up(three, capsys):
    write(Path(), "b.yaml", plain.CONFIG.replace("max_epochs: 2", "max_epochs: 1"))
    assert Series(main)(["-c", "all", "--model.optimizer.lr=0.5", "--", "--seed_everything", "7"]) == 0
    for name, epochs in (("a", 2), ("b", 1), ("c", 2)):
        run = Path("runs") / name / "version_0"
        names = {path.name for path in run.rglob("*")}
        assert names >= {"history.json", "history.csv", "curves.png", "best.ckpt", "last.ckpt", "config.yaml"}
        saved = torch.load(run / LAST, weights_only=True)
        assert saved["epoch"] + 1 == epochs
        assert saved["hyper_parameters"]["optimizer"]["lr"] == 0.5
        assert saved["hyper_parameters"]["seed"] == 7
    out = capsys.readouterr().out
    history = json.loads(Path("runs/a/version_0/history.json").read_text())
    for word in ("best epoch", "val loss", "parameters", "runs/c/version_0", "Plain", f"{history['val_loss'][-1]:.4g}"):
        assert word in out


def test_a_failing_member_costs_no_other_and_is_tried_again_alone(three, capsys):
    first, second = FakeRunner({"b": 1}), FakeRunner()
    assert Series(first)(["-c", "all"]) == 1
    assert [name for name, _ in first.resumed] == ["a", "b", "c"]
    seen = capsys.readouterr()
    assert "failed: b" in seen.err
    assert "failed (status 1)" in seen.out
    assert Series(second)(["-c", "all"]) == 0
    assert second.resumed == [("b", f"runs/b/version_0/{LAST}")]


@pytest.mark.parametrize("status", [130, 143])
def test_a_stopped_series_goes_on_with_what_is_unfinished(status, three, capsys):
    first, second = FakeRunner({"b": status}), FakeRunner()
    assert Series(first)(["-c", "all"]) == status
    assert [name for name, _ in first.resumed] == ["a", "b"]
    assert "goes on" in capsys.readouterr().err
    assert Series(second)(["-c", "all"]) == 0
    assert second.resumed == [("b", f"runs/b/version_0/{LAST}"), ("c", None)]


def test_a_series_whose_own_process_was_killed_finds_the_run_that_it_had_begun(three):
    write(Path("."), "spare.txt", "")
    FakeRunner()(["fit", "--trainer.default_root_dir", "runs/a"])  # an earlier run, of nobody's series

    class Killed(FakeRunner):
        def __call__(self, arguments):
            super().__call__(arguments)
            raise MemoryError

    assert Series(Killed())(["-c", "all"]) == 1
    again = FakeRunner()
    assert Series(again)(["-c", "all"]) == 0
    assert again.resumed[0] == ("a", f"runs/a/version_1/{LAST}")


def test_a_failure_before_anything_was_saved_is_begun_anew(three):
    def broken(arguments):
        return 2

    assert Series(broken)(["-c", "all"]) == 1
    again = FakeRunner()
    assert Series(again)(["-c", "all"]) == 0
    assert again.resumed == [("a", None), ("b", None), ("c", None)]


def test_what_is_done_is_done_until_something_else_is_asked_for(three):
    for arguments, trained in (
        ([], "abc"),
        ([], ""),
        (["--model.optimizer.lr=0.1"], "abc"),
        (["--model.optimizer.lr=0.1"], ""),
        (["--model.optimizer.lr=0.1", "--again"], "abc"),
    ):
        fake = FakeRunner()
        assert Series(fake)(["-c", "all", *arguments]) == 0
        assert "".join(name for name, _ in fake.resumed) == trained, arguments
    write(Path(), "b.yaml", plain.CONFIG.replace("max_epochs: 2", "max_epochs: 9"))
    fake = FakeRunner()
    assert Series(fake)(["-c", "all", "--model.optimizer.lr=0.1"]) == 0
    assert fake.resumed == [("b", None)]


@pytest.mark.parametrize("name", ["b", "B", "models/b", "PlainB"])
def test_resume_goes_on_with_one_by_name_and_then_with_the_rest(name, in_tmp):
    (in_tmp / "models").mkdir()
    for letter in "ab":
        write(
            in_tmp / "models", f"{letter}.yaml", plain.CONFIG.replace("plain.Plain}", f"plain.Plain{letter.upper()}}}")
        )
    asked = ["models/a.yaml", "models/b.yaml"]
    assert Series(FakeRunner())(asked) == 0
    again = FakeRunner()
    called = name if name != "models/b" else "b"
    assert Series(again)([*asked, "--resume", called, "--trainer.max_epochs=5"]) == 0
    assert again.resumed == [("b", f"runs/b/version_0/{LAST}"), ("a", None)]


def test_resume_of_nobody_and_of_one_without_a_checkpoint(three, capsys):
    assert Series(FakeRunner())(["-c", "all", "--resume", "d"]) == 2
    assert "There are: a, b, c" in capsys.readouterr().err
    assert Series(FakeRunner())(["-c", "all", "--resume", "b"]) == 1
    assert "runs/b has no run yet" in capsys.readouterr().err


def test_overlays_lie_over_each_member_and_out_holds_everything(three):
    fake = FakeRunner()
    assert Series(fake)(["a.yaml", "b.yaml", "-c", "trainer/cpu", "--out", "elsewhere"]) == 0
    for arguments, name in zip(fake.asked, "ab", strict=True):
        requested = configs.split(arguments)[0]
        assert requested[1:] == ["trainer/cpu"]
        assert Path(f"elsewhere/{name}/version_0").is_dir()
    assert not Path("runs").exists()


def test_the_table_of_tests_shows_each_metric_beside_its_baselines(three, capsys):
    found = {"mse": {"value": 0.25, "low": 0.2, "high": 0.3, "constant": 0.5}, "r": {"value": None}}
    fake = FakeRunner(results=lambda arguments: found)
    assert Series(fake)(["-c", "all"]) == 0
    for name in "abc":
        Path(f"runs/{name}/version_0/checkpoints/best.ckpt").touch()
    capsys.readouterr()
    assert Series(fake)(["test", "-c", "all"]) == 0
    assert [a[0] for a in fake.asked[-3:]] == ["test"] * 3
    assert all(checkpoint == "best" for _, checkpoint in fake.resumed[-3:])
    out = capsys.readouterr().out
    assert out.count("0.250 [0.200, 0.300]") == 3
    assert out.count("constant 0.500") == 3
    assert json.loads(Path("runs/series/all/test.json").read_text())["b"] == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no config"]),
        (["-c", "nowhere"], ["nowhere", "litmotif list"]),
        (["-c", "trainer/cpu"], ["overlays only"]),
        (["a.yaml", "./a.yaml"], ["a: named twice"]),
        (["-c", "broken"], ["broken.series.yaml", "one `- NAME` a line"]),
        (["a.yaml", "--trainer.default_root_dir", "x"], ["--trainer.default_root_dir", "--out"]),
        (["a.yaml", "--", "--ckpt_path=last"], ["--ckpt_path", "--resume"]),
        (["a.yaml", "--epochs", "3"], ["epochs"]),
    ],
)
def test_a_wrong_request_trains_nothing(arguments, words, three, capsys):
    write(Path(), "broken.series.yaml", "a: 1\n")
    fake = FakeRunner()
    assert Series(fake)(arguments) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert fake.asked == []


def test_help_names_the_options(capsys):
    assert main(["series", "--help"]) == 0
    assert "--resume" in capsys.readouterr().out


@pytest.mark.parametrize("name", configs.series_names())
def test_every_shipped_list_names_configs_that_there_are(name, capsys):
    assert main(["list"]) == 0
    assert f"  {name} " in capsys.readouterr().out
    members = assemble([name], [], Path("runs"))
    assert [member.name for member in members] == listed(name)
    assert all(name not in configs.names() for name in (f"{name}.series", name))


# ---------------------------------------------------------------------- processes
def test_a_run_has_a_process_of_its_own_that_imports_what_we_would(monkeypatch, in_tmp, capfd):
    monkeypatch.syspath_prepend(str(ROOT))
    assert run_process.run(["--version"]) == 0
    assert "litmotif" in capfd.readouterr().out
    assert run_process.run(["fitt"]) == 2


STUB = """\
#!{python}
import signal, sys, time
got = []
for number in (2, 15):
    signal.signal(number, lambda *what: got.append(what))
open("ready", "w").close()
while not got:
    time.sleep(0.01)
time.sleep(0.4)
open("saved", "w").write(str(len(got)))
sys.exit(128 + got[0][0])
"""
PARENT = """\
import sys
from lit_models.cli.commands import run_process
sys.executable = {stub!r}
sys.exit(run_process.run(["fit"]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_reaches_the_run_once_and_its_end_is_waited_for(number, status, in_tmp):
    stub = in_tmp / "stub"
    stub.write_text(STUB.format(python=sys.executable))
    stub.chmod(0o755)
    code, env = PARENT.format(stub=str(stub)), os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=env, process_group=0)
    while not Path("ready").exists() and parent.poll() is None:
        time.sleep(0.01)
    os.killpg(parent.pid, number)  # as a terminal does: to all that stand in the foreground
    assert parent.wait(timeout=30) == status
    assert Path("saved").read_text() == "1"
