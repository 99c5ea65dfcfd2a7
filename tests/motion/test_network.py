import pytest
import torch

from lit_models.motion.network import MotionTransformer, Network, sinusoids

B, T, F, K = 3, 7, 5, 20
LENGTHS = torch.tensor([7, 4, 1])
VALID = torch.arange(T) < LENGTHS[:, None]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make(trained=True, text_size=4, audio_size=2, **changes):
    """A network whose zeros at the start have become something."""
    torch.manual_seed(0)
    sizes = Network(**{"hidden_size": 16, "num_layers": 2, "num_heads": 2} | changes)
    network = MotionTransformer(F, K, 12, sizes, text_size, audio_size)
    if trained:
        for parameter in network.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
    return network.eval()


def inputs(**changes):
    levels = torch.randint(0, K + 1, (B, T), generator=torch.Generator().manual_seed(3))
    given = {"x": normal(B, T, F), "levels": levels, "valid": VALID}
    return given | {"condition": normal(B, 4, seed=1), "audio": normal(B, T, 2, seed=2)} | changes


def test_it_starts_at_zero_and_learns_from_there():
    network = make(trained=False)
    out = network(**inputs())
    assert (out == 0).all()
    (out - 1).square().mean().backward()
    assert network.head.bias.grad.abs().min() > 0


@pytest.mark.parametrize("changes", [{}, {"text_token": True}, {"frames_per_token": 2}, {"frames_per_token": 4}])
def test_padding_never_influences_frames_that_exist(changes):
    network, given = make(**changes), inputs()
    out = network(**given)
    hidden = ~VALID[..., None]
    spoilt = given | {
        "x": given["x"].masked_fill(hidden, float("nan")),
        "audio": given["audio"].masked_fill(hidden, float("inf")),
        "levels": given["levels"].masked_fill(~VALID, K),
    }
    assert torch.equal(network(**spoilt), out)
    assert (out[~VALID] == 0).all()
    for row, length in enumerate(LENGTHS.tolist()):  # and each row is what it is without any padding
        alone = {name: value[row : row + 1] for name, value in given.items()}
        alone |= {name: alone[name][:, :length] for name in ("x", "levels", "valid", "audio")}
        torch.testing.assert_close(network(**alone)[0], out[row, :length])


@pytest.mark.parametrize("per", [1, 2])
def test_a_row_of_no_frames_is_harmless(per):
    network, given = make(frames_per_token=per), inputs(valid=VALID & torch.tensor([[True], [False], [True]]))
    out = network(**given)
    assert (out[1] == 0).all()
    assert out.isfinite().all()


def test_one_level_for_a_row_is_that_level_for_each_frame():
    network, level = make(), torch.tensor([[3], [0], [20]])
    torch.testing.assert_close(
        network(**inputs(levels=level)), network(**inputs(levels=level.expand(B, T))), rtol=0, atol=0
    )


@pytest.mark.parametrize("per", [1, 2])
def test_each_frame_is_told_its_own_level(per):
    network, levels = make(frames_per_token=per), torch.full((B, T), 9)
    out = network(**inputs(levels=levels))
    for frame in range(4):
        other = levels.clone()
        other[:, frame] = 0
        changed = (network(**inputs(levels=other)) - out).abs().amax(dim=2)
        assert (changed[:2, frame] > 1e-4).all()
        other[:, frame] = 1  # the highest level, which adaLN is told, is still 9 in rows of more than one frame
        assert ((network(**inputs(levels=other)) - out).abs().amax(dim=2)[:2, frame] > 1e-4).all()


@pytest.mark.parametrize("per", [1, 2])
def test_all_frames_see_each_other_and_their_order(per):
    network = make(frames_per_token=per)
    given = inputs(x=normal(B, T, F).requires_grad_(), levels=torch.full((B, 1), 9))
    out = network(**given)
    for frame in range(T):
        (slope,) = torch.autograd.grad(out[0, frame].sum(), given["x"], retain_graph=True)
        assert (slope[0].abs().sum(dim=1) > 0).all()
        assert (slope[1:] == 0).all()  # rows do not see each other
    same = network(**inputs(x=torch.ones(B, T, F), audio=torch.zeros(B, T, 2), levels=torch.full((B, 1), 9)))
    assert (same[0, 1:] - same[0, :-1]).abs().amax(dim=1).min() > 1e-4


