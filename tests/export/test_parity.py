"""The file, interpreted frame by frame, and PyTorch over whole sequences compute the same."""

import numpy as np
import pytest
import torch
from torch import nn

from lit_models.export.rtneural import TOLERANCE, Interpreter, to_rtneural, validate
from lit_models.export.rtneural.golden import difference

from ..scripts import load

_chains = load("random_chain")
Chain, random_chain = _chains.Chain, _chains.random_chain


def frames(count, size, seed=0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def both(chain, count, dtype=np.float32, fold=True):
    """(ours, PyTorch's) outputs of one stream."""
    inputs = frames(count, chain.input_size, 1)
    model = to_rtneural(chain.export_layers(), chain.input_size, chain.mean, chain.std, fold)
    validate(model)
    with torch.no_grad():
        theirs = chain.to(torch.float64 if dtype == np.float64 else torch.float32)(inputs.to(_torch(dtype))[None])[0]
    return Interpreter(model, dtype).run(inputs.numpy()), theirs.numpy()


def _torch(dtype):
    return torch.float64 if dtype == np.float64 else torch.float32


@pytest.mark.parametrize("fold", [True, False])
def test_random_chains(fold):
    worst = max(difference(*both(random_chain(seed), 300, fold=fold)) for seed in range(20 * fold, 20 * fold + 20))
    assert worst <= TOLERANCE


@pytest.mark.slow
def test_200_random_chains_over_2000_frames():
    assert max(difference(*both(random_chain(seed), 2000, fold=bool(seed % 2))) for seed in range(200)) <= TOLERANCE


def test_random_chains_have_every_layer_that_can_be_written():
    found = {type(layer) for seed in range(40) for layer in random_chain(seed).layers}
    weighty = {nn.Linear, nn.Conv1d, nn.LSTM, nn.GRU, nn.BatchNorm1d, nn.PReLU, nn.LeakyReLU}
    assert found == weighty | {nn.Tanh, nn.ReLU, nn.Sigmoid, nn.ELU, nn.Softmax, nn.Dropout, nn.Identity}


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Linear(3, 4, bias=False)],
        [nn.Conv1d(3, 6, 3, dilation=4, groups=3)],
        [nn.Conv1d(3, 2, 1, bias=False)],
        [nn.LSTM(3, 4, 3, batch_first=True)],
        [nn.GRU(3, 4, 2, batch_first=True)],
        [nn.GRU(3, 4, bias=False, batch_first=True), nn.BatchNorm1d(4), nn.ELU()],
        [nn.BatchNorm1d(3), nn.Conv1d(3, 2, 3)],
        [nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Dropout(), nn.LeakyReLU(0.3))), nn.Softmax(-1)],
        [nn.utils.parametrizations.weight_norm(nn.Linear(3, 5)), nn.Sigmoid()],
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers),
)
def test_each_layer_in_float64_is_equal_to_its_rounded_weights(layers):
    chain = Chain(layers, 3).eval()
    with torch.no_grad():
        for name, values in chain.named_buffers():
            if "running" in name:
                values.uniform_(0.5, 2)
    ours, theirs = both(chain, 64, np.float64)
    np.testing.assert_allclose(ours, theirs, atol=2e-7)


MEAN, NOTHING = [90.0, -2.0, 0.5], [0.0, 0.0, 0.0]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    ("first", "mean", "kept"),
    [
        (nn.Linear(3, 4), MEAN, []),
        (nn.Linear(3, 4, bias=False), MEAN, []),
        (nn.LSTM(3, 4), MEAN, []),
        (nn.GRU(3, 4), MEAN, []),
        (nn.Conv1d(3, 6, 1, groups=3), MEAN, []),
        (nn.Conv1d(3, 4, 3), MEAN, ["batchnorm"]),  # the zeros before the start must stay zeros
        (nn.Conv1d(3, 6, 3, groups=3), NOTHING, []),
        (nn.Tanh(), MEAN, ["batchnorm"]),
    ],
)
def test_normalisation_goes_into_the_first_layer_exactly(first, mean, kept, fold):
    mean, std = np.array(mean), np.array([20.0, 0.1, 3.0])
    model = to_rtneural([first], 3, mean, std, fold)
    raw = frames(50, 3).double().numpy() * std + mean
    explicit = Interpreter(to_rtneural([first], 3), np.float64).run((raw - mean) / std)
    np.testing.assert_allclose(Interpreter(model, np.float64).run(raw), explicit, atol=1e-5)
    assert [layer["type"] for layer in model["layers"]][:-1] == kept


