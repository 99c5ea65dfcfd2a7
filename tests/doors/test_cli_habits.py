"""Habits of Lightning's command line: each works here, or says what to write instead."""

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import StochasticWeightAveraging

from lit_models.cli import main
from lit_models.cli.linked import LinkedCLI, drawn_seed
from lit_models.plugins.callbacks import PatientEarlyStopping
from tests.cli.tiny import write

from . import plain

OURS = """\
seed_everything: 0
model: {class_path: tests.doors.plain.Ours}
data: {class_path: tests.doors.plain.OurData}
trainer: {accelerator: cpu, max_epochs: 2, num_sanity_val_steps: 0, enable_progress_bar: false, log_every_n_steps: 1,
          enable_model_summary: false}
"""
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.enable_model_summary=false"]
STOPPING = """\
trainer:
  callbacks+:
    - class_path: EarlyStopping
      init_args: {monitor: val/loss, patience: 1}
"""
CHECKPOINTS = """\
trainer:
  callbacks+:
    - {class_path: ModelCheckpoint, init_args: {monitor: val/loss, save_top_k: 3}}
    - {class_path: ModelCheckpoint, init_args: {save_top_k: -1, every_n_epochs: 1, filename: "each-{epoch}"}}
"""
pytestmark = [
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers"),
]


@pytest.fixture
def ours(in_tmp):
    return write(in_tmp, "ours.yaml", OURS)


@pytest.fixture
def run(capsys):
    """The command, which has to end well; what it said."""

    def carry_out(*arguments):
        assert main([*map(str, arguments)]) == 0, capsys.readouterr().err
        return capsys.readouterr()

    return carry_out


@pytest.fixture
def refused(capsys):
    """The command, which has to refuse; its one sentence."""

    def carry_out(*arguments):
        assert main([*map(str, arguments)]) in (1, 2)
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return err

    return carry_out


def names(folder):
    return {path.name for path in Path(folder).iterdir()}


# ---------------------------------------------------------------------- flags of the trainer
def test_without_a_logger_the_records_of_the_run_stay(ours, run):
    run("fit", "-c", ours, "--trainer.logger", "false")
    found = names("runs/ours/version_0")
    assert found >= {"checkpoints", "history.json", "curves.png", "results.json", "config.yaml"}
    assert not any(name.startswith("events") for name in found)


@pytest.mark.parametrize("logger", ["true", "null"])
def test_lightnings_own_logger_writes_into_the_run_folder(logger, ours, run):
    run("fit", "-c", ours, f"--trainer.logger={logger}", "--trainer.max_epochs=1", "--test_after_fit=false")
    run("fit", "-c", ours, f"--trainer.logger={logger}", "--ckpt_path=last", "--test_after_fit=false")
    assert names("runs/ours") == {"version_0"}
    found = names("runs/ours/version_0")
    assert found >= {"checkpoints", "history.json", "config.yaml"}
    assert sum(name.startswith("events") for name in found) == 2
    assert not any(Path(f"runs/ours/version_0/{name}").is_dir() for name in found - {"checkpoints"})


def test_save_dir_and_name_of_the_logger_say_where_the_run_lies(ours, run):
    options = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=logs", "--trainer.logger.name=mine"]
    run("fit", "-c", ours, *options, "--trainer.max_epochs=1")
    assert names("logs/mine/version_0") >= {"checkpoints", "config.yaml", "metrics.csv", "results.json"}
    assert not Path("runs").exists()
    assert run("test", "-c", ours, *options, "--ckpt_path=best")


def test_a_name_for_the_experiment(ours, run):
    run("fit", "-c", ours, "--name", "sweep/a", "--trainer.fast_dev_run=true")
    run("fit", "-c", ours, "--name", "sweep/a", "--trainer.max_epochs=1", "--test_after_fit=false")
    run("test", "-c", ours, "--name", "sweep/a", "--ckpt_path", "last")
    assert names("runs/sweep/a") == {"version_0"}


