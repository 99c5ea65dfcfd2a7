"""What the format cannot express is refused by path, class and remedy, and nothing is left."""

import pytest
import torch
from torch import nn

from lit_models.export.rtneural import ExportError, FormatError, ParityError, UnsupportedLayerError, export, to_rtneural

from ..scripts import load

Chain = load("random_chain").Chain


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return x + self.inner(x)


UNSUPPORTED = {
    "attention": (nn.MultiheadAttention(4, 2), "student"),
    "transformer": (nn.TransformerEncoderLayer(4, 2, 8), "student"),
    "layer norm": (nn.LayerNorm(4), "BatchNorm1d"),
    "group norm": (nn.GroupNorm(2, 4), "BatchNorm1d"),
    "gelu": (nn.GELU(), "Remedy: use ReLU"),
    "silu": (nn.SiLU(), "Remedy: use ReLU"),
    "relu6": (nn.ReLU6(), "Remedy: use ReLU"),
    "log softmax": (nn.LogSoftmax(-1), "Softmax"),
    "pooling": (nn.MaxPool1d(2), "dilated"),
    "residual": (Residual(), "residual adds"),
    "transposed": (nn.ConvTranspose1d(4, 4, 2), "causal Conv1d"),
    "2-D": (nn.Conv2d(4, 4, 3), "causal Conv1d"),
    "rnn": (nn.RNN(4, 4), "LSTM or GRU"),
    "stride": (nn.Conv1d(4, 4, 2, stride=2), "stride=2.*stride 1"),
    "same padding": (nn.Conv1d(4, 4, 3, padding="same"), "padding=same.*left only, by 2"),
    "centred padding": (nn.Conv1d(4, 4, 3, padding=1), r"padding=\(1,\).*left only"),
    "circular padding": (nn.Conv1d(4, 4, 3, padding=2, padding_mode="circular"), "circular.*zeros"),
    "bidirectional": (nn.LSTM(4, 4, bidirectional=True), "bidirectional=True.*one direction"),
    "projection": (nn.LSTM(4, 4, proj_size=2), "proj_size=2.*Linear"),
    "elu alpha": (nn.ELU(0.5), "alpha=0.5.*alpha=1"),
    "softmax over time": (nn.Softmax(1), "dim=1.*dim=-1"),
    "no statistics": (nn.BatchNorm1d(4, track_running_stats=False), "track_running_stats"),
    "embedding behind": (nn.Embedding(4, 4), "layers before it.*first"),
    "max norm": (nn.Embedding(4, 4, max_norm=1.0), "max_norm"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_expressed_is_named_and_leaves_no_file(name, tmp_path):
    layer, message = UNSUPPORTED[name]
    module = Chain([nn.Linear(4, 4), nn.Sequential(nn.Tanh(), layer)], 4)
    with pytest.raises(UnsupportedLayerError, match=rf"layers\.1\.1 \({type(layer).__name__}\).*{message}"):
        export(module, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layers", "arguments", "message"),
    [
        ([nn.Linear(3, 4)], {}, r"layers\[0\] \(Linear\) takes 3 numbers a frame, and 4 reach"),
        ([nn.Linear(4, 5), nn.LSTM(4, 2)], {}, r"layers\[1\] \(LSTM\) takes 4"),
        ([nn.Linear(4, 5), nn.PReLU(4)], {}, r"layers\[1\] \(PReLU\) takes 4"),
        ([nn.Dropout()], {}, "no layer to write"),
        ([], {}, "no layer to write"),
        ([nn.Linear(4, 4)], {"mean": [0.0] * 3}, r"mean has shape \(3,\).*4 columns"),
        ([nn.Linear(4, 4)], {"std": [1.0, 0.0, 1.0, 1.0]}, r"std\[1\] is 0.0"),
        ([nn.Linear(4, 4)], {"mean": [float("nan")] * 4}, r"mean\[0\] is nan"),
        ([nn.Embedding(4, 4)], {"mean": [1.0] * 4}, "one-hot"),
    ],
)
def test_what_is_no_chain_is_named(layers, arguments, message):
    with pytest.raises(ExportError, match=message):
        to_rtneural(layers, 4, **arguments)


def test_one_layer_in_two_places_is_refused():
    twice = nn.Linear(4, 4)
    with pytest.raises(ExportError, match=r"layers\.0 stands in the chain more than once"):
        to_rtneural([twice, twice], 4, root=Chain([twice], 4))


def earlier(folder):
    (folder / "chain.json").write_text("earlier")
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_chain_that_is_not_the_whole_forward_leaves_what_was_there(tmp_path):
    class Doubled(Chain):
        def forward(self, x):
            return 2 * super().forward(x)

    before = earlier(tmp_path)
    with pytest.raises(ParityError, match=r"Doubled differs.*export_layers\(\)"):
        export(Doubled([nn.Linear(4, 4)], 4), tmp_path, "chain")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_logits_that_overflow_the_runtime_are_refused(tmp_path):
    chain = Chain([nn.Linear(4, 4), nn.Softmax(-1)], 4)
    with torch.no_grad():
        chain.layers[0].weight.mul_(1000)
    with pytest.raises(ParityError, match="inf"):
        export(chain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, tmp_path):
    chain = Chain([nn.Linear(4, 4)], 4)
    with torch.no_grad():
        chain.layers[0].weight[1, 2] = value
    with pytest.raises(FormatError, match=r"layers\[0\] \(dense\): weights\[0\]\[2, 1\] is"):
        export(chain, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_module_that_offers_no_chain(tmp_path):
    with pytest.raises(ExportError, match="Linear offers no export_layers"):
        export(nn.Linear(2, 2), tmp_path / "out")
    with pytest.raises(ExportError, match="without folders"):
        export(Chain([nn.Linear(4, 4)], 4), tmp_path / "out", "../escaped")
    assert not list(tmp_path.iterdir())
