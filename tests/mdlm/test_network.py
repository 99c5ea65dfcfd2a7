from types import SimpleNamespace

import pytest
import torch

from lit_models.mdlm.network import END, MASK, Network, PlanDiT
from lit_models.mdlm.observation import AGENT, EMPTY, seen_by_agent


def observations(batch=3, size=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.stack(
        [torch.randint(high, (batch, size, size), generator=generator) for high in (9, 6, 3)], dim=-1
    ).byte()
    direction = torch.randint(4, (batch,), generator=generator)
    place = torch.randint(1, size - 1, (batch, 2), generator=generator)
    image[torch.arange(batch), place[:, 0], place[:, 1], 0] = AGENT
    image[torch.arange(batch), place[:, 0], place[:, 1], 2] = direction.byte()
    mission = torch.randint(4, (batch, 2), generator=generator)
    return SimpleNamespace(image=image, direction=direction, mission=mission)


def network(**changes):
    torch.manual_seed(0)
    settings = {"horizon": 7, "view_size": (6, 6), "num_words": 3}
    net = PlanDiT(**settings, network=Network(**{"hidden_size": 16, "num_layers": 2, "num_heads": 2} | changes))
    for parameter in net.parameters():  # leave the zero start, so that every path matters
        torch.nn.init.normal_(parameter, std=0.2)
    return net.eval()


def tokens(batch=3, seed=1):
    return torch.randint(MASK + 1, (batch, 7), generator=torch.Generator().manual_seed(seed))


def test_logits_have_no_class_for_the_mask():
    net = network()
    assert net.decode(tokens(), net.encode(observations())).shape == (3, 7, END + 1)


def test_adaln_zero_starts_uniform():
    net = PlanDiT(7, (6, 6), 0, Network(16, 2, 2))
    o = observations()
    o.mission = o.mission[:, :0]
    assert (net.decode(tokens(), net.encode(o)) == 0).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_object_colour_and_state_matter(channel):
    net, o = network(), observations()
    before = net.decode(tokens(), net.encode(o))
    elsewhere = o.image[..., 0] != AGENT
    o.image[..., channel] = torch.where(elsewhere, (o.image[..., channel] + 1) % 3, o.image[..., channel])
    assert not torch.allclose(before, net.decode(tokens(), net.encode(o)))


def test_mission_and_heading_matter():
    net, o = network(), observations()
    o.image[..., 0] = 1  # a partial view: only there does the heading say more than the image
    before = net.decode(tokens(), net.encode(o))
    o.mission = (o.mission + 1) % 4
    other_mission = net.decode(tokens(), net.encode(o))
    o.direction = (o.direction + 1) % 4
    assert not torch.allclose(before, other_mission)
    assert not torch.allclose(other_mission, net.decode(tokens(), net.encode(o)))


def test_rows_are_independent_and_memory_rows_repeat():
    net, o, x = network(), observations(), tokens()
    memory = net.encode(o)
    whole = net.decode(x, memory)
    order = torch.tensor([2, 0, 0])
    torch.testing.assert_close(net.decode(x[order], memory.rows(order)), whole[order])


def test_the_observation_never_sees_the_plan_or_the_time():
    net, o = network(time_conditioning=True), observations()
    memory = net.encode(o)
    first = net.decode(tokens(seed=1), memory, torch.full((3,), 0.1))
    second = net.decode(tokens(seed=1), memory, torch.full((3,), 0.9))
    assert not torch.allclose(first, second)  # the plan sees the time
    blind = network()
    torch.testing.assert_close(
        blind.decode(tokens(), blind.encode(o), torch.full((3,), 0.1)),
        blind.decode(tokens(), blind.encode(o), torch.full((3,), 0.9)),
    )


def test_crop_border_ignores_the_outer_ring_and_nothing_else():
    net, o = network(crop_border=True), observations()
    before = net.decode(tokens(), net.encode(o))
    o.image[:, 0], o.image[:, -1], o.image[:, :, 0], o.image[:, :, -1] = 2, 2, 2, 2
    torch.testing.assert_close(before, net.decode(tokens(), net.encode(o)))
    o.image[:, 1, 1, 1] += 1
    assert not torch.allclose(before, net.decode(tokens(), net.encode(o)))


@pytest.mark.parametrize("positions", ["absolute", "egocentric", "both"])
def test_empty_cells_can_be_left_out_row_by_row(positions):
    net, o = network(skip_empty=True, positions=positions), observations()
    whole = net.decode(tokens(), net.encode(o))
    for row in range(3):  # what else is in the batch, and how full it is, changes nothing
        o_row = SimpleNamespace(**{name: value[row : row + 1] for name, value in vars(o).items()})
        alone = net.decode(tokens()[row : row + 1], net.encode(o_row))
        torch.testing.assert_close(whole[row : row + 1], alone, atol=1e-5, rtol=1e-4)
    assert (o.image[..., 0] == EMPTY).flatten(1).sum(dim=1).unique().numel() > 1
    o.image[0, 1, 1] = torch.tensor([5, 1, 0])  # a key appears
    assert not torch.allclose(whole[0], net.decode(tokens(), net.encode(o))[0])


def test_positions_tell_places_apart():
    o = observations()
    swapped = SimpleNamespace(**vars(o) | {"image": o.image.flip(1)})
    for positions in ("absolute", "egocentric", "both"):
        net = network(positions=positions)
        assert not torch.allclose(net.decode(tokens(), net.encode(o)), net.decode(tokens(), net.encode(swapped)))


def test_noise_moves_masked_slots_only():
    net, o = network(), observations()
    x = torch.tensor([[0, 1, MASK, 2, MASK, END, END]] * 3)
    memory = net.encode(o)
    noise = torch.randn(3, 7, 16)
    assert not torch.allclose(net.decode(x, memory), net.decode(x, memory, noise=noise))
    noise[:, x[0] == MASK] = 0
    torch.testing.assert_close(net.decode(x, memory), net.decode(x, memory, noise=noise))


def test_a_turned_world_looks_the_same_to_the_agent():
    o = observations()
    ahead, aside = seen_by_agent(o.image, o.direction)
    turned = o.image.transpose(1, 2).flip(1)  # a quarter to the right, and the agent turns along
    turned_ahead, turned_aside = seen_by_agent(turned, (o.direction + 1) % 4)
    assert torch.equal(turned_ahead, ahead.transpose(1, 2).flip(1))
    assert torch.equal(turned_aside, aside.transpose(1, 2).flip(1))


def test_egocentric_by_hand():
    image = torch.zeros(4, 5, 4, 3, dtype=torch.uint8)
    image[:, 1, 2, 0] = AGENT
    ahead, aside = seen_by_agent(image, torch.arange(4))
    assert ahead[:, 3, 3].tolist() == [2, 1, -2, -1]  # the cell two columns east, one row south
    assert aside[:, 3, 3].tolist() == [1, -2, -1, 2]


def test_partial_view_looks_up_from_the_middle_of_its_lower_edge():
    ahead, aside = seen_by_agent(torch.ones(1, 7, 7, 3, dtype=torch.uint8), torch.tensor([1]))
    assert ahead[0, 3].tolist() == [6, 5, 4, 3, 2, 1, 0]
    assert aside[0, :, 6].tolist() == [-3, -2, -1, 0, 1, 2, 3]
