"""Networks that are no module of ours: any nn.Sequential of layers that the format has is exported by one call."""

import pytest
import torch
from torch import nn

from lit_models.export.rtneural import ExportError, UnsupportedLayerError, export, verify

CHAINS = {
    "dense": lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.Softmax(dim=-1)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 7), nn.ReLU()), nn.Dropout(), nn.Linear(7, 3)),
    "gru": lambda: nn.Sequential(nn.Linear(5, 7), nn.GRU(7, 6, batch_first=True), nn.Linear(6, 3)),
    "lstm": lambda: nn.Sequential(nn.LSTM(5, 6), nn.Linear(6, 3), nn.Sigmoid()),
    "conv": lambda: nn.Sequential(nn.Conv1d(5, 8, 3, dilation=2), nn.BatchNorm1d(8), nn.PReLU(8), nn.Conv1d(8, 3, 2)),
    "elu": lambda: nn.Sequential(nn.Tanh(), nn.Linear(5, 7), nn.ELU(), nn.Linear(7, 3)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_sequential_is_exported_with_its_golden_frames_and_sidecar(name, tmp_path):
    torch.manual_seed(0)
    report = export(CHAINS[name](), tmp_path, name, frames=12)
    assert report.difference < 1e-5
    assert {path.name for path in report.files} == {
        f"{name}{end}" for end in (".json", ".sidecar.json", ".golden.npz", ".golden.json")
    }
    assert verify(tmp_path / f"{name}.sidecar.json") < 1e-5


def test_what_the_format_lacks_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UnsupportedLayerError, match="GELU"):
        export(nn.Sequential(nn.Linear(5, 7), nn.GELU()), tmp_path / "out", "a")
    with pytest.raises(ExportError, match="give input_size"):
        export(nn.Sequential(nn.Tanh()), tmp_path / "out", "a")
    assert export(nn.Sequential(nn.Tanh()), tmp_path / "out", "a", frames=3, input_size=2).parameters == 0
    with pytest.raises(ExportError, match=r"or an nn\.Sequential of its layers"):
        export(nn.Linear(5, 7), tmp_path / "none", "a")
    assert not (tmp_path / "none").exists()