def test_further_checkpoints_beside_ours_are_kept_and_resumed(ours, in_tmp, run):
    more = ["-c", write(in_tmp, "more.yaml", CHECKPOINTS)]
    run("fit", "-c", ours, *more, "--trainer.max_epochs=1")
    run("fit", "-c", ours, *more, "--ckpt_path=last")
    found = names("runs/ours/version_0/checkpoints")
    assert found >= {"best.ckpt", "last.ckpt", "each-epoch=0.ckpt", "each-epoch=1.ckpt", "epoch=0-step=4.ckpt"}
    states = torch.load("runs/ours/version_0/checkpoints/last.ckpt", weights_only=True)["callbacks"]
    kept = {key: state for key, state in states.items() if key.startswith("ModelCheckpoint")}
    assert len(kept) == 4
    assert sum(key.endswith("}") for key in kept) == 2  # those that are shipped have Lightning's own keys
    top = next(state for key, state in kept.items() if "(None, 3" in key)
    assert len(top["best_k_models"]) == 2  # of both parts of the run


def test_two_that_nothing_tells_apart_are_refused(ours, in_tmp, refused):
    twice = write(in_tmp, "twice.yaml", CHECKPOINTS + CHECKPOINTS.partition("callbacks+:\n")[2])
    assert "two ModelCheckpoint" in refused("fit", "-c", ours, "-c", twice)


