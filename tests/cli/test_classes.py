"""Modules and datamodules that a user brings along, and the links between them."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from lit_models.cli import main

from . import plain
from .tiny import write

SIZED = "model:\n  class_path: tests.cli.plain.Sized\n"


@pytest.fixture
def config(in_tmp):
    return write(in_tmp, "plain.yaml", plain.CONFIG)


def left():
    """The only checkpoint of the first run."""
    (path,) = Path("runs/plain/version_0/checkpoints").iterdir()
    return path


@pytest.mark.parametrize("data", ["PlainData", "TestedData"])
def test_a_module_without_a_test_is_fitted_and_resumed(data, config, capsys):
    fit = ["fit", "-c", config, "--data", f"tests.cli.plain.{data}"]
    assert main(fit) == 0, capsys.readouterr().err
    assert main([*fit, "--ckpt_path", "last", "--trainer.max_epochs=3"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "data", "depth"),
    [
        *[("Plain", "PlainData", None), ("Sized", "PlainData", 4), ("Sized", "SilentData", 4)],
        *[("Plain", "SizedData", None), ("Sized", "SizedData", 7)],
    ],
)
def test_what_the_data_declares_and_the_module_takes_is_linked_and_kept(model, data, depth, config, capsys):
    chosen = ["--model", f"tests.cli.plain.{model}", "--data", f"tests.cli.plain.{data}"]
    own = ["--model.depth=4"] if depth == 4 else []
    assert main(["fit", "-c", config, *chosen, *own, *plain.QUICK]) == 0, capsys.readouterr().err
    assert torch.load(left(), weights_only=True)["hyper_parameters"].get("depth") == depth
    again = getattr(plain, model).load_from_checkpoint(left(), weights_only=True)
    assert again.hparams.get("depth") == depth


def test_data_named_in_a_config_is_linked_too(config, in_tmp, capsys):
    more = write(in_tmp, "more.yaml", f"{SIZED}data: {{class_path: tests.cli.plain.SizedData}}\n")
    assert main(["fit", "-c", config, "-c", more, *plain.QUICK]) == 0, capsys.readouterr().err
    assert torch.load(left(), weights_only=True)["hyper_parameters"]["depth"] == 7


@pytest.mark.parametrize(
    ("text", "option", "words"),
    [
        ("model: {init_args: {seed: 3}}\n", [], ["more.yaml, line 1", "model.seed", "seed_everything"]),
        ("data:\n  init_args:\n    seed: 3\n", [], ["more.yaml, line 3", "data.seed", "seed_everything"]),
        (SIZED + "  init_args: {depth: 3}\n", [], ["more.yaml, line 3", "model.depth", "data.depth"]),
        ("trainer: {max_epochs: 1}\n", ["--model.depth=3"], ["command line", "model.depth", "data.depth"]),
        ("trainer: {max_epochs: 1}\n", ["--model.init_args.seed", "3"], ["command line", "seed_everything"]),
    ],
)
def test_a_value_that_a_link_would_overwrite_is_refused(text, option, words, config, in_tmp, capsys):
    chosen = ["--model", "tests.cli.plain.Sized", "--data", "tests.cli.plain.SizedData"]
    assert main(["fit", "-c", config, *chosen, "-c", write(in_tmp, "more.yaml", text), *option, *plain.QUICK]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err


def test_the_options_of_other_data_are_not_taken_from_the_checkpoint(config, capsys):
    assert main(["fit", "-c", config, "--data.batch_size=6", *plain.QUICK]) == 0
    other = ["--data", "tests.cli.plain.OtherData", "--data.width=3", "--trainer.max_epochs=3"]
    last = left()
    assert main(["fit", "-c", config, *other, *plain.QUICK, "--ckpt_path", str(last)]) == 0
    assert "data.batch_size" not in capsys.readouterr().err


def test_an_explicit_seed_wins_over_that_of_the_checkpoint(config, capsys):
    assert main(["fit", "-c", config, "--trainer.max_epochs=1", *plain.QUICK]) == 0
    last = left()
    for seed, options in ((0, ["--seed_everything=0"]), (5, ["--seed_everything", "5"])):
        assert main(["fit", "-c", config, "--ckpt_path", str(last), *options, *plain.QUICK]) == 0
        newest = max(last.parent.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        saved = torch.load(newest, weights_only=True)
        assert saved["hyper_parameters"]["seed"] == saved["datamodule_hyper_parameters"]["seed"] == seed


def test_the_seed_of_the_checkpoint_is_the_seed_of_the_resumed_run(config):
    assert main(["fit", "-c", config, "--seed_everything=5"]) == 0
    assert main(["fit", "-c", config, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    resumed = Path("runs/plain/version_0/config_resumed_1.yaml")
    assert yaml.safe_load(resumed.read_text())["seed_everything"] == 5


def test_only_what_differs_and_is_not_linked_is_shown_on_resume(config, capsys):
    chosen = ["--model", "tests.cli.plain.Sized", "--data", "tests.cli.plain.SizedData"]
    assert main(["fit", "-c", config, *chosen, "--trainer.max_epochs=1", *plain.QUICK]) == 0
    last = left()
    capsys.readouterr()
    assert main(["fit", "-c", config, *chosen, "--ckpt_path", str(last), *plain.QUICK]) == 0
    assert "differ" not in capsys.readouterr().err


def test_a_checkpoint_named_in_a_config_is_used_like_one_of_the_command_line(config, in_tmp, capsys):
    assert main(["fit", "-c", config, "--model.slope=2.5"]) == 0
    go_on = write(in_tmp, "go_on.yaml", "ckpt_path: last\ntrainer: {max_epochs: 3}\n")
    capsys.readouterr()
    assert main(["fit", "-c", config, "-c", go_on, "--model.optimizer.lr=0.5"]) == 0
    saved = torch.load("runs/plain/version_0/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 6
    assert saved["hyper_parameters"]["slope"] == 2.5
    assert saved["hyper_parameters"]["optimizer"]["lr"] == 0.5


def test_another_width_is_refused_for_a_module_of_the_user(config, capsys):
    assert main(["fit", "-c", config, "--trainer.max_epochs=1"]) == 0
    assert main(["fit", "-c", config, "--ckpt_path=last", "--model.width=5"]) == 1
    err = capsys.readouterr().err
    assert "width 5" in err
    assert "built with 3" in err
    assert "Go on with" not in err  # the same command would fail again


def test_the_arguments_of_main_count_not_those_of_the_process(config, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["litmotif", "test", "--no-such-option"])
    assert main(["fit", "-c", config, "--trainer.max_epochs=1", *plain.QUICK]) == 0
