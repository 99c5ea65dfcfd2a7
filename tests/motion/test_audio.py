import pytest
import torch

from lit_models.motion.network import AudioEncoder

T = 40


def make(**changes):
    torch.manual_seed(0)
    return AudioEncoder(3, 8, **changes).eval()


def sound(batch=1, frames=T):
    return torch.randn(batch, frames, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("layers", "kernel"), [(0, 1), (1, 3), (2, 5), (3, 5)])
def test_a_frame_hears_its_surroundings_alike_on_both_sides_and_no_further(layers, kernel):
    encoder, audio = make(num_layers=layers, kernel_size=kernel), sound().requires_grad_()
    middle = T // 2
    encoder(audio, torch.ones(1, T).bool())[0, middle].sum().backward()
    heard = audio.grad[0].abs().sum(dim=1) > 0
    reach = (kernel - 1) // 2 * sum(2**layer for layer in range(layers))
    assert encoder.reach == reach
    distance = (torch.arange(T) - middle).abs()
    assert not heard[distance > reach].any()
    assert heard[middle]
    if layers:
        assert heard[middle - reach]
        assert heard[middle + reach]


def test_padding_is_as_if_it_were_not_there():
    encoder, lengths = make(), torch.tensor([T, 23, 2])
    audio, valid = sound(3), torch.arange(T) < lengths[:, None]
    spoilt = audio.masked_fill(~valid[..., None], float("nan"))
    out = encoder(spoilt, valid)
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(audio[row : row + 1, :length], torch.ones(1, length).bool())
        torch.testing.assert_close(out[row, :length], alone[0])


def test_a_later_sound_is_a_later_token():
    encoder, audio, valid = make(), sound(), torch.ones(1, T).bool()
    moved = encoder(audio.roll(3, dims=1), valid)
    inside = slice(encoder.reach + 3, T - encoder.reach)
    torch.testing.assert_close(moved[:, inside], encoder(audio, valid).roll(3, dims=1)[:, inside])


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r"audio_kernel=4.*odd"):
        make(kernel_size=4)