def test_a_run_that_ends_inside_its_first_epoch_is_no_failure_of_early_stopping(ours, in_tmp, run):
    run("fit", "-c", ours, "-c", write(in_tmp, "stop.yaml", STOPPING), "--trainer.max_steps", 2)
    last = torch.load("runs/ours/version_0/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2
    assert any(key.startswith("EarlyStopping{'monitor': 'val/loss'") for key in last["callbacks"])


def test_early_stopping_names_what_is_logged(ours, in_tmp, refused):
    wrong = write(in_tmp, "stop.yaml", STOPPING.replace("val/loss", "val_los"))
    err = refused("fit", "-c", ours, "-c", wrong)
    assert "'val_los'" in err
    assert "val/loss" in err


@pytest.mark.filterwarnings("ignore:EarlyStopping rests")
@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_no_validation_at_all(schedule, ours, in_tmp, run):
    stop = ["-c", write(in_tmp, "stop.yaml", STOPPING), f"--model.schedule.name={schedule}"]
    run("fit", "-c", ours, *stop, "--trainer.limit_val_batches", 0, "--trainer.max_epochs=3")
    assert torch.load("runs/ours/version_0/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2


def test_no_checkpoints(ours, run):
    out = run("fit", "-c", ours, "--trainer.enable_checkpointing", "false").out
    assert "Ours, test" in out  # tested, with the weights it has
    assert names("runs/ours/version_0") >= {"history.json", "results.json", "config.yaml"}
    assert not Path("runs/ours/version_0/checkpoints").exists()


# ---------------------------------------------------------------------- seeds
@pytest.mark.parametrize("given", ["true", "false"])
def test_a_seed_that_nobody_names_is_drawn_kept_and_found_in_the_config(given, ours, run):
    drawn_seed.cache_clear()
    run("fit", "-c", ours, "--seed_everything", given, "--trainer.max_epochs=1", "--test_after_fit=false")
    config = yaml.safe_load(Path("runs/ours/version_0/config.yaml").read_text())
    saved = torch.load("runs/ours/version_0/checkpoints/last.ckpt", weights_only=True)
    seed = saved["hyper_parameters"]["seed"]
    assert config["seed_everything"] == seed == saved["datamodule_hyper_parameters"]["seed"]
    assert type(seed) is int
    drawn_seed.cache_clear()
    assert drawn_seed() != seed


def test_processes_that_cannot_share_a_drawn_seed_need_a_number(ours, refused, monkeypatch):
    drawn_seed.cache_clear()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert "give a number" in refused("fit", "-c", ours, "--seed_everything=true")


# ---------------------------------------------------------------------- classes of one's own
def test_a_plain_module_and_plain_data_run_resume_and_are_tested(in_tmp, run):
    classes = ["--model=tests.doors.plain.Plain", "--data=tests.doors.plain.PlainData", *QUIET]
    run("fit", *classes, "--name=plain", "--trainer.max_epochs=1")
    run("fit", *classes, "--name=plain", "--trainer.max_epochs=2", "--ckpt_path=last")
    found = names("runs/plain/version_0")
    assert found >= {"checkpoints", "history.json", "results.json", "config.yaml"}
    assert "best.ckpt" in names("runs/plain/version_0/checkpoints")  # follows val_loss
    assert len(json.loads(Path("runs/plain/version_0/history.json").read_text())["epoch"]) == 2
    run("test", "--ckpt_path=runs/plain", *QUIET[:1])


@pytest.mark.filterwarnings("ignore:best.ckpt is not kept")
@pytest.mark.parametrize("name", ["WithData", "Silent"])
def test_a_module_with_loaders_of_its_own(name, in_tmp, run):
    run("fit", f"--model=tests.doors.plain.{name}", *QUIET, "--name=own", "--trainer.max_epochs=1")
    assert ("best.ckpt" in names("runs/own/version_0/checkpoints")) is (name == "WithData")
    assert "last.ckpt" in names("runs/own/version_0/checkpoints")


@pytest.mark.parametrize(
    ("key", "path", "words"),
    [
        ("model", "nowhere.Thing", ["nowhere.Thing cannot be imported", "'nowhere'", "current folder"]),
        ("model", "tests.doors.plain.Plane", ["cannot be imported", "'Plain'"]),
        ("model", "lit_models.MDLMDIT", ["'MDLMDiT'"]),
        ("model", "MDLMDIT", ["'MDLMDIT'", "'MDLMDiT'"]),
        ("model", "tests.doors.plain.Neither", ["is no LightningModule"]),
        ("data", "tests.doors.plain.Plain", ["is no LightningDataModule"]),
        ("data", "datamodules.MusicFrame", ["'MusicFrames'"]),
        ("data", "MusicFrame", ["'MusicFrame'", "'MusicFrames'"]),
    ],
)
def test_a_class_that_is_none(key, path, words, in_tmp, refused):
    classes = {"model": "tests.doors.plain.Plain", "data": "tests.doors.plain.PlainData"} | {key: path}
    config = write(in_tmp, "own.yaml", yaml.safe_dump({part: {"class_path": name} for part, name in classes.items()}))
    for place, request in {
        "command line": [f"--{part}={name}" for part, name in classes.items()],
        "own.yaml, line ": ["-c", config],
    }.items():
        err = refused("fit", *request)
        assert all(word in err for word in [place, *words]), err
        assert len(err.splitlines()) == 1


# ---------------------------------------------------------------------- how a request is written
def test_a_config_may_stand_first_without_c(run):
    out = run("fit", "mdlm/empty_8x8", "trainer/cpu", "--print_config").out
    assert yaml.safe_load(out)["model"]["class_path"].endswith("MDLMDiT")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (["mdlm/empty_8y8"], ["mdlm/empty_8x8"]),
        (["--trainer.max_epochs=1", "mdlm/empty_8x8"], ["-c mdlm/empty_8x8"]),
        (["-c", "mdlm/empty_8x8", "nonsense"], ["'nonsense'"]),
        (["-c", "mdlm/empty_8x8", "--seed", "3"], ["--seed_everything"]),
        (["-c", "mdlm/empty_8x8", "--epochs", "3"], ["--trainer.max_epochs"]),
        (["-c", "mdlm/empty_8x8", "--max_epochs=3"], ["--trainer.max_epochs"]),
        (["-c", "mdlm/empty_8x8", "--batch_size=3"], ["--data.batch_size"]),
        (["-c", "mdlm/empty_8x8", "--gpus=3"], ["--trainer.devices"]),
        (["--trainer.max_epochs=1"], ["-c NAME"]),
        ([], ["-c NAME"]),
        (["-c", "mdlm/empty_8x8", "-c", "midi/groove"], ["two whole experiments", "MDLMDiT", "GroovePredictor"]),
        (["-c", "mdlm/empty_8x8", "-c", "mdlm/four_rooms"], ["two whole experiments"]),
    ],
)
def test_a_request_that_cannot_be_meant_says_what_to_write(request_, words, in_tmp, refused):
    err = refused("fit", *request_)
    assert all(word in err for word in words), err
    assert len(err.splitlines()) == 1


