"""A layer over pitch moves with the keys, is the matrix that it is written out as, and streams."""

import pytest
import torch

import lit_models
from lit_models.export.rtneural import TOLERANCE, export
from lit_models.midi.pitch import PitchConv, PitchInput, PitchOutput
from lit_models.midi.stack import LayerStack

from ..nested import merged

KEYS, SIZE, CHANNELS, REACH = 20, 5, 3, 2
UNITS = SIZE + CHANNELS * KEYS


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    torch.set_num_threads(1)


def predictor(**options):
    sizes = {
        "network": {
            "backbone": "pitch_tcn",
            "hidden_size": 6,
            "channels": CHANNELS,
            "reach": REACH,
            "num_layers": 2,
            "kernel_size": 2,
            "dropout": 0.3,
        }
    }
    module = lit_models.MelodyTransformer(KEYS + 4, KEYS, **merged(sizes, options))
    for weight in module.network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return module.eval()


def rolls(frames=16):
    return (torch.rand(2, frames, KEYS + 4) > 0.7).float()


def up(x, semitones):
    """Keys (..., K) moved; what leaves at one end comes back at the other."""
    return x.roll(semitones, dims=-1)


def test_channels_move_with_the_keys_and_free_units_do_not():
    layer = PitchConv(KEYS, SIZE, CHANNELS, REACH, kernel_size=2, dilation=3)
    free, keyed = torch.randn(2, SIZE, 9), torch.zeros(2, CHANNELS, 9, KEYS)
    keyed[..., 7:10] = torch.randn(2, CHANNELS, 9, 3)  # far from both ends

    def through(channels):
        out = layer(torch.cat([free, channels.transpose(2, 3).flatten(1, 2)], dim=1))
        return out[:, :SIZE], out[:, SIZE:].unflatten(1, (CHANNELS, KEYS)).transpose(2, 3)

    (still, near), (still_too, moved) = through(keyed), through(up(keyed, 4))
    torch.testing.assert_close(still_too, still)
    torch.testing.assert_close(moved, up(near, 4))
    assert (moved - near).abs().max() > 0.01


@pytest.mark.parametrize("semitones", [REACH, REACH + 1])
def test_a_channel_sees_as_many_semitones_as_its_reach(semitones):
    layer = PitchConv(KEYS, SIZE, CHANNELS, REACH, kernel_size=1, dilation=1)
    x = torch.zeros(1, UNITS, 1, requires_grad=True)
    layer(x)[0, SIZE + 10].backward(torch.ones(1))
    reached = x.grad[0, SIZE:, 0].unflatten(0, (CHANNELS, KEYS))
    assert (reached[:, 10 + semitones].abs().max() > 0) == (semitones <= REACH)
    assert x.grad[0, :SIZE].abs().min() > 0


def test_layers_are_the_matrices_that_they_are_written_out_as():
    ends = PitchInput(KEYS + 4, KEYS, SIZE, CHANNELS, REACH), PitchOutput(KEYS, SIZE, CHANNELS, REACH)
    torch.nn.init.normal_(ends[0].place)
    for layer, size in zip(ends, (KEYS + 4, UNITS), strict=True):
        x = torch.randn(2, 7, size)
        torch.testing.assert_close(layer.plain()(x), layer(x))
    conv = PitchConv(KEYS, SIZE, CHANNELS, REACH, kernel_size=3, dilation=2)
    x = torch.randn(2, UNITS, 9)
    torch.testing.assert_close(conv.plain()(x), conv(x))


def test_it_streams_is_causal_and_is_its_chain_of_plain_layers():
    module, inputs = predictor(), rolls()
    with torch.no_grad():
        whole = module(inputs)
        chain, _ = LayerStack(module.export_layers()).eval()(inputs)
        state, frames = None, []
        for frame in inputs.unbind(1):
            output, state = module.step(frame, state)
            frames.append(output)
        later = inputs.clone()
        later[:, 9:] = 1 - later[:, 9:]
        changed = module(later)
    torch.testing.assert_close(chain, whole)
    torch.testing.assert_close(torch.stack(frames, dim=1), whole)
    assert torch.equal(changed[:, :9], whole[:, :9])
    assert not torch.equal(changed[:, 9:], whole[:, 9:])


def test_it_is_exported(tmp_path):
    report = export(predictor(), tmp_path, frames=30)
    assert report.difference <= TOLERANCE


def test_all_keys_have_one_scale_whatever_the_data():
    statistics = {"input_mean": torch.rand(KEYS + 4).tolist(), "input_std": torch.rand(KEYS + 4).tolist()}
    mean, std = predictor(**statistics).export_normaliser()
    assert mean.unique().tolist() == [0]
    assert std.unique().tolist() == [1]


def test_its_first_guess_is_the_constant():
    share = torch.linspace(0.1, 0.9, KEYS)
    module = lit_models.MelodyTransformer(
        KEYS, KEYS, network={"backbone": "pitch_tcn", "hidden_size": 6}, target_mean=share.tolist()
    )
    with torch.no_grad():
        for part in (module.network.layers[-1].free.weight, module.network.layers[-1].near.weight):
            part.zero_()
        torch.testing.assert_close(module(rolls()[..., :KEYS])[0, 0], share)


def test_the_receptive_field_of_two_blocks_of_two_taps_is_seven_frames():
    module, inputs = predictor(), rolls().requires_grad_()
    module(inputs)[0, -1].sum().backward()
    seen = inputs.grad[0].abs().amax(dim=1) > 0
    assert seen[-7:].all()
    assert not seen[:-7].any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"input_size": 8}, "takes the 20 keys of a frame first"),
        ({"network": {"channels": 0}}, "channels=0 must be at least 1"),
        ({"network": {"reach": -1}}, "reach=-1 must be at least"),
    ],
)
def test_what_has_no_keys_is_refused(options, words):
    sizes = {"input_size": KEYS, "output_size": KEYS, "network": {"backbone": "pitch_tcn", "hidden_size": 6}}
    with pytest.raises(ValueError, match=words):
        lit_models.MelodyTransformer(**merged(sizes, options))