@pytest.mark.parametrize(("stride", "padding"), [(1, "valid"), (1, "same"), (2, "valid"), (2, "same"), (3, "same")])
def test_the_interpreter_convolves_over_time_and_columns(stride, padding):
    columns, filters, out_filters, taps, width, dilation = 7, 2, 3, 3, 4, 2
    conv = nn.Conv2d(filters, out_filters, (taps, width), (1, stride), dilation=(dilation, 1))
    norm = nn.BatchNorm2d(out_filters).eval()
    norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
    out = -(-columns // stride) if padding == "same" else -(-(columns - width + 1) // stride)
    total = max((out - 1) * stride + width - columns, 0) if padding == "same" else 0
    x = frames(20, columns * filters)
    with torch.no_grad():
        image = x.view(1, 20, columns, filters).permute(0, 3, 1, 2)  # (1, filter, time, column)
        padded = nn.functional.pad(image, (total // 2, total - total // 2, (taps - 1) * dilation, 0))
        theirs = norm(conv(padded)).permute(0, 2, 3, 1).reshape(20, -1)
    sizes = {"num_filters_in": filters, "num_features_in": columns, "num_filters_out": out_filters}
    kernel = {"kernel_size_time": taps, "kernel_size_feature": width, "dilation": dilation, "strides": stride}
    first = [conv.weight.detach().permute(2, 3, 1, 0).tolist(), conv.bias.tolist()]
    second = [values.tolist() for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
    shape = [None, 20, out, out_filters]
    layers = [
        {"type": "conv2d", "shape": shape, **sizes, **kernel, "padding": padding, "weights": first},
        {
            "type": "batchnorm2d",
            "shape": shape,
            "num_filters_in": out_filters,
            "num_features_in": out,
            "epsilon": norm.eps,
            "weights": second,
        },
    ]
    model = {"in_shape": [None, 20, columns, filters], "layers": layers}
    validate(model)
    np.testing.assert_allclose(Interpreter(model).run(x.numpy()), theirs.numpy(), atol=1e-5)


def test_folding_leaves_no_batchnorm_and_changes_nothing():
    norms = [nn.BatchNorm1d(5), nn.BatchNorm1d(5, affine=False)]
    for norm in norms:
        norm.running_mean.uniform_(-1, 1), norm.running_var.uniform_(0.5, 2)
    chain = [nn.Linear(3, 5), norms[0], nn.Tanh(), norms[1], nn.GRU(5, 4)]
    folded, kept = (to_rtneural(chain, 3, fold_batchnorm=fold) for fold in (True, False))
    assert [layer["type"] for layer in folded["layers"]] == ["dense", "gru"]
    assert [layer["type"] for layer in kept["layers"]] == ["dense", "batchnorm", "activation", "batchnorm", "gru"]
    x = frames(40, 3).numpy()
    np.testing.assert_allclose(Interpreter(folded).run(x), Interpreter(kept).run(x), atol=1e-6)


def test_an_embedding_is_a_matrix_for_one_hot_frames():
    table = nn.Embedding(7, 3)
    model = to_rtneural([table, nn.Tanh()], 7)
    ours = Interpreter(model).run(np.eye(7, dtype=np.float32))
    np.testing.assert_allclose(ours, table.weight.detach().tanh().numpy(), atol=1e-7)
    assert len(model["layers"][0]["weights"]) == 1


def test_reset_forgets():
    chain = random_chain(3)
    interpreter = Interpreter(to_rtneural(chain.export_layers(), chain.input_size))
    x = frames(30, chain.input_size).numpy()
    first = interpreter.run(x)
    assert np.abs(np.stack([interpreter.step(frame) for frame in x]) - first).max() > 1e-4
    np.testing.assert_array_equal(interpreter.run(x), first)
