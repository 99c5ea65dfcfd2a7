"""The times that samplers tell the model, the shares that they unmask, and the grammar of plans, by hand."""

import pytest
import torch

from lit_models.mdlm.diffusion import SCHEDULES
from lit_models.mdlm.samplers import Sampler, end_constraint, sample

LENGTH, VOCAB, MASK = 5, 3, 3


def drawn(name, rows, steps=None, schedule="linear"):
    """What the model saw: tokens and times of each call."""
    seen = []

    def denoise(tokens, t):
        seen.append((tokens.clone(), t.double()))
        return torch.zeros(rows, LENGTH, VOCAB)

    source = torch.Generator().manual_seed(0)
    sample(Sampler(denoise, LENGTH, MASK, None, SCHEDULES[schedule], 1.0, source), name, rows, steps)
    return seen


def masked(tokens):
    return (tokens == MASK).sum(dim=1)


def test_first_hitting_times_are_those_of_the_largest_of_uniform_times():
    """With L slots that unmask at uniform times, the n-th to do so does at (L + 1 - n) / (L + 1) on average."""
    seen = drawn("first_hitting", 20_000)
    times = torch.stack([t for _, t in seen])
    expected = torch.arange(LENGTH, 0, -1) / (LENGTH + 1)
    torch.testing.assert_close(times.mean(1), expected.double(), rtol=0.0, atol=0.01)
    assert (times.diff(dim=0) < 0.0).all()
    assert [masked(tokens).unique().tolist() for tokens, _ in seen] == [[5], [4], [3], [2], [1]]


@pytest.mark.parametrize(
    ("steps", "left"), [(1, [5]), (2, [5, 2]), (3, [5, 3, 1]), (5, [5, 4, 3, 2, 1]), (9, [5, 4, 3, 2, 1])]
)
def test_confidence_unmasks_an_equal_share_at_the_time_of_what_is_left(steps, left):
    seen = drawn("confidence", 4, steps)
    assert [masked(tokens).tolist() for tokens, _ in seen] == [[n] * 4 for n in left]
    assert [t.tolist() for _, t in seen] == [pytest.approx([n / LENGTH] * 4) for n in left]


@pytest.mark.parametrize("schedule", ["linear", "polynomial", "cosine_squared"])
def test_ancestral_times_are_equal_steps_and_as_many_slots_are_masked_as_the_schedule_says(schedule):
    seen = drawn("ancestral", 20_000, 4, schedule)
    assert [float(t[0]) for _, t in seen] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    share = [float(masked(tokens).double().mean()) / LENGTH for tokens, _ in seen]
    expected = [1.0 - float(SCHEDULES[schedule].alpha(t[0])) for _, t in seen]
    assert share == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("end", range(VOCAB))
def test_after_an_end_stands_only_an_end_and_before_an_action_none(end):
    """Whatever number the end has among the tokens."""
    action = (end + 1) % VOCAB
    tokens = torch.tensor([[MASK, action, MASK, end, MASK], [MASK] * 5])
    allowed = end_constraint(torch.zeros(2, LENGTH, VOCAB), tokens, MASK, end).isfinite()
    is_end = torch.arange(VOCAB) == end
    free, no_end, only_end = torch.ones(VOCAB, dtype=torch.bool), ~is_end, is_end
    assert torch.equal(allowed[0], torch.stack([no_end, no_end, free, only_end, only_end]))
    assert allowed[1].all()