def test_attention_is_over_tokens_of_several_frames_and_each_frame_is_told_of_by_two():
    seen, told = [], []
    network = make(frames_per_token=4)
    network.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    x = normal(1, 12, F)
    with torch.no_grad():
        network(x, torch.full((1, 1), 9), torch.ones(1, 12).bool())
        tokens = normal(1, 3, 32)
        for token in range(3):
            only = torch.zeros_like(tokens)
            only[:, token] = tokens[:, token]
            said = network._frames(only, torch.ones(1, 3).bool()) - network.head.bias
            told.append(said[0].abs().amax(dim=1) > 1e-6)
    assert seen == [3]
    assert torch.stack(told).sum(dim=0).tolist() == [1, 1, *[2] * 8, 1, 1]


@pytest.mark.parametrize("text_token", [False, True])
def test_what_is_dropped_does_not_matter_and_what_is_not_does(text_token):
    network, other = make(text_token=text_token), {"condition": normal(B, 4, seed=8), "audio": normal(B, T, 2, seed=9)}
    masks = {
        "condition": torch.tensor([[True, False], [False, True], [False, False]]),
        "audio": torch.tensor([[False, True], [True, False], [False, False]]),
    }
    for name, drop in masks.items():
        before = network(**inputs(drop=drop))
        after = network(**inputs(drop=drop) | {name: other[name]})
        assert torch.equal(before[0], after[0])
        assert ((before - after)[1:].abs().amax(dim=(1, 2)) > 1e-3).all()
        absent = network(**inputs(drop=drop) | {name: None})  # without the input it is dropped in all rows
        assert torch.equal(before[0], absent[0])
        assert ((before - absent)[1:].abs().amax(dim=(1, 2)) > 1e-3).all()
    both = torch.tensor([[True], [False], [True]])
    assert torch.equal(network(**inputs(drop=both)), network(**inputs(drop=both.expand(B, 2))))


def test_the_text_token_adds_a_way_for_the_text():
    given = inputs(drop=torch.tensor([[False, True]]).expand(B, 2))
    slopes = []
    for text_token in (False, True):
        network = make(text_token=text_token)
        for parameter in network.modulations.parameters():
            parameter.data.zero_()  # adaLN says nothing ...
        network.modulations.linear.bias.data.fill_(0.5)  # ... and lets the blocks act
        condition = given["condition"].clone().requires_grad_()
        network(**given | {"condition": condition}).sum().backward()
        slopes.append(condition.grad.abs().amax())
    assert slopes[0] == 0
    assert slopes[1] > 1e-4


def test_every_parameter_takes_part_whatever_is_left_out():
    """DDP waits for gradients of all parameters."""
    network = make(text_token=True)
    network(**inputs(condition=None, audio=None)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_bfloat16_comes_close():
    network = make()
    exact = network(**inputs())
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(**inputs())
        rough.float().square().mean().backward()
    assert (rough.float() - exact).norm() / exact.norm() < 0.05
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_positions_are_a_rotation_of_each_other():
    """A step further is one linear map, whatever the position (Vaswani et al., section 3.5)."""
    table = sinusoids(40, 6).double()
    step = torch.linalg.lstsq(table[:-1], table[1:]).solution
    torch.testing.assert_close(table[:-1] @ step, table[1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(step @ step.T, torch.eye(6).double(), rtol=0, atol=1e-3)


def test_it_says_what_does_not_fit():
    network = make()
    with pytest.raises(ValueError, match=r"13 frames.*max_frames=12"):
        network(torch.zeros(1, 13, F), torch.zeros(1, 1).long(), torch.ones(1, 13).bool())
    with pytest.raises(ValueError, match=r"text of 3 columns.*text_size=4"):
        network(**inputs(condition=normal(B, 3)))
    with pytest.raises(ValueError, match=r"audio of 2 columns.*audio_size=0"):
        make(audio_size=0)(**inputs())
    with pytest.raises(ValueError, match="audio of 6 frames for a motion of 7"):
        network(**inputs(audio=normal(B, 6, 2)))
    with pytest.raises(ValueError, match="hidden_size=16 does not divide by num_heads=3"):
        make(num_heads=3)
    with pytest.raises(ValueError, match="frames_per_token=3"):
        make(frames_per_token=3)
    with pytest.raises(ValueError, match="text_token"):
        make(text_size=0, text_token=True)
