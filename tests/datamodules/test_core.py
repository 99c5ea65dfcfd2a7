import pytest

from datamodules.core import DataError, EpochSampler, Place


def draws(epoch=0, start=0, **changes):
    sampler = EpochSampler(**{"size": 23, "batch_size": 4, "seed": 0, "shuffle": True} | changes)
    sampler.set_epoch(epoch)
    sampler.place = Place(epoch, start)
    return list(sampler)


def test_the_order_is_a_function_of_seed_and_epoch():
    assert draws() == draws()
    assert draws() != draws(epoch=1)
    assert draws() != draws(seed=1)
    assert sorted(item for item, _ in draws(batch_size=23)) == list(range(23))


def test_only_full_global_batches_and_always_one():
    assert len(draws()) == 20
    assert len(draws(size=3)) == 4
    assert len(draws(steps=9)) == 36
    assert {item for item, _ in draws(size=3)} == {0, 1, 2}


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_see_together_what_one_sees(world, shuffle):
    whole = draws(shuffle=shuffle)
    parts = [draws(num_replicas=world, rank=rank, shuffle=shuffle) for rank in range(world)]
    for rank, part in enumerate(parts):
        assert part == whole[rank::world]
        assert len(part) == len(EpochSampler(23, 4, 0, shuffle, None, world, rank))
    assert sorted(draw for part in parts for draw in part) == sorted(whole)


def test_a_start_in_the_middle_continues_the_order_once():
    sampler = EpochSampler(23, 4, 0, True)
    whole = list(sampler)
    sampler.place = Place(0, 3)
    assert list(sampler) == whole[12:]
    assert list(sampler) == whole


def test_evaluation_shows_each_item_once_in_order():
    assert [item for item, _ in draws(shuffle=False)] == list(range(23))


def test_bad_sizes_are_named():
    with pytest.raises(DataError, match="split is empty"):
        draws(size=0)
    with pytest.raises(DataError, match=r"batch_size=4 .* 3 processes"):
        draws(num_replicas=3)
