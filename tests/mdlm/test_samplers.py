import pytest
import torch

from lit_models.mdlm.diffusion import SCHEDULES
from lit_models.mdlm.samplers import Sampler, gumbel, sample

from .oracle import JointTable


def make(table, temperature=1.0, end_id=None, schedule="linear", seed=0, denoise=None):
    generator = torch.Generator().manual_seed(seed)
    denoise = denoise or table.denoise
    return Sampler(denoise, table.length, table.mask_id, end_id, SCHEDULES[schedule], temperature, generator)


def total_variation(table, draws):
    code = (draws * table.vocab ** torch.arange(table.length - 1, -1, -1)).sum(dim=1)
    frequency = torch.bincount(code, minlength=len(table.p)) / len(draws)
    return float((frequency - table.p).abs().sum() / 2)


def test_first_hitting_draws_the_exact_joint():
    table = JointTable(vocab=3, length=4, seed=3)
    assert total_variation(table, sample(make(table), "first_hitting", 50_000)) < 0.02


def test_first_hitting_is_exact_with_an_end_token():
    table = JointTable(vocab=3, length=4, seed=4, end_id=2)
    assert total_variation(table, sample(make(table, end_id=2), "first_hitting", 50_000)) < 0.02


@pytest.mark.parametrize("schedule", ["linear", "maskgit_cosine"])
def test_ancestral_approaches_the_joint_with_its_steps(schedule):
    table = JointTable(vocab=3, length=3, seed=5)
    distance = [
        total_variation(table, sample(make(table, schedule=schedule), "ancestral", 50_000, steps))
        for steps in (1, 4, 64)
    ]
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 0.02


@pytest.mark.parametrize("name", ["ancestral", "first_hitting", "confidence"])
def test_no_slot_stays_masked_and_nothing_follows_the_end(name):
    table = JointTable(vocab=4, length=6, seed=0)  # knows no grammar: the sampler must
    for steps in (1, 2, 6):
        draws = sample(make(table, end_id=3), name, 200, steps)
        assert (draws != table.mask_id).all()
        ended = (draws == 3).int().cummax(dim=1).values.bool()
        assert torch.equal(draws == 3, ended)
        assert ended.any()


@pytest.mark.parametrize("name", ["ancestral", "first_hitting", "confidence"])
def test_zero_temperature_finds_the_only_sequence(name):
    table = JointTable(vocab=3, length=4, seed=0)
    table.p = torch.zeros_like(table.p)
    table.p[57] = 1.0
    draws = sample(make(table, temperature=0.0), name, 8)
    assert torch.equal(draws, table.sequences[57].expand(8, -1))


def test_confidence_fills_the_surest_slots_first():
    seen = []

    def denoise(tokens, t):
        seen.append(tokens.clone())
        logits = torch.zeros(len(tokens), 4, 3)
        logits[..., 0] = torch.tensor([1.0, 4.0, 2.0, 3.0])  # the certainty of each slot
        return logits

    table = JointTable(vocab=3, length=4, seed=0)
    sample(make(table, temperature=0.0, denoise=denoise), "confidence", 1)
    filled = [(tokens[0] != table.mask_id).nonzero().flatten().tolist() for tokens in seen]
    assert filled == [[], [1], [1, 3], [1, 2, 3]]


def test_steps_count_model_evaluations():
    table = JointTable(vocab=3, length=4, seed=0)
    for name, steps, expected in [("ancestral", 7, 7), ("confidence", 2, 2), ("first_hitting", None, 4)]:
        calls = []
        sample(
            make(table, denoise=lambda tokens, t, calls=calls: (calls.append(1), table.denoise(tokens))[1]),
            name,
            3,
            steps,
        )
        assert len(calls) == expected


def test_temperature_sharpens():
    table = JointTable(vocab=3, length=3, seed=6)
    likeliest = table.sequences[table.p.argmax()]
    hits = [
        (sample(make(table, temperature=temperature), "first_hitting", 4000) == likeliest).all(dim=1).float().mean()
        for temperature in (1.0, 0.5, 0.25)
    ]
    assert hits[0] < hits[1] < hits[2]


def test_same_seed_same_plan_and_other_seed_other_plan():
    table = JointTable(vocab=3, length=4, seed=0)
    first, again, other = (sample(make(table, seed=seed), "first_hitting", 20) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_gumbel_is_float64_with_the_right_mean():
    noise = gumbel(torch.Size((200_000,)), torch.Generator().manual_seed(0))
    assert noise.dtype == torch.float64
    assert abs(float(noise.mean()) - 0.5772) < 0.01


def test_bad_requests_are_named():
    table = JointTable(vocab=2, length=2, seed=0)
    with pytest.raises(ValueError, match="sampler='greedy'"):
        sample(make(table), "greedy", 1)
    with pytest.raises(ValueError, match=r"sampling\.steps=0"):
        sample(make(table), "ancestral", 1, 0)
