"""Every way in which a file can be broken has an error with a name and a place."""

import numpy as np
import pytest
from torch import nn

from lit_models.export.rtneural import Golden, Interpreter, compare, errors, read, to_rtneural, validate, write


def good():
    layers = [
        nn.Linear(4, 6),
        nn.Tanh(),
        nn.Conv1d(6, 4, 3, dilation=2, groups=2),
        nn.PReLU(),
        nn.LSTM(4, 5),
        nn.GRU(5, 3),
        nn.BatchNorm1d(3),
        nn.Softmax(-1),
    ]
    return to_rtneural(layers, 4)


DENSE, CONV, PRELU, LSTM, GRU, NORM, SOFTMAX = range(7)


def layer(number, **changes):
    def change(model):
        model["layers"][number].update(changes)

    return change


def weights(number, index, function):
    def change(model):
        arrays = model["layers"][number]["weights"]
        arrays[index] = np.asarray(function(np.array(arrays[index]))).tolist()

    return change


def without(key, number=None):
    return lambda model: (model if number is None else model["layers"][number]).pop(key)


def no_bias(number):
    return lambda model: model["layers"][number]["weights"].pop()


def ragged(model):
    model["layers"][DENSE]["weights"][0][1].pop()


def nan(values):
    values[1, 2] = np.nan
    return values


BROKEN = {
    "no in_shape": (without("in_shape"), "MissingKeyError", "in_shape"),
    "no layers": (without("layers"), "MissingKeyError", "layers"),
    "empty layers": (lambda model: model.update(layers=[]), "ValueRangeError", "layers"),
    "in_shape is a number": (lambda model: model.update(in_shape=4), "ValueRangeError", "in_shape"),
    "no weights": (without("weights", LSTM), "MissingKeyError", r"layers\[3\].*weights"),
    "no shape": (without("shape", DENSE), "MissingKeyError", r"layers\[0\].*shape"),
    "no type": (without("type", DENSE), "MissingKeyError", r"layers\[0\].*type"),
    "unknown layer": (layer(PRELU, type="attention"), "UnknownLayerError", "attention.*leave the layer out"),
    "layer in capitals": (layer(LSTM, type="LSTM"), "UnknownLayerError", "LSTM"),
    "unknown activation": (layer(DENSE, activation="gelu"), "UnknownActivationError", "gelu"),
    "activation in capitals": (layer(DENSE, activation="ReLU"), "UnknownActivationError", "ReLU.*lower case"),
    "activation without one": (layer(SOFTMAX, activation=""), "UnknownActivationError", r"layers\[6\]"),
    "activation that is ignored": (layer(GRU, activation="relu"), "UnknownActivationError", "ignored"),
    "declared larger": (layer(DENSE, shape=[None, None, 7]), "DeclaredShapeError", "7 outputs.*6"),
    "declared smaller": (layer(DENSE, shape=[None, None, 5]), "DeclaredShapeError", "5 outputs.*6"),
    "short bias": (weights(DENSE, 1, lambda b: b[:-1]), "DeclaredShapeError", "the bias has 5"),
    "matrix not transposed": (weights(DENSE, 0, np.transpose), "TransposedWeightsError", "Transpose it"),
    "gates not transposed": (weights(LSTM, 0, np.transpose), "TransposedWeightsError", r"layers\[3\]"),
    "loop not transposed": (weights(GRU, 1, np.transpose), "TransposedWeightsError", r"weights\[1\]"),
    "kernel not transposed": (weights(CONV, 0, np.transpose), "TransposedWeightsError", "Reverse"),
    "no conv bias": (no_bias(CONV), "MissingBiasError", r"layers\[1\]"),
    "no lstm bias": (no_bias(LSTM), "MissingBiasError", r"layers\[3\]"),
    "wrong kernel size": (layer(CONV, kernel_size=[4]), "KernelError", "kernel_size is 4.*3 taps"),
    "no kernel size": (without("kernel_size", CONV), "MissingKeyError", "kernel_size"),
    "dilation 0": (layer(CONV, dilation=[0]), "KernelError", "dilation"),
    "wrong groups": (layer(CONV, groups=1), "KernelError", "groups is 1.*make it 2"),
    "groups that do not divide": (layer(CONV, groups=4), "KernelError", "groups=4"),
    "lstm as gru": (layer(LSTM, type="gru"), "RaggedWeightsError", r"weights\[2\]"),
    "gru of 4 gates": (weights(GRU, 0, lambda w: np.pad(w, ((0, 0), (0, 3)))), "GateSizeError", "3 gates of 3"),
    "lstm of other units": (layer(LSTM, shape=[None, None, 4]), "GateSizeError", "4 gates of 4 units"),
    "gru with one bias": (weights(GRU, 2, lambda b: b[:1]), "GateSizeError", r"weights\[2\]"),
    "nan": (weights(DENSE, 0, nan), "NonFiniteWeightsError", r"weights\[0\]\[1, 2\] is nan"),
    "beyond float32": (weights(NORM, 0, lambda w: w + 1e39), "NonFiniteWeightsError", "1e\\+39"),
    "chain": (lambda model: model["layers"].pop(PRELU - 1), "ChainError", "4 outputs, and 6 reach"),
    "other in_shape": (lambda model: model.update(in_shape=[None, None, 5]), "ChainError", "takes 4.*5 reach"),
    "ragged": (ragged, "RaggedWeightsError", "unequal length"),
    "flat matrix": (weights(DENSE, 0, np.ravel), "RaggedWeightsError", "2-dimensional"),
    "text for numbers": (weights(DENSE, 1, lambda b: b.astype(str)), "RaggedWeightsError", "no numbers"),
    "no epsilon": (without("epsilon", NORM), "MissingKeyError", "epsilon"),
    "variance below 0": (weights(NORM, 3, lambda v: v - 2), "ValueRangeError", "variance"),
    "flat slopes": (weights(PRELU, 0, np.ravel), "RaggedWeightsError", "2-dimensional"),
    "slopes of another size": (weights(PRELU, 0, lambda a: a[:, :3]), "DeclaredShapeError", r"\[1\]\[4\]"),
}


