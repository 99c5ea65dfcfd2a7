"""What an export leaves: a model, a sidecar and golden frames that belong together."""

import hashlib
import json

import numpy as np
import pytest
import torch
from torch import nn

from lit_models.export.rtneural import errors, export, verify, write
from lit_models.export.rtneural.sidecar import runtime_layers

from ..scripts import load

_chains = load("random_chain")
Chain, random_chain = _chains.Chain, _chains.random_chain

FILES = ["m.golden.json", "m.golden.npz", "m.json", "m.sidecar.json"]


class Named(Chain):
    """With all that a module may say of itself."""

    hparams = {"features": ["up", "down", "left"], "outputs": ["yes", "no"]}  # noqa: RUF012

    def export_thresholds(self):
        return {"yes": torch.tensor(0.25), "no": float("nan")}


def named(seed=0):
    torch.manual_seed(seed)
    return Named([nn.Linear(3, 8), nn.Tanh(), nn.LSTM(8, 4, batch_first=True), nn.Linear(4, 2), nn.Softmax(-1)], 3)


def test_all_files_belong_together(tmp_path):
    report = export(named(), tmp_path / "out", "m", {"data": {"sha256": "ab"}}, frames=32)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert sorted(path.name for path in report.files) == FILES
    assert report.layers == ["dense 8 tanh", "lstm 4", "dense 2 softmax"]
    sidecar = json.loads((tmp_path / "out" / "m.sidecar.json").read_text())
    assert sidecar["sha256"] == hashlib.sha256((tmp_path / "out" / "m.json").read_bytes()).hexdigest()
    assert sidecar["input"]["features"] == ["up", "down", "left"]
    assert sidecar["output"] == {"size": 2, "names": ["yes", "no"], "activation": "softmax"}
    assert sidecar["thresholds"] == {"yes": 0.25, "no": None}
    assert sidecar["data"] == {"sha256": "ab"}
    assert sidecar["runtime_layers"] == 5
    assert sidecar["parameters"] == report.parameters == 32 + 4 * 4 * (8 + 4 + 1) + 10
    assert sidecar["golden"]["max_difference"] == report.difference <= 1e-5
    assert verify(tmp_path / "out" / "m.sidecar.json") == report.difference


def test_golden_frames_are_the_same_in_both_forms_and_come_from_pytorch(tmp_path):
    chain = random_chain(12)
    export(chain, tmp_path, "m", frames=20, seed=4)
    text = json.loads((tmp_path / "m.golden.json").read_text())
    with np.load(tmp_path / "m.golden.npz") as kept:
        for name in ("inputs", "outputs"):
            np.testing.assert_array_equal(np.float32(text[name]), kept[name])
        with torch.no_grad():
            outputs = chain(torch.from_numpy(kept["inputs"])[None])[0]
        np.testing.assert_array_equal(outputs.numpy(), kept["outputs"])
        assert kept["inputs"].shape == (20, chain.input_size)


def test_seed_and_fold_change_something(tmp_path):
    chain = Chain([nn.Linear(2, 2), nn.BatchNorm1d(2)], 2)
    kept = export(chain, tmp_path, "a", seed=1, fold_batchnorm=False)
    folded = export(chain, tmp_path, "b", seed=2)
    assert (kept.layers, folded.layers) == (["dense 2", "batchnorm 2"], ["dense 2"])
    inputs = [np.load(tmp_path / f"{name}.golden.npz")["inputs"] for name in "ab"]
    assert np.abs(inputs[0] - inputs[1]).max() > 0.1


def test_golden_frames_of_an_embedding_are_one_hot(tmp_path):
    export(Chain([nn.Embedding(5, 3), nn.GRU(3, 2, batch_first=True)], 5), tmp_path, "m")
    inputs = np.load(tmp_path / "m.golden.npz")["inputs"]
    assert set(inputs.ravel()) == {0.0, 1.0}
    assert (inputs.sum(axis=1) == 1).all()


def test_the_file_of_another_model_is_refused(tmp_path):
    export(named(0), tmp_path / "a", "m")
    sidecar = tmp_path / "a" / "m.sidecar.json"
    for other, message in [
        (Chain([nn.Linear(4, 2)], 4), "its input has 4 numbers a frame, m.sidecar.json says 3"),
        (Chain([nn.Linear(3, 5)], 3), "its output has 5"),
        (named(1), "SHA-256"),
    ]:
        export(other, tmp_path / "b", "m")
        (tmp_path / "a" / "m.json").write_bytes((tmp_path / "b" / "m.json").read_bytes())
        with pytest.raises(errors.OtherModelError, match=message):
            verify(sidecar)


def test_weights_that_were_changed_under_the_right_hash_fail_on_the_golden_frames(tmp_path):
    export(named(), tmp_path, "m")
    model = json.loads((tmp_path / "m.json").read_text())
    model["layers"][0]["weights"][0][0][0] += 0.1
    write(model, tmp_path / "m.json")
    sidecar = json.loads((tmp_path / "m.sidecar.json").read_text())
    sidecar["sha256"] = hashlib.sha256((tmp_path / "m.json").read_bytes()).hexdigest()
    (tmp_path / "m.sidecar.json").write_text(json.dumps(sidecar))
    with pytest.raises(errors.GoldenFramesError, match=r"m\.json differs"):
        verify(tmp_path / "m.sidecar.json")


def test_a_broken_sidecar_is_named(tmp_path):
    export(named(), tmp_path, "m")
    sidecar = tmp_path / "m.sidecar.json"
    content = json.loads(sidecar.read_text())
    (tmp_path / "m.golden.npz").write_bytes(b"nothing")
    with pytest.raises(errors.FormatError, match="no golden frames"):
        verify(sidecar)
    sidecar.write_text(json.dumps({key: value for key, value in content.items() if key != "sha256"}))
    with pytest.raises(errors.MissingKeyError, match="'sha256' is missing"):
        verify(sidecar)
    sidecar.write_text("{")
    with pytest.raises(errors.NotJSONError, match="no JSON"):
        verify(sidecar)


def test_runtime_layers_counts_activations_that_are_named_in_a_layer():
    kinds = [{"type": "dense", "activation": "tanh"}, {"type": "dense"}, {"type": "lstm", "activation": "tanh"}]
    assert runtime_layers({"layers": [*kinds, {"type": "activation", "activation": "relu"}]}) == 5
