import torch

from lit_models.core.seeding import generator, mix


def test_streams_depend_on_every_key_and_on_nothing_else():
    draws = {keys: torch.rand(3, generator=generator(*keys)) for keys in [(0, 0), (0, 1), (1, 0), (0, 0, 0)]}
    torch.rand(100)
    for keys, draw in draws.items():
        assert torch.equal(draw, torch.rand(3, generator=generator(*keys)))
    values = [tuple(draw.tolist()) for draw in draws.values()]
    assert len(set(values)) == len(values)


def test_mix_fits_a_torch_seed():
    assert all(0 <= mix(seed, 7) < 2**63 for seed in range(1000))