def test_the_good_one_is_good():
    validate(good())


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named(name):
    breaks, error, message = BROKEN[name]
    model = good()
    breaks(model)
    with pytest.raises(errors.FormatError, match=message) as caught:
        validate(model)
    assert type(caught.value).__name__ == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not json", errors.NotJSONError),
        ('{"in_shape": [4], "layers": [', errors.NotJSONError),
        ("[1, 2]", errors.NotJSONError),
        ('{"in_shape": [4], "layers": [], "x": NaN}', errors.NonFiniteWeightsError),
    ],
)
def test_a_file_that_is_no_model(tmp_path, text, error):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(error, match=r"model\.json"):
        read(path)


def test_what_is_written_is_read(tmp_path):
    model = good()
    write(model, tmp_path / "model.json")
    assert read(tmp_path / "model.json") == model
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


@pytest.mark.parametrize(
    "breaks",
    [
        weights(0, 0, np.transpose),  # square: no shape can tell
        weights(1, 0, lambda kernel: kernel[::-1]),
        layer(1, dilation=[3]),
        weights(2, 0, lambda w: np.roll(w, 4, axis=1)),
        weights(3, 0, lambda w: w[:, [4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11]]),
    ],
    ids=["square matrix", "flipped kernel", "dilation", "lstm gates", "gru gates"],
)
def test_what_shapes_cannot_tell_golden_frames_do(breaks):
    model = to_rtneural([nn.Linear(4, 4), nn.Conv1d(4, 4, 3, dilation=2), nn.LSTM(4, 4), nn.GRU(4, 4)], 4)
    inputs = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    golden = Golden(inputs, Interpreter(model).run(inputs))
    assert compare(model, golden) == 0
    breaks(model)
    validate(model)
    with pytest.raises(errors.GoldenFramesError, match="square matrix not transposed"):
        compare(model, golden)
