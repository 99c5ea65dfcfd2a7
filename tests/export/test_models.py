"""The models of music as they are, and the real runtime where it is given."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from lit_models.export.rtneural import TOLERANCE, export
from lit_models.midi.dynamics import DynamicsEngine
from lit_models.midi.emotion import EmotionRecognizer
from lit_models.midi.groove import GroovePredictor
from lit_models.midi.harmony import HarmonyPredictor
from lit_models.midi.melody import MelodyTransformer
from lit_models.midi.module import UnexportableError

from ..scripts import load

random_chain = load("random_chain").random_chain

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "rtneural"


@pytest.mark.parametrize("backbone", ["gru", "tcn", "residual_tcn", "mlp"])
@pytest.mark.parametrize(
    "kind", [EmotionRecognizer, MelodyTransformer, HarmonyPredictor, DynamicsEngine, GroovePredictor]
)
def test_each_model_is_exported_with_its_normalisation(kind, backbone, tmp_path):
    torch.manual_seed(0)
    size = kind().hparams["input_size"]
    statistics = {"input_mean": [40.0] * size, "input_std": [12.0] * size}
    module = kind(network={"backbone": backbone, "hidden_size": 8, "num_layers": 2}, **statistics)
    for norm in (layer for layer in module.modules() if isinstance(layer, nn.BatchNorm1d)):
        norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
    report = export(module, tmp_path, frames=50)
    assert report.difference <= TOLERANCE
    assert "batchnorm" not in " ".join(report.layers)
    assert report.files[0].name == f"{kind.__name__.lower()}.json"


def test_a_model_of_the_required_size(tmp_path):
    report = export(GroovePredictor(), tmp_path, frames=50)
    assert report.layers == ["dense 128 tanh", "dense 64 tanh", "dense 32 tanh"]
    assert report.parameters == 18_656
    assert report.bytes <= 13 * report.parameters


def test_attention_is_refused_and_leaves_nothing(tmp_path):
    teacher = MelodyTransformer(network={"backbone": "transformer", "hidden_size": 8, "num_layers": 1})
    with pytest.raises(UnexportableError, match=r"network is a CausalTransformer.*Train an exportable backbone"):
        export(teacher, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif("RTNEURAL_DIR" not in os.environ, reason="RTNEURAL_DIR names no checkout of RTNeural")
@pytest.mark.parametrize("backend", ["STL", "EIGEN"])
def test_the_real_runtime_gives_the_golden_frames(backend, tmp_path):
    cmake = shutil.which("cmake")
    assert cmake, "this test builds docs/rtneural"
    given = [f"-DRTNEURAL_DIR={os.environ['RTNEURAL_DIR']}", f"-DBACKEND={backend}"]
    subprocess.run([cmake, "-S", EXAMPLE, "-B", tmp_path / "build", *given], check=True)
    subprocess.run([cmake, "--build", tmp_path / "build"], check=True)
    for seed in range(40):
        export(random_chain(seed), tmp_path / "out", f"chain_{seed}", fold_batchnorm=bool(seed % 2))
    check = [tmp_path / "build" / "check", tmp_path / "out"]
    assert subprocess.run(check, check=False).returncode == 0
    (tmp_path / "out" / "chain_0.json").write_bytes((tmp_path / "out" / "chain_1.json").read_bytes())
    assert subprocess.run(check, check=False).returncode == 1
