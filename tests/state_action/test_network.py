import pytest
import torch

from lit_models.state_action.network import Network, StateActionTransformer, attention_mask

T = 5


def make(attention="causal", **changes):
    torch.manual_seed(0)
    return StateActionTransformer(
        3, 2, T, 10, Network(**{"hidden_size": 16, "num_layers": 2, "num_heads": 2} | changes, attention=attention)
    )


def inputs(batch=2):
    source = torch.Generator().manual_seed(1)
    x = tuple(torch.randn(batch, T, size, generator=source, requires_grad=True) for size in (3, 2))
    return x, tuple(torch.randint(0, 11, (batch, T), generator=source) for _ in range(2))


def influence(attention, layers=1):
    """Largest |d output of token i / d input of token j| (2T, 2T), states first."""
    network, (x, levels) = make(attention, num_layers=layers), inputs()
    outputs = [stream[:, step].sum() for stream in network(x, levels) for step in range(T)]
    rows = []
    for output in outputs:
        gradients = torch.autograd.grad(output, x, retain_graph=True)
        rows.append(torch.cat([gradient.abs().amax(dim=(0, 2)) for gradient in gradients]))
    return torch.stack(rows)


def test_actions_see_the_past_alone_and_states_see_no_action():
    found = influence("causal")
    step = torch.arange(T)
    past = step[None, :] <= step[:, None]
    assert (found[:T, :T] > 0).all()  # states see all states
    assert (found[:T, T:] == 0).all()  # and no action
    for columns in (found[T:, :T], found[T:, T:]):
        assert torch.equal(columns > 0, past)  # exactly 0 where it is later


def test_no_number_of_layers_lets_states_see_actions():
    found = influence("causal", layers=3)
    assert (found[:T, T:] == 0).all()
    assert (found[T:, T:] > 0).equal(torch.ones(T, T, dtype=torch.bool).tril())  # and actions see no later action


def test_full_attention_hides_nothing():
    assert (influence("full") > 0).all()


def test_unknown_attention_says_what_there_is():
    with pytest.raises(ValueError, match=r"attention='local'.*causal"):
        attention_mask(3, "local")


def test_each_token_is_told_its_own_level():
    network, (x, levels) = make(num_layers=1), inputs()
    before = network(x, levels)
    changed = levels[0].clone()
    changed[:, 2] = (changed[:, 2] + 5) % 11
    after = network(x, (changed, levels[1]))
    assert (before[0] - after[0]).abs().amax(dim=(0, 2)).min() > 0  # states see the changed token
    assert torch.equal(before[1][:, :2], after[1][:, :2])  # earlier actions do not
    acted = levels[1].clone()
    acted[:, 2] = (acted[:, 2] + 5) % 11
    states, actions = network(x, (levels[0], acted))
    assert torch.equal(states, before[0])
    assert (actions - before[1])[:, 2:].abs().amax(dim=(0, 2)).min() > 0


def test_positions_tell_steps_apart():
    network = make()
    same = (torch.ones(1, T, 3), torch.ones(1, T, 2))
    states, _ = network(same, (torch.ones(1, T, dtype=torch.long),) * 2)
    assert (states[:, 0] - states[:, 1]).abs().max() > 1e-4


def test_evaluation_gives_what_training_gives():
    network, (x, levels) = make(), inputs()
    with torch.no_grad():
        trained, judged = network(x, levels), network.eval()(x, levels)
    for one, other in zip(trained, judged, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_papers_network_has_about_its_parameters():
    network = StateActionTransformer(165, 69, 21, 20, Network(512, 6, 4))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(19.95e6, rel=0.05)  # arXiv:2508.08241


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden_size=16 does not divide by num_heads=3"):
        make(num_heads=3)
