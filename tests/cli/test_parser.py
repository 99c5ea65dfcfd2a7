"""Mistakes in a request: one line, the right place, the right name."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_models.cli import main
from lit_models.cli.run import resolved_config

from .tiny import write

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(in_tmp):
    return write(in_tmp)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer:\n  max_epochs: many\n", ["line 2", "trainer.max_epochs", "int or null", "many"]),
        ("seed_everything: abc\n", ["line 1", "seed_everything", "int", "abc"]),
        (
            "model:\n  init_args:\n    schedule: {name: cosine}\n    optimizer: {lr: fast}\n",
            ["line 4", "model.optimizer.lr", "float", "fast"],
        ),
        (
            "model:\n  init_args:\n    sampling: {sampler: ancestal}\n",
            ["line 3", "model.sampling.sampler", "'ancestral'"],
        ),
        ("trainer:\n  logger:\n  - class_path: CsvLogger\n", ["line 3", "'CsvLogger'", "'CSVLogger'"]),
        (
            "trainer:\n  callbacks+:\n  - class_path: EMAWeights\n    init_args: {lr: 1}\n",
            ["line 4", "'lr'", "There are: decay"],
        ),
        ("# all of it is\n# a comment\n", ["`key: value`"]),
        ("just words\n", ["`key: value`"]),
        ("model: [\n", ["no valid YAML", "line 2"]),
    ],
)
def test_a_mistake_in_a_file(text, words, tiny, in_tmp, capsys):
    bad = write(in_tmp, "bad.yaml", text)
    assert main(["fit", "-c", tiny, "-c", bad, "--model.optimizer.lr=0.1", "--trainer.max_epochs=1"]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in ["bad.yaml", *words]), err
    assert "command line" not in err
    assert len(err.splitlines()) == 1


def test_an_overlay_changes_some_options_of_a_group_and_keeps_the_others(tiny, in_tmp):
    overlays = ("{network: {num_layers: 3}, optimizer: {betas: [0.5, 0.6]}}", "{optimizer: {weight_decay: 0.3}}")
    files = [write(in_tmp, f"{n}.yaml", f"model: {{init_args: {each}}}") for n, each in enumerate(overlays)]
    requested = [token for file in (tiny, *files) for token in ("-c", file)]
    found = resolved_config([*requested, "--model.network.num_heads=4"])["model"]["init_args"]
    kept = {name: found["network"][name] for name in ("hidden_size", "num_layers", "num_heads")}
    assert kept == {"hidden_size": 16, "num_layers": 3, "num_heads": 4}
    kept = {name: found["optimizer"][name] for name in ("lr", "weight_decay", "betas")}
    assert kept == {"lr": 0.05, "weight_decay": 0.3, "betas": [0.5, 0.6]}


@pytest.mark.parametrize("null", [["=null"], ["null"], ["=~"]])
def test_null_is_nothing_in_a_group_as_everywhere(null, tiny):
    options = ["--model.objective.validation_levels", "--model.init_args.sampling.replan_every"]
    given = [token for name in options for token in ([name, *null] if null == ["null"] else [name + null[0]])]
    found = resolved_config(["-c", tiny, "--model.sampling.replan_every=3", *given])["model"]["init_args"]
    assert found["objective"]["validation_levels"] is None
    assert found["sampling"]["replan_every"] is None
    assert found["objective"]["draws_per_plan"] == 1


def test_a_file_that_is_no_text(tiny, in_tmp, capsys):
    (in_tmp / "noise.yaml").write_bytes(bytes(range(256)))
    assert main(["fit", "-c", tiny, "-c", "noise.yaml"]) == 2
    assert "noise.yaml is no text file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.max_epochs", "many"], ["command line", "trainer.max_epochs", "int or null", "many"]),
        (["--model.sampling.sampler=ancestal"], ["command line", "model.sampling.sampler", "'ancestral'"]),
        (["--ckpt_path"], ["--ckpt_path", "expected one argument"]),
        (["--ckpt=last"], ["command line", "'ckpt'", "'ckpt_path'"]),
    ],
)
def test_a_mistake_on_the_command_line(options, words, tiny, capsys):
    assert main(["fit", "-c", tiny, *options]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
    assert len(err.splitlines()) == 1


def test_a_request_without_a_model_says_how_to_choose_one(in_tmp, capsys):
    assert main(["fit"]) == 2
    assert "litmotif list" in capsys.readouterr().err


def test_a_setting_that_lightning_refuses_gets_its_message_alone(tiny, capsys):
    assert main(["fit", "-c", tiny, "--trainer.profiler=simpel"]) == 1
    err = capsys.readouterr().err
    assert "simple" in err
    assert "Traceback" not in err


def test_a_value_that_a_constructor_refuses_gets_its_message_alone(tiny, capsys):
    assert main(["fit", "-c", tiny, "--model.schedule.name=plateau", "--model.schedule.warmup=3"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("litmotif: schedule.name='plateau' has no warm-up")
    assert "Traceback" not in err


def test_help_calls_the_command_by_its_name(capsys):
    assert main(["fit", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: litmotif ")


def test_a_foreign_file_is_named_as_well_as_a_foreign_folder(tmp_path):
    (tmp_path / "callbacks.py").write_text("open('imported', 'w').close()")
    asked = {}
    for command in ("list", "doctor"):
        code = f"from lit_models.cli import main; raise SystemExit(main([{command!r}]))"
        asked[command] = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert asked["list"].returncode == 1
    assert str(tmp_path / "callbacks.py") in asked["list"].stderr
    assert "not ours" in asked["doctor"].stdout  # the place to look when something is foreign
    assert not (tmp_path / "imported").exists()


def test_doctor_names_the_folders(capsys, monkeypatch):
    monkeypatch.setenv("LITMOTIF_CACHE", "/some/cache")
    assert main(["doctor"]) == 0
    assert "/some/cache" in capsys.readouterr().out