def test_a_run_is_tested_without_its_config(ours, run):
    run("fit", "-c", ours, "--trainer.max_epochs=1", "--model.width=3", "--test_after_fit=false")
    for which in ("runs/ours/version_0", "runs/ours", "runs/ours/version_0/checkpoints/last.ckpt"):
        run("test", "--ckpt_path", which)
    assert names("runs") == {"ours"}
    assert names("runs/ours") == {"version_0"}


# ---------------------------------------------------------------------- a main.py of one's own
MAIN = """\
from datamodules import MiniGridPlans
from lit_models import MDLMDiT
from lit_models.cli.linked import LinkedCLI

if __name__ == "__main__":
    LinkedCLI(MDLMDiT, MiniGridPlans)
"""
TINY = [
    *("--data.env=MiniGrid-Empty-5x5-v0", '--data.env_kwargs={"agent_start_pos": null}', "--data.train=20"),
    *(
        "--data.val=6",
        "--data.test=6",
        "--data.batch_size=4",
        "--model.network.hidden_size=16",
        "--model.network.num_layers=1",
    ),
    *("--model.network.num_heads=2", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu"),
    "--trainer.enable_model_summary=false",
]


@pytest.mark.parametrize("classes", [True, False])
def test_a_main_of_ones_own_has_the_links(classes, in_tmp, monkeypatch):
    import datamodules
    import lit_models

    assert len(MAIN.splitlines()) <= 10
    named = [] if classes else ["--model=MDLMDiT", "--data=MiniGridPlans"]
    given = (lit_models.MDLMDiT, datamodules.MiniGridPlans) if classes else ()
    monkeypatch.setattr(sys, "argv", ["main.py", "fit", *named, *TINY, "--seed_everything=5"])
    cli = LinkedCLI(*given)
    assert cli.model.hparams["view_size"] == [5, 5]
    assert cli.model.hparams["seed"] == cli.datamodule.hparams["seed"] == 5


# ---------------------------------------------------------------------- schedulers
def trained(module, *callbacks, **options):
    off = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(**off | {"accelerator": "cpu", "max_epochs": 4} | options, callbacks=[*callbacks])
    trainer.fit(module, plain.OurData())
    return trainer


class Rates(Callback):
    def __init__(self):
        self.seen = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
@pytest.mark.filterwarnings("ignore:Swapping scheduler")
def test_schedulers_of_a_subclass_or_a_callback_are_stepped_once(in_tmp):
    class Halving(plain.Ours):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

    rates = Rates()
    trained(Halving(), rates)
    assert rates.seen == [1.0, 0.5, 0.25, 0.125]
    rates = Rates()
    swa = StochasticWeightAveraging(0.1, swa_epoch_start=1, annealing_epochs=4, annealing_strategy="linear")
    trained(plain.Ours(optimizer={"lr": 1e-3}), swa, rates, max_epochs=6)
    assert rates.seen[1:] == pytest.approx([0.02575, 0.0505, 0.07525, 0.1, 0.1])


def test_a_schedule_that_follows_the_validation_rests_in_an_epoch_without_one(in_tmp):
    module = plain.Ours(schedule={"name": "plateau"})
    stopping = PatientEarlyStopping("val/loss")
    trained(module, stopping, val_check_interval="00:01:00:00", max_epochs=2)
    assert module.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 0
