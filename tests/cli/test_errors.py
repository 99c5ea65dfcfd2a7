"""Errors and exit statuses: signals, failures, full disks, and what is said about them."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from lit_models.cli import errors, linked, main
from lit_models.cli.run import say_how_to_go_on
from lit_models.cli.run_folder import RunArtifacts

from . import plain
from .tiny import write

ROOT = Path(__file__).resolve().parents[2]
LAST = "runs/odd name/version_0/checkpoints/last.ckpt"


def test_sigterm_leaves_a_checkpoint_an_honest_status_and_a_command_that_goes_on(in_tmp):
    config = write(in_tmp, "odd name.yaml", plain.CONFIG)
    kwargs = ["--model.schedule.monitor", "val loss", "--trainer.max_epochs", "1000000"]
    run = subprocess.Popen(
        [sys.executable, "-m", "lit_models", "fit", "-c", config, *kwargs],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not Path(LAST).is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 143, err
    (command,) = [line for line in err.splitlines() if line.startswith("Go on with: ")]
    words = shlex.split(command.removeprefix("Go on with: "))
    assert words == ["litmotif", "fit", "-c", config, *kwargs, "--ckpt_path", LAST]
    assert torch.load(LAST, weights_only=True)["global_step"] > 0


def test_ctrl_c_before_the_first_step_gives_no_traceback(monkeypatch, in_tmp, capsys):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(linked, "import_public", interrupt)
    assert main(["fit", "-c", write(in_tmp, "plain.yaml", plain.CONFIG)]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c_while_another_command_starts_gives_no_traceback(monkeypatch, capsys):
    def interrupted(command, options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lit_models.cli.commands.series.Series.run", interrupted)
    assert main(["series", "-c", "midi/all"]) == errors.CTRL_C
    assert capsys.readouterr().err == "litmotif: stopped.\n"


def test_a_checkpoint_of_an_earlier_run_is_not_announced(tmp_path, capsys):
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.touch()
    os.utime(last, (0, 0))
    say_how_to_go_on(RunArtifacts(tmp_path), ["litmotif", "fit"])
    assert capsys.readouterr().err == ""
    os.utime(last)
    say_how_to_go_on(RunArtifacts(tmp_path, since=0.0), ["litmotif", "fit"])
    assert str(last) in capsys.readouterr().err


def caught(function):
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it went well")


def test_what_is_written_for_the_user_stands_alone_and_a_defect_keeps_its_traceback(capsys, monkeypatch):
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from lit_models.core.hparams import require_plain
    from lit_models.layers.dit import modulate

    def settings():
        raise MisconfigurationException("No supported gpu backend found!")

    spoken = [caught(lambda: require_plain({"path": Path("x")}, "Owner")), caught(settings)]
    spoken.append(caught(lambda: Path("nowhere").read_text()))
    for error in spoken:
        errors.report(error)
        err = capsys.readouterr().err
        assert str(error) in err
        assert "Traceback" not in err
    defect = caught(lambda: modulate(torch.ones(2, 3), torch.ones(5), torch.ones(7)))
    for error in (defect, caught(lambda: 1 // 0)):
        errors.report(error)
        assert "Traceback" in capsys.readouterr().err
    monkeypatch.setenv(errors.WITH_TRACEBACK, "1")
    errors.report(spoken[0])
    assert "Traceback" in capsys.readouterr().err
