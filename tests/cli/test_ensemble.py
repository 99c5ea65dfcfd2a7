"""Several runs judged as one, and exported as one."""

import json
from pathlib import Path

import pytest
import torch

import lit_models
from lit_models.cli import main
from lit_models.cli.commands import ensemble

from .tiny import write

CONFIG = """\
# litmotif fit -c drums.yaml
# A few made grooves
model: {class_path: GroovePredictor, init_args: {network: {backbone: gru, hidden_size: 8}}}
data:
  class_path: MusicFrames
  init_args: {task: groove, songs: 8, split: [0.5, 0.25, 0.25], frames: 32, batch_size: 4}
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false, logger: false}
"""


def train(name, seed, *options):
    callbacks = "--trainer.callbacks=[{class_path: ModelCheckpoint, init_args: {filename: best}}]"
    root = f"--trainer.default_root_dir={name}"
    fit = ["fit", "-c", "drums.yaml", f"--seed_everything={seed}", root, callbacks, "--test_after_fit=false"]
    assert main([*fit, *options]) == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write(folder, "drums.yaml", CONFIG)
        train("a", 0)
        train("b", 1)
        train("other", 0, "--model=DynamicsEngine", "--data.task=dynamics")
    return folder


@pytest.fixture
def runs(home, monkeypatch):
    monkeypatch.chdir(home)
    return ["a/version_0", "b/version_0"]


def frames(seed=0):
    return torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_the_ensemble_gives_the_mean_of_its_members(runs):
    members = [lit_models.load(run) for run in runs]
    each = torch.stack([member(frames()) for member in members])
    assert (each[0] - each[1]).abs().max() > 1e-3
    assert torch.allclose(ensemble.averaged(members, "outputs")(frames()), each.mean(dim=0), atol=1e-6)
    logits = torch.stack([member.run(frames())[0] for member in members])
    assert torch.allclose(ensemble.averaged(members, "logits")(frames()), logits.mean(dim=0).tanh(), atol=1e-6)
    together, state = ensemble.averaged(members, "outputs"), None
    for t, frame in enumerate(frames().unbind(1)):
        out, state = together.step(frame, state)
        assert torch.allclose(out, each.mean(dim=0)[:, t], atol=1e-6)


def test_each_is_judged_on_the_same_test_and_the_network_is_that_of_the_table(runs, capsys):
    assert ensemble.Ensemble()([*runs, "--device", "cpu", "--out", "both", "--export", "rtneural"]) == 0
    out = capsys.readouterr().out
    for word in ("a/version_0", "b/version_0", "constant", "loss", "mean of the logits"):
        assert word in out
    kept = json.loads(Path("both/results.json").read_text())
    assert kept["members"] == runs
    loss = kept["results"]["loss"]
    assert loss["value"] != loss[runs[0]] != loss[runs[1]]
    assert loss["value"] <= max(loss[run] for run in runs)
    written = json.loads(Path("both/ensemble.json").read_text())
    assert written["in_shape"][-1] == 64
    assert written["layers"][-1]["shape"][-1] == 32
    assert Path("both/ensemble.golden.npz").is_file()  # the export has compared both on these frames
    sidecar = json.loads(Path("both/ensemble.sidecar.json").read_text())
    assert sidecar["metrics"] == kept["results"]
    assert sidecar["frame"]["length"] == 0.25
    assert len(sidecar["data"]["data"]) == 64
    assert "frame" not in sidecar["data"]


def test_members_that_normalise_differently_become_one_network_of_raw_frames(runs):
    members = [lit_models.load(run) for run in runs]
    members[1].normalizer.mean += 0.5
    members[1].normalizer.std *= 2
    together = ensemble.averaged(members, "logits")
    mean, std = together.export_normaliser()
    assert torch.equal(mean, torch.zeros(64))
    assert torch.equal(std, torch.ones(64))
    x = frames()
    for layer in together.export_layers():
        x = layer(x)[0] if isinstance(layer, torch.nn.GRU) else layer(x)
    assert torch.allclose(x, together(frames()), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["a/version_0"], 2, ["at least 2 runs"]),
        (["a/version_0", "b/version_0", "--export", "rtneural"], 2, ["--out"]),
        (["a/version_0", "other/version_0"], 1, ["DynamicsEngine", "GroovePredictor", "one class"]),
        (["a/version_0", "nowhere"], 1, ["nowhere"]),
    ],
)
def test_what_has_no_mean_is_refused(arguments, status, words, runs, capsys):
    assert ensemble.Ensemble()(arguments) == status
    err = capsys.readouterr().err
    assert all(word in err for word in words), err
