import torch

from litmotif.seeding import generator, mix, seed_globally


def test_streams_depend_on_every_key_and_on_nothing_else():
    draws = {keys: torch.rand(3, generator=generator(*keys)) for keys in [(0, 0), (0, 1), (1, 0), (0, 0, 0)]}
    torch.rand(100)
    for keys, draw in draws.items():
        assert torch.equal(draw, torch.rand(3, generator=generator(*keys)))
    values = [tuple(draw.tolist()) for draw in draws.values()]
    assert len(set(values)) == len(values)


def test_mix_fits_a_torch_seed():
    assert all(0 <= mix(seed, 7) < 2**63 for seed in range(1000))


def test_the_global_generator_is_seeded_as_torch_would():
    torch.manual_seed(mix(3, 0, 5))
    expected = torch.rand(3)
    seed_globally(torch.device("cpu"), 3, 0, 5)
    assert torch.equal(torch.rand(3), expected)
