"""The command from end to end, in one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from lit_models.cli import main

from .tiny import write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(in_tmp):
    return write(in_tmp)


def checkpoint(path):
    return torch.load(path, weights_only=True)


def test_fit_leaves_a_whole_run_folder_and_ends_with_a_table(tiny, capsys):
    assert main(["fit", "-c", tiny]) == 0
    run = Path("runs/tiny/version_0")
    names = {path.name for path in run.iterdir()}
    assert names >= {"checkpoints", "history.json", "history.csv", "curves.png", "rollouts.png", "config.yaml"}
    assert names >= {"results.json", "hparams.yaml"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    out = capsys.readouterr().out
    for word in ["model", "random", "copy", "expert", "nelbo", "success", "excess steps", str(run)]:
        assert word in out
    history = json.loads((run / "history.json").read_text())
    assert history["epoch"] == [1, 2]
    assert all(value is not None for name in ("train_loss", "val_loss", "val/success") for value in history[name])
    results = json.loads((run / "results.json").read_text())
    assert results["success"]["expert"] == 1.0
    assert results["success"]["low"] <= results["success"]["value"] <= results["success"]["high"]
    assert results["nelbo"]["expert"] < results["nelbo"]["value"] < results["nelbo"]["random"] * 1.5
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["train"] == 20


def test_each_run_has_a_folder_of_its_own_and_resume_goes_on_in_the_old_one(tiny):
    short = ["-c", tiny, "-c", "logger/csv", "--test_after_fit", "false"]
    assert main(["fit", *short, "--trainer.max_epochs", "1"]) == 0
    assert main(["fit", *short, "--trainer.max_epochs", "1"]) == 0
    assert sorted(p.name for p in Path("runs/tiny").iterdir()) == ["version_0", "version_1"]
    assert main(["fit", *short, "--ckpt_path", "last"]) == 0
    assert sorted(p.name for p in Path("runs/tiny").iterdir()) == ["version_0", "version_1"]
    run = Path("runs/tiny/version_1")
    assert json.loads((run / "history.json").read_text())["epoch"] == [1, 2]
    assert (run / "metrics_1.csv").is_file()
    assert (run / "config_resumed_1.yaml").is_file()
    assert checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 10


def test_a_resumed_run_equals_an_uninterrupted_one(tiny):
    assert main(["fit", "-c", tiny, "--trainer.default_root_dir", "whole"]) == 0
    assert main(["fit", "-c", tiny, "--trainer.default_root_dir", "parts", "--trainer.max_epochs", "1"]) == 0
    again = ["fit", "-c", tiny, "--trainer.default_root_dir", "parts", "--ckpt_path", "last"]
    assert main(again) == 0
    whole, parts = (checkpoint(f"{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_test_validate_and_predict_find_best_and_last(tiny, capsys):
    assert main(["fit", "-c", tiny, "-c", "logger/csv", "--test_after_fit", "false"]) == 0
    for command in ("test", "validate", "predict"):
        for which in ("best", "last", "runs/tiny/version_0", "runs/tiny/version_0/checkpoints/last.ckpt"):
            assert main([command, "-c", tiny, "-c", "logger/csv", "--ckpt_path", which]) == 0, capsys.readouterr().err


def test_a_missing_checkpoint_lists_what_was_looked_for(tiny, capsys):
    assert main(["test", "-c", tiny, "--ckpt_path", "best"]) == 1
    assert "runs/tiny has no run yet" in capsys.readouterr().err
    assert main(["test", "-c", tiny, "--ckpt_path", "nowhere.ckpt"]) == 1
    assert "nowhere.ckpt" in capsys.readouterr().err


def test_the_command_line_beats_the_checkpoint_and_the_checkpoint_beats_the_config(tiny, capsys):
    assert (
        main(
            [
                "fit",
                "-c",
                tiny,
                "--model.optimizer.lr",
                "0.02",
                "--model.optimizer.weight_decay",
                "0.3",
                "--trainer.max_epochs=1",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["fit", "-c", tiny, "--ckpt_path", "last", "--model.optimizer.lr", "0.001"]) == 0
    hparams = checkpoint("runs/tiny/version_0/checkpoints/last.ckpt")["hyper_parameters"]["optimizer"]
    assert hparams["lr"] == 0.001
    assert hparams["weight_decay"] == 0.3
    err = capsys.readouterr().err
    assert "model.optimizer.lr" in err
    assert "the command line wins" in err
    assert "model.optimizer.weight_decay" in err
    assert "the run goes on as it was" in err
    groups = checkpoint("runs/tiny/version_0/checkpoints/last.ckpt")["optimizer_states"][0]["param_groups"]
    assert groups[0]["lr"] == pytest.approx(0.001)


def test_another_architecture_on_the_command_line_is_refused_with_both_values(tiny, capsys):
    assert main(["fit", "-c", tiny, "--trainer.max_epochs=1", "--test_after_fit=false"]) == 0
    assert main(["fit", "-c", tiny, "--ckpt_path", "last", "--model.network.hidden_size", "32"]) == 1
    err = capsys.readouterr().err
    assert "hidden_size 32" in err
    assert "built with 16" in err


def test_a_run_that_was_started_with_another_architecture_is_tested_with_it(tiny):
    assert (
        main(["fit", "-c", tiny, "--trainer.max_epochs=1", "--model.network.hidden_size=32", "--test_after_fit=false"])
        == 0
    )
    assert main(["test", "-c", tiny, "--ckpt_path", "last"]) == 0


class Evil:
    def __reduce__(self):
        return (os.system, ("touch ran",))


def test_files_that_only_pose_as_checkpoints(tiny, capsys):
    torch.save({"state_dict": {}, "payload": Evil()}, "evil.ckpt")
    assert main(["test", "-c", tiny, "--ckpt_path", "evil.ckpt"]) == 1
    assert "it could run code" in capsys.readouterr().err
    assert not Path("ran").exists()
    torch.save({"weights": 1}, "other.ckpt")
    assert main(["test", "-c", tiny, "--ckpt_path", "other.ckpt"]) == 1
    assert "no Lightning checkpoint" in capsys.readouterr().err
    assert main(["fit", "-c", tiny, "--trainer.max_epochs=1", "--test_after_fit=false"]) == 0
    whole = Path("runs/tiny/version_0/checkpoints/last.ckpt").read_bytes()
    Path("half.ckpt").write_bytes(whole[: len(whole) // 2])
    assert main(["test", "-c", tiny, "--ckpt_path", "half.ckpt"]) == 1
    assert "half.ckpt is damaged" in capsys.readouterr().err
    foreign = checkpoint("runs/tiny/version_0/checkpoints/last.ckpt")
    foreign["litmotif"]["class"] = "CPO"
    torch.save(foreign, "foreign.ckpt")
    assert main(["test", "-c", tiny, "--ckpt_path", "foreign.ckpt"]) == 1
    assert "holds a CPO" in capsys.readouterr().err


def test_overlays_are_laid_over_and_append_callbacks(tiny, in_tmp, capsys):
    overlay = write(
        in_tmp,
        "overlay.yaml",
        "trainer:\n  max_epochs: 1\n  callbacks+:\n    - class_path: EMAWeights\n      init_args: {decay: 0.5}\n",
    )
    assert main(["fit", "-c", tiny, "-c", overlay, "--test_after_fit=false"]) == 0
    config = yaml.safe_load(Path("runs/tiny/version_0/config.yaml").read_text())
    kinds = [callback["class_path"].rpartition(".")[2] for callback in config["trainer"]["callbacks"]]
    assert kinds[-1] == "EMAWeights"
    assert {"ModelCheckpoint", "RunHistory", "ResultsTable", "Figures"} < set(kinds)
    assert config["trainer"]["max_epochs"] == 1


def test_the_module_is_built_for_its_data_and_both_get_the_seed(tiny):
    assert main(["fit", "-c", tiny, "--trainer.max_epochs=1", "--test_after_fit=false", "--seed_everything=3"]) == 0
    saved = checkpoint("runs/tiny/version_0/checkpoints/last.ckpt")
    assert saved["hyper_parameters"]["view_size"] == [5, 5]
    assert saved["hyper_parameters"]["horizon"] > 3
    assert saved["hyper_parameters"]["seed"] == saved["datamodule_hyper_parameters"]["seed"] == 3


def test_a_mistake_of_the_user_gets_a_message_not_a_traceback(tiny, capsys):
    assert main(["fit", "-c", tiny, "--data.env", "MiniGrid-Emty-5x5-v0"]) == 1
    err = capsys.readouterr().err
    assert "MiniGrid-Empty-5x5-v0" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("modle: {class_path: MDLMDiT}\n", ["line 1", "'modle'", "'model'"]),
        ("model: {class_path: MDLMDit}\n", ["line 1", "'MDLMDit'", "'MDLMDiT'"]),
        ("model:\n  init_args:\n    hiden_size: 3\n", ["line 3", "'hiden_size'", "'network.hidden_size'"]),
        ("data:\n  init_args:\n    trian: 3\n", ["line 3", "'trian'", "'train'"]),
        ("trainer:\n  max_epoch: 3\n", ["line 2", "'max_epoch'", "'max_epochs'"]),
        (
            "trainer:\n  callbacks+:\n    - class_path: EMAWeights\n      init_args: {decai: 1}\n",
            ["line 4", "'decai'", "'decay'"],
        ),
        (
            "trainer:\n  callbacks+:\n    - class_path: EMAWeight\n",
            ["line 3", "'EMAWeight'", "'EMAWeights'"],
        ),
        ("model:\n  init_args: {network: {hidden_size: abc}}\n", ["line 2", "hidden_size", "int", "abc"]),
        ("model: [\n", ["no valid YAML"]),
    ],
)
def test_a_typo_in_a_file_is_named_with_its_place_and_the_nearest_name(text, words, tiny, in_tmp, capsys):
    bad = write(in_tmp, "bad.yaml", text)
    assert main(["fit", "-c", tiny, "-c", bad]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ["bad.yaml", *words]), err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (["--model.network.hiden_size", "3"], ["'hiden_size'", "'hidden_size'"]),
        (["--model.hidden_size", "3"], ["'hidden_size'", "It is 'network.hidden_size' now"]),
        (["--model.optimizer", "muon"], ["model.optimizer is a group", "model.optimizer.name"]),
        (["--model.learning_rate", "3"], ["'optimizer.lr'"]),
        (["--data.trian=3"], ["'trian'", "'train'"]),
        (["--modle.lr", "3"], ["'modle'", "'model'"]),
        (["--trainer.max_epoch=3"], ["'max_epoch'", "'max_epochs'"]),
        (["--model", "MDLM"], ["'MDLM'", "'MDLMDiT'"]),
        (["--model.optimizer.lr", "fast"], ["lr", "float", "fast"]),
    ],
)
def test_a_typo_on_the_command_line_is_named_with_the_nearest_name(override, words, tiny, capsys):
    assert main(["fit", "-c", tiny, *override]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ["command line", *words]), err


def test_an_unknown_config_names_the_nearest(capsys):
    assert main(["fit", "-c", "mdlm/empty8x8"]) == 2
    assert "mdlm/empty_8x8" in capsys.readouterr().err


def test_ctrl_c_leaves_a_checkpoint_and_says_how_to_go_on(tiny, in_tmp):
    run = subprocess.Popen(
        [sys.executable, "-m", "lit_models", "fit", "-c", tiny, "--trainer.max_epochs", "100000"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background begins without it
    )
    last = in_tmp / "runs/tiny/version_0/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert f"Go on with: litmotif fit -c {tiny} --trainer.max_epochs 100000 --ckpt_path runs/tiny/version_0" in err
    assert checkpoint(last)["global_step"] > 0


def test_an_exception_leaves_a_checkpoint_and_says_how_to_go_on(tiny, monkeypatch, capsys):
    from lit_models import MDLMDiT

    original = MDLMDiT.training_step

    def failing(self, batch, batch_idx):
        if self.global_step == 7:
            raise KeyError("broken")
        return original(self, batch, batch_idx)

    monkeypatch.setattr(MDLMDiT, "training_step", failing)
    assert main(["fit", "-c", tiny]) == 1
    err = capsys.readouterr().err
    assert "KeyError" in err
    assert "Traceback" in err
    assert "--ckpt_path runs/tiny/version_0/checkpoints/last.ckpt" in err
    assert checkpoint("runs/tiny/version_0/checkpoints/last.ckpt")["global_step"] == 7


def test_a_non_finite_loss_is_saved_and_explained(tiny, capsys):
    assert main(["fit", "-c", tiny, "--model.optimizer.lr", "1e30"]) == 1
    err = capsys.readouterr().err
    assert "Lower optimizer.lr" in err
    assert "at step" in err
    assert Path("runs/tiny/version_0/checkpoints/last.ckpt").is_file()
