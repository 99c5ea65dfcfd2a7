"""``litmotif export rtneural`` from end to end, in one process."""

import json
import shutil
from pathlib import Path

import pytest

import datamodules
import lit_models
from lit_models.cli import main
from lit_models.export.rtneural import verify

from . import tiny

RTNEURAL = ["export", "rtneural", "--out", "out"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a config and its run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "stream.yaml").write_text(tiny.CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("LITMOTIF_RUN_FOLDER", raising=False)
        fit()
    return folder


def fit(*overrides):
    callback = "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {filename: best, save_last: true}}]"
    assert main(["fit", "-c", "stream.yaml", callback, *overrides]) == 0


@pytest.fixture
def run(trained, in_tmp, monkeypatch):
    """A run of a public module on public data, below the current folder."""
    for package, public in ((lit_models, tiny.Stream), (datamodules, tiny.StreamData)):
        monkeypatch.setattr(package, "__all__", [*package.__all__, public.__name__])
        monkeypatch.setattr(package, public.__name__, public, raising=False)
    shutil.copytree(trained, in_tmp, dirs_exist_ok=True)
    return in_tmp / "runs" / "stream" / "version_0"


def sidecar():
    return json.loads(Path("out/stream.sidecar.json").read_text())


def test_export_of_a_run(run, capsys):
    (run / "results.json").write_text('{"mae": {"value": 0.1, "constant": 0.3}}')
    capsys.readouterr()
    assert main([*RTNEURAL, "-c", "stream.yaml", "--ckpt_path", "best"]) == 0
    shown = capsys.readouterr().out
    for word in ("gru 4 → dense 2 tanh", "parameters", "a parameter", "largest difference", "stream.json"):
        assert word in shown
    assert verify(Path("out/stream.sidecar.json")) <= 1e-5
    content = sidecar()
    assert content["metrics"] == {"mae": {"value": 0.1, "constant": 0.3}}
    assert content["data"]["class"] == "StreamData"
    assert content["data"]["options"]["rows"] == 8
    assert content["data"]["sha256"] == "of 8 rows"
    assert content["data"]["features"] == ["tempo", "up", "down"]
    assert content["frame"] == {"length": 0.5, "unit": "beats"}
    assert content["thresholds"] == {"second": 0.5}
    assert content["checkpoint"]["file"] == "best.ckpt"
    assert content["checkpoint"]["global_step"] == 2
    assert content["golden"]["frames"] == 256


def test_options_change_what_is_written(run):
    options = ["--name", "other", "--frames", "7", "--golden_seed", "3", "--ask_data", "false"]
    assert main([*RTNEURAL, "--ckpt_path", str(run), *options]) == 0
    assert {path.name for path in Path("out").iterdir()} == {
        f"other.{ending}" for ending in ("json", "sidecar.json", "golden.json", "golden.npz")
    }
    content = json.loads(Path("out/other.sidecar.json").read_text())
    assert (content["golden"]["frames"], content["golden"]["seed"]) == (7, 3)
    assert "sha256" not in content["data"]


def test_last_and_a_file_are_found_too(run):
    assert main([*RTNEURAL, "-c", "stream.yaml", "--ckpt_path", "last"]) == 0
    assert sidecar()["checkpoint"]["file"] == "last.ckpt"
    assert main([*RTNEURAL, "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]) == 0
    assert sidecar()["checkpoint"]["file"] == "best.ckpt"


def test_what_the_best_has_reached_is_not_told_of_the_last(run):
    (run / "results.json").write_text('{"mae": {"value": 0.1}}')
    found = {}
    for which in ("best", "last"):
        assert main([*RTNEURAL, "-c", "stream.yaml", "--ckpt_path", which]) == 0
        found[which] = sidecar()["metrics"]
    assert found == {"best": {"mae": {"value": 0.1}}, "last": {}}
    (run / "checkpoints" / "best.ckpt").unlink()  # no validation: the last one was tested
    assert main([*RTNEURAL, "-c", "stream.yaml", "--ckpt_path", "last"]) == 0
    assert sidecar()["metrics"] == found["best"]


def test_runs_are_found_where_the_config_puts_them(run):
    run.parent.rename("elsewhere")
    Path("stream.yaml").write_text(tiny.CONFIG.replace("{accelerator: cpu,", "{default_root_dir: elsewhere,"))
    assert main([*RTNEURAL, "-c", "stream.yaml"]) == 0


def test_a_module_that_cannot_be_expressed_leaves_nothing(run, capsys):
    fit("--model.attention=true", "--trainer.default_root_dir=with")
    assert main([*RTNEURAL, "--ckpt_path", "with"]) == 1
    told = capsys.readouterr().err
    assert "network.3 (MultiheadAttention): RTNeural's JSON has no such layer. Remedy: train an exportable" in told
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "message", "expected"),
    [
        (["export"], "format", 2),
        (["export", "onnx", "--out", "x"], "rtneural", 2),
        (["export", "rtneural"], "out", 2),
        ([*RTNEURAL], "--ckpt_path best needs -c NAME", 2),
        ([*RTNEURAL, "-c", "mdlm/empty_8x8"], "no such checkpoint", 1),
        ([*RTNEURAL, "-c", "mdlm/empty_8x9"], "mdlm/empty_8x8", 2),
        ([*RTNEURAL, "--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt", 1),
        ([*RTNEURAL, "--ckpt", "x"], "ckpt", 2),
    ],
)
def test_a_wrong_request_is_named(in_tmp, capsys, arguments, message, expected):
    assert main(arguments) == expected
    assert message in capsys.readouterr().err
    assert not Path("out").exists()


def test_help_names_the_formats(capsys):
    assert main(["export", "--help"]) == 0
    assert "rtneural" in capsys.readouterr().out
