"""One folder a run: found again, never overwritten."""

from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace

from lit_models.cli import configs, main, run_claim, run_folder

from . import plain
from .tiny import write

RUN = Path("runs/plain/version_0")


@pytest.fixture
def config(in_tmp):
    return write(in_tmp, "plain.yaml", plain.CONFIG)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def logger(kind, **init_args):
    return Namespace(class_path=f"lightning.pytorch.loggers.{kind}", init_args=Namespace(**init_args))


def test_the_config_that_a_run_left_makes_a_new_run_of_the_same_name(config):
    assert main(["fit", "-c", config]) == 0
    before = contents(RUN)
    assert main(["fit", "-c", str(RUN / "config.yaml")]) == 0
    assert contents(RUN) == before
    again = RUN.with_name("version_1")
    assert (again / "config.yaml").read_text() == (RUN / "config.yaml").read_text()
    weights = [torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in (RUN, again)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("loggers", ["false", "[{class_path: TensorBoardLogger, init_args: {save_dir: runs}}]"])
def test_checkpoints_lie_in_the_run_folder_with_any_logger_or_none(loggers, config, capsys):
    last = "[{class_path: ModelCheckpoint, init_args: {filename: last, enable_version_counter: false}}]"
    assert main(["fit", "-c", config, f"--trainer.logger={loggers}", f"--trainer.callbacks={last}"]) == 0
    assert (RUN / "checkpoints/last.ckpt").is_file(), capsys.readouterr().err
    assert [path.name for path in Path("runs/plain").iterdir()] == ["version_0"]


def test_every_logger_and_every_open_dirpath_gets_the_folder(tmp_path):
    folder = tmp_path / "version_3"
    loggers = [logger("CSVLogger", version=None), logger("TensorBoardLogger", version=None), logger("WandbLogger")]
    kept = Namespace(class_path="ModelCheckpoint", init_args=Namespace(dirpath="mine"))
    open_ = Namespace(class_path="ModelCheckpoint", init_args=Namespace(dirpath=None))
    trainer = {"logger": loggers, "callbacks": [open_, kept], "fast_dev_run": False}
    run_folder.place(trainer, folder)
    assert trainer["default_root_dir"] == str(folder)
    assert open_.init_args.dirpath == str(folder / "checkpoints")
    assert kept.init_args.dirpath == "mine"
    for one in loggers[:2]:
        assert (one.init_args.save_dir, one.init_args.name, one.init_args.version) == (str(tmp_path), "", "version_3")
    assert loggers[2].init_args.save_dir == str(folder)


def test_a_logger_with_a_version_of_its_own_keeps_it(tmp_path):
    mine = logger("CSVLogger", version="mine", save_dir="there")
    run_folder.place({"logger": mine}, tmp_path / "version_0")
    assert (mine.init_args.version, mine.init_args.save_dir) == ("mine", "there")


def test_a_wandb_run_is_found_again_and_is_nobody_elses(tmp_path):
    ids = []
    for folder in ("a/version_0", "a/version_0", "b/version_0"):
        wandb = logger("WandbLogger")
        run_folder.place({"logger": wandb}, tmp_path / folder)
        ids.append(wandb.init_args.id)
    assert ids[0] == ids[1] != ids[2]


def test_fast_dev_run_writes_nothing(config, in_tmp):
    loggers = "--trainer.logger=[{class_path: CSVLogger, init_args: {save_dir: x}}, {class_path: WandbLogger}]"
    assert main(["fit", "-c", config, "--trainer.fast_dev_run=true", loggers]) == 0
    assert [path.name for path in in_tmp.iterdir()] == ["plain.yaml"]


def test_runs_of_one_cluster_job_do_not_share_a_folder_but_a_requeued_job_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "812")
    first = run_claim.claim(tmp_path)
    assert first.name == "version_812"
    second = run_claim.claim(tmp_path)
    assert second not in (first, tmp_path)
    assert run_claim.claim(tmp_path) not in (first, second)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_claim.claim(tmp_path) == first


def test_a_resumed_run_goes_on_in_its_folder_from_wherever_it_is_named(config, in_tmp, capsys):
    assert main(["fit", "-c", config]) == 0
    absolute = (in_tmp / RUN / "checkpoints/last.ckpt").resolve()
    assert main(["fit", "-c", config, "--ckpt_path", str(absolute), "--trainer.max_epochs=3"]) == 0
    assert "dirpath has changed" not in capsys.readouterr().err  # else the best score so far would be forgotten
    assert [path.name for path in Path("runs/plain").iterdir()] == ["version_0"]


def test_a_run_folder_gives_its_last_checkpoint_to_a_fit_and_its_best_to_a_test(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("last", "best"):
        (tmp_path / "checkpoints" / f"{name}.ckpt").touch()
    assert run_folder.find_checkpoint(str(tmp_path), tmp_path, ("last", "best")).stem == "last"
    assert run_folder.find_checkpoint(str(tmp_path), tmp_path, ("best", "last")).stem == "best"


def test_predictions_are_kept(tiny, capsys):
    assert main(["fit", "-c", tiny, "--trainer.max_epochs=1", "--test_after_fit=false"]) == 0
    assert main(["predict", "-c", tiny, "--ckpt_path=last"]) == 0, capsys.readouterr().err
    predicted = torch.load("runs/tiny/version_0/predict_0/predictions.pt", weights_only=True)
    assert sum(len(batch) for batch in predicted) == 6


def test_an_evaluation_of_untrained_weights_says_so(tiny, capsys):
    assert main(["validate", "-c", tiny]) == 0
    assert "before any training" in capsys.readouterr().err


@pytest.fixture
def tiny(in_tmp):
    return write(in_tmp)


@pytest.mark.parametrize(
    ("requested", "name"),
    [
        (["runs/mdlm/empty_8x8/version_3/config.yaml"], "mdlm/empty_8x8"),
        (["/elsewhere/runs/tiny/version_0/config_resumed_1.yaml"], "tiny"),
        (["kept/mine/version_0/config.yaml"], "mine"),
        (["trainer/cpu", str(configs.folder() / "mdlm/empty_8x8.yaml")], "mdlm/empty_8x8"),
        ([str(configs.folder() / "trainer/cpu.yaml"), "mine.yaml"], "mine"),
        (["trainer/cpu"], "unnamed"),
    ],
)
def test_the_name_of_an_experiment(requested, name):
    assert configs.experiment_name(requested) == name
