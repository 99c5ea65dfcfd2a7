"""A stream of frames is the sequence; parameters are those of the requirement; padding changes nothing."""

import pytest
import torch

import lit_models
from lit_models.core.normalizer import Standardizer
from lit_models.midi.network import Network, make_stack
from lit_models.midi.stack import LayerStack

from .songs import NAMES

COUNTS = {
    "EmotionRecognizer": 403_264,
    "MelodyTransformer": 641_664,
    "HarmonyPredictor": 74_176,
    "DynamicsEngine": 13_520,
    "GroovePredictor": 18_656,
}
BACKBONES = ("requirement", "gru", "tcn", "residual_tcn", "mlp")


def trained_looking(module):
    """Statistics and slopes that are not those of the beginning."""
    source = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.copy_(torch.randn(part.running_mean.shape, generator=source))
            part.running_var.copy_(torch.rand(part.running_var.shape, generator=source) + 0.5)
        if isinstance(part, torch.nn.PReLU):
            part.weight.data.copy_(torch.rand(part.weight.shape, generator=source))
    return module.eval()


def a_module(name, backbone):
    torch.manual_seed(0)
    size = getattr(lit_models, name)().hparams["input_size"]
    mean, std = torch.linspace(-1, 1, size).tolist(), torch.linspace(0.5, 2, size).tolist()
    options = {
        "input_mean": mean,
        "input_std": std,
        "network": {"backbone": backbone, "hidden_size": 24, "num_layers": 3, "dropout": 0.3},
    }
    return trained_looking(getattr(lit_models, name)(**options))


def streamed(module, inputs):
    state, outputs = None, []
    for frame in inputs.unbind(1):
        output, state = module.step(frame, state)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_sizes_are_those_of_the_requirement(name):
    layers = getattr(lit_models, name)().export_layers()
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == COUNTS[name]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_of_frames_is_the_sequence(name, backbone):
    module = a_module(name, backbone)
    inputs = torch.randn(3, 30, module.hparams["input_size"])
    with torch.no_grad():
        torch.testing.assert_close(streamed(module, inputs), module(inputs), rtol=0, atol=1e-5)


def test_a_transformer_streams_too():
    module = a_module("MelodyTransformer", "transformer")
    inputs = torch.randn(2, 12, 64)
    with torch.no_grad():
        torch.testing.assert_close(streamed(module, inputs), module(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("backbone", [*BACKBONES, "transformer"])
def test_no_output_sees_a_later_frame(backbone):
    module = a_module("MelodyTransformer", backbone)
    inputs = torch.randn(1, 20, 64, requires_grad=True)
    module(inputs)[0, 9].sum().backward()
    assert inputs.grad[0, 10:].abs().max() == 0
    assert inputs.grad[0, 9].abs().max() > 0


@pytest.mark.parametrize(("backbone", "seen"), [("requirement", 15), ("gru", 15), ("tcn", 14), ("mlp", 0)])
def test_how_far_back_a_backbone_sees(backbone, seen):
    module = a_module("MelodyTransformer", backbone)  # tcn: 3 convolutions of 3 taps, 2 + 4 + 8 frames
    inputs = torch.randn(1, 16, 64, requires_grad=True)
    module(inputs)[0, -1].sum().backward()
    first = int((inputs.grad[0].abs().amax(dim=1) > 0).nonzero()[0])
    assert 15 - first == seen


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_exported_chain_of_a_normalised_frame_is_the_model(backbone):
    module = a_module("HarmonyPredictor", backbone)
    inputs = torch.randn(2, 9, 128)
    mean, std = module.export_normaliser()
    with torch.no_grad():
        chain, _ = LayerStack(module.export_layers()).eval()((inputs - mean) / std)
        torch.testing.assert_close(chain, module(inputs))


def test_batch_statistics_leave_padding_out():
    torch.manual_seed(0)
    one, other = (make_stack(Network("tcn", 6, 2), (), 4, 3) for _ in range(2))
    other.load_state_dict(one.state_dict())
    x = torch.randn(2, 10, 4)
    padded = torch.cat([x, torch.full((2, 5, 4), 50.0)], dim=1)
    valid = torch.arange(15).expand(2, 15) < 10
    out, _ = one(x, valid=torch.ones(2, 10, dtype=torch.bool))
    with_padding, _ = other(padded, valid=valid)
    torch.testing.assert_close(with_padding[:, :10], out)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value)
    spoilt, _ = other(padded)
    assert (spoilt[:, :10] - out).abs().max() > 0.1


def test_dropout_is_for_training_only():
    module = a_module("DynamicsEngine", "requirement")
    inputs = torch.randn(1, 5, 32)
    assert torch.equal(module(inputs), module(inputs))
    module.train()
    assert not torch.equal(module(inputs), module(inputs))


def test_inputs_are_normalised_and_a_column_that_never_changes_is_only_centred():
    normalizer = Standardizer(3, {"mean": [1.0, 2.0, 3.0], "std": [2.0, 0.0, 0.5]}, constants="centre")
    found = normalizer(torch.tensor([[3.0, 5.0, 4.0]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 3.0, 2.0]]))
    with pytest.raises(ValueError, match=r"input_mean has shape \(2,\) for 64 columns"):
        lit_models.GroovePredictor(input_mean=[1.0, 2.0])


def test_unknown_backbones_are_refused():
    with pytest.raises(ValueError, match="'requirement', 'gru', 'tcn', 'residual_tcn' or 'mlp'"):
        lit_models.GroovePredictor(network={"backbone": "transformer"})
    with pytest.raises(ValueError, match="divide"):
        lit_models.MelodyTransformer(network={"backbone": "transformer", "hidden_size": 20, "num_heads": 4})


def test_a_transformer_is_not_exported():
    module = a_module("MelodyTransformer", "transformer")
    with pytest.raises(TypeError, match=r"network is a CausalTransformer.*melody_distil"):
        module.export_layers()
